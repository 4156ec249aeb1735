"""On networks as they are published, the removal equals putting `nn.Identity` in the modules' places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from exhaustive import marked
from torch import nn

from linbp import Model, Surrogate, load_model
from linbp.training.fine_tuning.modes import switchable
from linbp.training.fine_tuning.program import Program

CPU = torch.device("cpu")


def torchvision_net(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, num_classes=7)


def timm_net(name: str, **options: int) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=7, **options)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], set[str], tuple[type[nn.Module], ...]]] = {
    "resnet18": (torchvision_net("resnet18"), {"relu"}, (nn.ReLU,)),
    "squeezenet1_1": (torchvision_net("squeezenet1_1"), {"relu"}, (nn.ReLU,)),
    "mobilenet_v3_small": (torchvision_net("mobilenet_v3_small"), {"hardswish"}, (nn.Hardswish,)),
    "seresnet18": (timm_net("seresnet18"), {"relu"}, (nn.ReLU,)),
    "vit": (timm_net("vit_tiny_patch16_224", img_size=64, depth=3), {"gelu"}, (nn.GELU,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(NETWORKS, ["mobilenet_v3_small", "seresnet18"]))
def test_removal_is_the_identity(name: str, tmp_path: Path) -> None:
    build, operations, types = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build().double().eval()
        adv_image = build().double().eval()
        images = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    adv_image.load_state_dict(module.state_dict())
    for parent in adv_image.modules():
        for path, child in parent.named_children():
            if isinstance(child, types):
                setattr(parent, path, nn.Identity())
    given = Model(module, input_size=(3, 64, 64))
    program = Program(given)
    sites = program.structure.sites
    program.remove(site.index for site in sites if site.op in operations)
    network = switchable(program.network(CPU))
    for training in (False, True):
        network.train(training)
        adv_image.train(training)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            expected = adv_image(images).detach()
            torch.manual_seed(1)
            found = network(images)
        answer = (found[0] if isinstance(found, tuple) else found).detach()
        assert float((answer - expected).norm() / expected.norm()) < 1e-9
    torch.export.save(program.finish(network.eval(), "linearized").program, tmp_path / "net.pt2")
    loaded = load_model(tmp_path / "net.pt2")
    with torch.no_grad():
        expected = adv_image.eval()(images[:1])
    assert float((loaded.logits(images[:1]) - expected).norm() / expected.norm()) < 1e-9
    again = Surrogate(loaded, fold_batch_norm=False)
    assert [(site.op, site.module_path, site.kind) for site in again.sites] == [
        (site.op, site.module_path, site.kind) for site in sites if site.op not in operations
    ]
    assert set(again.structure.entries) == set(program.structure.entries)
