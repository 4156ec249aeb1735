"""Programs on disk: found again, never served stale, and no fault where they cannot be kept."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp import Model, Surrogate
from linbp.graph.capture import graph as capturing
from linbp.graph.capture.content import content_key
from linbp.models.content import Content


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that were exported, one for each export."""
    made: list[str] = []
    real = capturing.export

    def counted(module: nn.Module, shape: tuple[int, ...], name: str, **options: bool) -> torch.export.ExportedProgram:
        made.append(name)
        return real(module, shape, name, **options)

    monkeypatch.setattr(capturing, "export", counted)
    return made


class Network(nn.Module):
    """Settings of every kind that a program can depend on."""

    def __init__(
        self,
        *,
        slope: float = 0.1,
        act: Callable[[torch.Tensor], torch.Tensor] = functional.gelu,
        shift: float = 0.0,
        buffer: float = 0.0,
        options: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self._slope, self.act, self.shift = slope, act, torch.tensor(shift)
        self.options = options or {"scale": 1.0}
        self.register_buffer("table", torch.full((4,), buffer), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = functional.leaky_relu(self.norm(self.conv(images)), self._slope)
        value = self.act(value + self.shift).mean((2, 3)) * self.options["scale"] + self.table
        logits: torch.Tensor = self.head(value)
        return logits


def capture(module: nn.Module, name: str = "model") -> Surrogate:
    return Surrogate(Model(module.eval(), input_size=(3, 6, 6), name=name))


def agrees(surrogate: Surrogate) -> bool:
    """Whether logits and gradient are the module's own."""
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    leaf = images.clone().requires_grad_()
    logits = surrogate.model(leaf)
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="sum"), leaf)
    same_logits = torch.allclose(surrogate.logits(images), logits.detach(), rtol=1e-5, atol=1e-6)
    return same_logits and torch.allclose(surrogate.gradient(images, [0, 1]), expected, rtol=1e-4, atol=1e-7)


def test_the_second_capture_loads_the_program(folder: Path, exports: list[str]) -> None:
    torch.manual_seed(0)
    first = capture(Network())
    assert exports == ["model"]
    assert len(list(folder.glob("*.pt2"))) == 1
    second = capture(Network())  # other weights: they are not in the file
    assert exports == ["model"]
    assert agrees(first)
    assert agrees(second)
    assert first.sites == second.sites
    assert first.junctions == second.junctions
    assert not torch.equal(first.logits(torch.ones(1, 3, 6, 6)), second.logits(torch.ones(1, 3, 6, 6)))


def test_a_stored_program_is_small(folder: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(108, 20_000)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(images.flatten(1))
            return logits

    surrogate = capture(Wide())
    (file,) = folder.glob("*.pt2")
    assert file.stat().st_size < 200_000  # the weights take eight megabytes
    assert agrees(surrogate)
    assert agrees(capture(Wide()))


def test_without_the_cache_nothing_is_stored_or_read(folder: Path, exports: list[str]) -> None:
    for _ in range(2):
        Surrogate(Model(Network().eval(), input_size=(3, 6, 6)), cache=False)
    assert len(exports) == 2
    assert not folder.exists()


VARIANTS: dict[str, Callable[[], Network]] = {
    "a private number": lambda: Network(slope=0.1001),
    "another function": lambda: Network(act=functional.silu),
    "an option of a function": lambda: Network(act=functools.partial(functional.gelu, approximate="tanh")),
    "a lambda": lambda: Network(act=lambda value: functional.gelu(value) * 1.0001),
    "another lambda": lambda: Network(act=lambda value: functional.gelu(value) * 1.0002),
    "a constant tensor": lambda: Network(shift=1e-4),
    "a buffer outside the state dict": lambda: Network(buffer=1e-4),
    "a dictionary": lambda: Network(options={"scale": 1.0001}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_another_setting_is_another_program(name: str, folder: Path, exports: list[str]) -> None:
    """Settings that change the logits too little for a comparison to notice."""
    torch.manual_seed(0)
    weights = Network().state_dict()
    capture(Network())
    variant = VARIANTS[name]()
    variant.load_state_dict(weights)
    surrogate = capture(variant)
    assert len(exports) == 2
    assert agrees(surrogate)
    assert content_key(variant, (3, 6, 6)) != content_key(Network(), (3, 6, 6))
    again = VARIANTS[name]()
    assert content_key(again, (3, 6, 6)) == content_key(variant, (3, 6, 6))


def test_size_dtype_and_hooks_are_in_the_key() -> None:
    module = Network()
    plain = content_key(module, (3, 6, 6))
    keys = {plain, content_key(module, (3, 8, 8)), content_key(Network().double(), (3, 6, 6))}
    for factor in (2, 3):
        hooked = Network()
        hooked.conv.register_forward_hook(lambda child, given, result, by=factor: result * by)
        keys.add(content_key(hooked, (3, 6, 6)))
    assert len(keys) == 5
    assert plain == content_key(Network().train(), (3, 6, 6))


SOURCE = """
import torch
from helper_of_a_user import finish

class Written(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 5)

    def forward(self, images):
        value = torch.{activation}(self.conv(images))
        return finish(self.head(value.mean((2, 3))))
"""
HELPER = "def finish(logits):\n    return logits * {factor}\n"


def written(folder: Path, activation: str, factor: float) -> ModuleType:
    """The user's two files, as they are now, imported anew."""
    for name, text in (
        ("helper_of_a_user", HELPER.format(factor=factor)),
        ("model_of_a_user", SOURCE.format(activation=activation)),
    ):
        path = folder / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        code = compile(text, str(path), "exec")
        exec(code, module.__dict__)
    return module


@pytest.fixture
def imports() -> object:
    """Forget the user's modules at the end."""
    yield
    for name in ("helper_of_a_user", "model_of_a_user"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("imports")
def test_a_changed_forward_is_not_served_stale(tmp_path: Path, folder: Path, exports: list[str]) -> None:
    torch.manual_seed(0)
    first = written(tmp_path, "relu", 1.0).Written()
    weights = first.state_dict()
    assert agrees(capture(first))
    changed = written(tmp_path, "tanh", 1.0).Written()
    changed.load_state_dict(weights)
    surrogate = capture(changed)
    assert len(exports) == 2
    assert agrees(surrogate)
    assert [site.op for site in surrogate.sites] == ["tanh"]


@pytest.mark.usefixtures("imports")
def test_a_changed_helper_function_is_noticed_by_its_logits(tmp_path: Path, folder: Path, exports: list[str]) -> None:
    """Its file is not in the key: the stored program fails the comparison and is made anew."""
    torch.manual_seed(0)
    first = written(tmp_path, "relu", 1.0).Written()
    weights = first.state_dict()
    assert agrees(capture(first))
    changed = written(tmp_path, "relu", 2.0).Written()
    changed.load_state_dict(weights)
    for _ in range(2):
        assert agrees(capture(changed))
        assert len(exports) == 2  # stored over the stale one


def test_a_damaged_file_is_made_anew(folder: Path, exports: list[str]) -> None:
    capture(Network())
    (file,) = folder.glob("*.pt2")
    whole = file.read_bytes()
    for damage in (b"", b"not a program", whole[: len(whole) // 2]):
        file.write_bytes(damage)
        assert agrees(capture(Network()))
    assert len(exports) == 4
    capture(Network())
    assert len(exports) == 4  # the last one was stored over the damage
    assert [path.name for path in folder.glob("*.pt2")] == [file.name]


def test_a_file_of_another_network_is_not_used(folder: Path, exports: list[str]) -> None:
    capture(Network())
    (file,) = folder.glob("*.pt2")
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    capture(other)
    (theirs,) = set(folder.glob("*.pt2")) - {file}
    file.write_bytes(theirs.read_bytes())
    assert agrees(capture(Network()))
    assert len(exports) == 3


@pytest.mark.parametrize("kind", ["a file in the way", "a name too long"])
def test_a_cache_that_cannot_be_written_is_no_fault(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LINBP_CACHE", str(blocked / "cache" if kind == "a file in the way" else tmp_path / ("x" * 300)))
    for _ in range(2):
        assert agrees(capture(Network()))
    assert len(exports) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


TYPED = """
import torch
class Typed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(108, 5)
    def forward(self, images):
        return self.head(torch.{activation}(images - 0.5).flatten(1))
"""


def typed(activation: str) -> nn.Module:
    names: dict[str, Any] = {"__name__": "typed_by_a_user"}
    exec(TYPED.format(activation=activation), names)
    torch.manual_seed(0)
    module: nn.Module = names["Typed"]()
    return module


def test_a_class_without_source_is_known_by_its_code(folder: Path, exports: list[str]) -> None:
    for activation, count in (("relu", 1), ("relu", 1), ("tanh", 2), ("relu", 2)):
        surrogate = capture(typed(activation))
        assert agrees(surrogate)
        assert [site.op for site in surrogate.sites] == [activation]
        assert len(exports) == count


def test_a_module_that_computes_what_it_is_asked_for_is_named_and_not_asked() -> None:
    lazy = ModuleType("lazy")

    def asked(name: str) -> Any:
        raise RuntimeError(f"{name} was asked for")

    lazy.__getattr__ = asked  # type: ignore[method-assign]
    plain = Content({"one": ModuleType("lazy")}, installed=True)
    assert Content({"one": lazy}, installed=True).facts == plain.facts
    assert any(fact.endswith(" lazy'") for fact in plain.facts)
