"""Max-pools: found, numbered by themselves, shown, and left alone by rules that are about activations."""

from __future__ import annotations

import json

import pytest
import torch
from known_networks import captured
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from linbp import SGM, LinBP, Model, Surrogate
from linbp.cli.app import app
from linbp.graph import MaxPool


def pools(module: nn.Module, size: int = 12, channels: int = 3) -> tuple[MaxPool, ...]:
    return Surrogate(Model(module.eval(), input_size=(channels, size, size)), cache=False).pools


class Several(nn.Module):
    """Max-pools as modules, functions and in the middle of a block; and pools that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)
        self.block = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, stride=1, padding=1, dilation=1))
        self.mean, self.head = nn.AvgPool2d(2), nn.Linear(4, 5)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.block(self.pool(self.conv(value)))
        value = functional.max_pool2d(value, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True)
        logits: torch.Tensor = self.head(self.mean(value).amax((2, 3)))
        return logits


def test_what_is_known_of_each() -> None:
    found = pools(Several())
    assert [pool.index for pool in found] == [0, 1, 2]
    assert [pool.module_path for pool in found] == ["pool", "block.1", ""]
    assert [pool.kernel for pool in found] == [(2, 2), (3, 3), (3, 2)]
    assert [pool.stride for pool in found] == [(2, 2), (1, 1), (2, 1)]
    assert [pool.padding for pool in found] == [(0, 0), (1, 1), (1, 0)]
    assert [pool.dilation for pool in found] == [(1, 1), (1, 1), (1, 2)]
    assert [pool.shape for pool in found] == [(4, 6, 6), (4, 6, 6), (4, 4, 4)]


def test_pools_have_numbers_of_their_own() -> None:
    """Sites are counted as if there were no max-pools, and rules about sites leave max-pools alone."""
    surrogate = Surrogate(Model(Several().double().eval(), input_size=(3, 12, 12)), cache=False)
    assert [site.index for site in surrogate.sites] == [0]
    assert surrogate.with_rule(LinBP(start=0)).plan.pools == {}
    assert SGM().plan  # SGM has junctions only
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    loss = functional.cross_entropy(surrogate.model(leaf), torch.tensor([0, 1]), reduction="sum")
    assert torch.allclose(surrogate.gradient(images, [0, 1]), torch.autograd.grad(loss, leaf)[0], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("ResNet-18", ["maxpool"]),
        ("VGG-19-BN", [f"features.{at}" for at in (6, 13, 26, 39, 52)]),
        ("SqueezeNet", [f"features.{at}" for at in (2, 5, 8)]),
        ("ResNet-50 of timm", ["maxpool"]),
        ("MobileNet v2", []),
    ],
)
def test_max_pools_of_well_known_networks(name: str, paths: list[str]) -> None:
    assert [pool.module_path for pool in captured(name).pools] == paths


def test_inspect_shows_them(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # type: ignore[arg-type]
    text = (
        "import torch\nfrom torch import nn\nfrom linbp import Model\n\n\n"
        "def net() -> Model:\n"
        "    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5))\n"
        "    return Model(layers.eval(), input_size=(3, 8, 8))\n"
    )
    with open("networks.py", "w", encoding="utf-8") as file:
        file.write(text)
    plain = CliRunner().invoke(app, ["inspect", "file:networks.py:net"])
    assert plain.exit_code == 0, plain.output
    assert "1 max-pools" in plain.output
    assert "4x3x3" in plain.output
    facts = json.loads(CliRunner().invoke(app, ["inspect", "file:networks.py:net", "--json"]).stdout)
    assert facts["pools"] == [{"index": 0, "module_path": "2", "kernel": [2, 2], "stride": [2, 2], "shape": [4, 3, 3]}]
    assert facts["published"] is None
