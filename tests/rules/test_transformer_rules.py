"""PNA, TGR, ATT and VDC, alone and with LinBP, against hooks on an eager network, one image at a time.

The second implementation is plain: tensors' own gradients are changed where they arise, extremes are found in loops.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import images_and_labels, tiny
from tiny_transformer import DEPTH, TinyTransformer, tiny_transformer
from torch.nn import functional

import linbp
from linbp.attack import Recipe
from linbp.errors import LinbpError, RecipeError, RuleError
from linbp.graph import Plan, Structure

COUNT = 3
Change = Callable[[str, int, torch.Tensor], torch.Tensor]
"""From place, depth (0 is the last block) and the gradient of one image, with a batch axis, to the one that goes on."""


class Changed(torch.autograd.Function):
    """The identity with another gradient."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        ctx.change = change
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return ctx.change(gradient), None


def leaked(value: torch.Tensor, leak: float) -> torch.Tensor:
    """GELU whose derivative d is d + leak (1 - d)."""
    plain = functional.gelu(value)
    return plain + leak * (value - plain) - (leak * (value - plain)).detach()


def extremes(values: np.ndarray) -> tuple[int, int]:
    return int(values.argmax()), int(values.argmin())


def cut_lines(gradient: torch.Tensor, factor: float) -> torch.Tensor:
    """Times a factor in the rows and columns of the extremes of each head's map, as often as they cross."""
    result = gradient.clone()
    for head in range(gradient.shape[1]):
        for place in extremes(gradient[0, head].numpy()):
            row, column = divmod(place, gradient.shape[-1])
            result[0, head, row, :] *= factor
            result[0, head, :, column] *= factor
    return result


def cut_tokens(gradient: torch.Tensor, factor: float) -> torch.Tensor:
    result = gradient.clone()
    for channel in range(gradient.shape[-1]):
        for token in set(extremes(gradient[0, :, channel].numpy())):
            result[0, token, channel] *= factor
    return result


def pna() -> Change:
    return lambda place, depth, gradient: gradient * (place != "logits")


def tgr(attention: float = 0.25, projection: float = 0.75, mlp: float = 0.5) -> Change:
    def change(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        if place == "logits":
            return cut_lines(attention * gradient, 0)
        if place in ("qkv", "mlp"):
            return cut_tokens((projection if place == "qkv" else mlp) * gradient, 0)
        return gradient

    return change


def att(truncated: int, attention: float = 0.45, projection: float = 0.7, mlp: float = 0.65) -> Change:
    spread: dict[tuple[str, int], float] = {}
    factors = {"logits": attention, "qkv": projection, "mlp": mlp}

    def change(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        if place not in factors:
            return gradient
        if place == "logits" and depth < truncated:
            spread[place, depth] = 0
            return gradient * 0
        weak = gradient * factors[place]
        before = spread.get((place, depth - 1), 0)
        share = 0.5 if not before else min(max(0.5 + 0.01 * (1 - (float(weak.var()) / before) ** 0.5), 0), 1)
        result = (cut_lines if place == "logits" else cut_tokens)(weak, share)
        spread[place, depth] = float(result.var())
        return result

    return change


RULES: dict[str, tuple[str, Callable[[], Change]]] = {
    "pna": ("pna", pna),
    "tgr": ("tgr", tgr),
    "tgr with other factors": ("tgr(attention=1, projection=0.5, mlp=0)", lambda: tgr(1, 0.5, 0)),
    "att": ("att", lambda: att(2)),
    "att without truncation": ("att(truncated=0, attention=0.9)", lambda: att(0, 0.9)),
}


def network() -> TinyTransformer:
    module = tiny_transformer().module
    assert isinstance(module, TinyTransformer)
    return copy.deepcopy(module).eval()


def gradient_by_hand(row: int, change: Change, activation: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Of one image's cross-entropy."""
    net, (images, labels) = network(), images_and_labels(COUNT)

    def hook(place: str, block: int, value: torch.Tensor) -> torch.Tensor:
        if place == "gelu":
            return activation(value)
        return Changed.apply(value, lambda gradient: change(place, DEPTH - 1 - block, gradient))

    leaf = (images[row : row + 1].double() / 255).requires_grad_()
    logits = net.hooked(hook)((leaf - 0.5) / 0.25)
    return torch.autograd.grad(functional.cross_entropy(logits, labels[row : row + 1]), leaf)[0][0]


def vdc_by_hand(
    row: int, activation: Callable[[torch.Tensor], torch.Tensor], factors: tuple[float, float, float, float]
) -> torch.Tensor:
    """Record in one pass, add in another."""
    attention, mlp, weight, output = factors
    kept: dict[tuple[str, int], torch.Tensor] = {}

    def record(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        kept[place, depth] = gradient
        return gradient

    def add(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        if place not in ("logits", "start"):
            return gradient
        result = gradient * (attention if place == "logits" else mlp)
        if place == "start":
            result = result + output * kept["output", 0]
        return result + sum(weight * 0.5**later * kept[place, later] for later in range(depth))

    gradient_by_hand(row, record, activation)
    return gradient_by_hand(row, add, activation)


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(tiny_transformer())


def gradient(surrogate: linbp.Surrogate, text: str, rows: slice = slice(None)) -> torch.Tensor:
    images, labels = images_and_labels(COUNT)
    ruled = surrogate.with_rule(Recipe.parse(text).stages[-1].rules)
    return ruled.gradient(images[rows].double() / 255, labels[rows])


def agree(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert float((found - expected).norm() / expected.norm()) < 1e-12


@pytest.mark.parametrize("linear", ["", "leaky-linbp", "linbp(start=0, rebalance=none)"])
@pytest.mark.parametrize("name", RULES)
def test_rules_of_one_pass(surrogate: linbp.Surrogate, name: str, linear: str) -> None:
    text, make = RULES[name]
    leak = {"": 0.0, "leaky-linbp": 0.1}.get(linear, 1.0)
    found = gradient(surrogate, f"{text} + {linear}" if linear else text)
    for row in range(COUNT):
        agree(found[row], gradient_by_hand(row, make(), lambda value: leaked(value, leak)))


@pytest.mark.parametrize(("linear", "leak"), [("", 0.0), (" + leaky-linbp(leak=0.4)", 0.4)])
@pytest.mark.parametrize("factors", [(0.25, 0.5, 0.1, 0.05), (0.6, 1.0, 0.3, 0.0)])
def test_vdc(surrogate: linbp.Surrogate, linear: str, leak: float, factors: tuple[float, float, float, float]) -> None:
    names = ("attention", "mlp", "weight", "output")
    options = ", ".join(f"{name}={value}" for name, value in zip(names, factors, strict=True))
    found = gradient(surrogate, f"vdc({options}){linear}")
    for row in range(COUNT):
        agree(found[row], vdc_by_hand(row, lambda value: leaked(value, leak), factors))


class Rebalanced(torch.autograd.Function):
    """An MLP branch that passes alpha u, with u its linear and v its ordinary gradient, alpha = |v| / |u|."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, block: Any) -> torch.Tensor:
        ctx.save_for_backward(tokens)
        ctx.block = block
        return block.fc2(functional.gelu(block.fc1(block.norm2(tokens))))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        block, passed = ctx.block, []
        for leak in (1.0, 0.0):
            with torch.enable_grad():
                tokens = ctx.saved_tensors[0].detach().requires_grad_()
                value = block.fc2(leaked(block.fc1(block.norm2(tokens)), leak))
            passed.append(torch.autograd.grad(value, tokens, gradient)[0])
        return passed[0] * (passed[1].norm() / passed[0].norm() if passed[0].any() else 0), None


@contextmanager
def rebalanced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("tiny_transformer.Block.mlp", lambda block, tokens: Rebalanced.apply(tokens, block))
        yield


@pytest.mark.parametrize("name", [*RULES, "vdc"])
def test_the_ratio_of_linbp_comes_between_the_places(
    surrogate: linbp.Surrogate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What happens at a branch's end is seen by both walks of LinBP; what happens at its start comes after."""
    text = RULES[name][0] if name in RULES else "vdc"
    found = gradient(surrogate, f"{text} + linbp(start=0)")
    with rebalanced(monkeypatch):
        for row in range(COUNT):
            if name == "vdc":
                agree(found[row], vdc_by_hand(row, functional.gelu, (0.25, 0.5, 0.1, 0.05)))
            else:
                agree(found[row], gradient_by_hand(row, RULES[name][1](), functional.gelu))


@pytest.mark.parametrize("text", ["pna", "tgr", "att", "vdc", "vdc + linbp(start=0)", "att + sgm(branches=mlp)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_shared_between_images_or_calls(text: str, dtype: torch.dtype) -> None:
    """Also in float32, where a batch of eleven goes through the network in two groups."""
    surrogate = linbp.Surrogate(tiny_transformer(dtype=dtype)).with_rule(Recipe.parse(text).stages[-1].rules)
    images, labels = images_and_labels(11)
    images = images.to(dtype) / 255
    whole = surrogate.gradient(images, labels)
    assert torch.equal(surrogate.gradient(images, labels), whole)
    for row in (0, 7, 10):
        alone = surrogate.gradient(images[row : row + 1], labels[row : row + 1])
        assert torch.allclose(alone[0], whole[row], rtol=1e-4 if dtype == torch.float32 else 1e-11, atol=1e-7)


def test_one_place_alone(surrogate: linbp.Surrogate) -> None:
    """TGR's places apart: each is where it should be, and not only their sum."""

    class Some:
        def __init__(self, *kept: str) -> None:
            self.kept = kept

        def plan(self, structure: Structure) -> Plan:
            plan = linbp.TGR().plan(structure)
            return Plan(**{name: getattr(plan, name) for name in self.kept})  # type: ignore[arg-type]

    images, labels = images_and_labels(COUNT)
    for place, kept in {"logits": "attentions", "qkv": "tensors", "mlp": "edges"}.items():
        found = surrogate.with_rule(Some(kept)).gradient(images.double() / 255, labels)

        def change(at: str, depth: int, gradient: torch.Tensor, place: str = place) -> torch.Tensor:
            return tgr()(at, depth, gradient) if at == place else gradient

        agree(found[0], gradient_by_hand(0, change, functional.gelu))


@pytest.mark.parametrize("text", ["pna", "tgr", "att", "vdc"])
def test_a_network_without_attention_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match=f"{text} would have no effect: the network has no attention"):
        gradient(linbp.Surrogate(tiny()), text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pna + tgr", "Two rules change the same 4 attentions"),
        ("att(truncated=4)", "none would be left"),
        ("sgm(skips=dense)", "in no concatenation"),
        ("sgm(skips=projection, branches=mlp)", "no branch"),
    ],
)
def test_what_does_not_fit_is_refused(surrogate: linbp.Surrogate, text: str, words: str) -> None:
    with pytest.raises(LinbpError, match=words):
        gradient(surrogate, text)


@pytest.mark.parametrize("text", ["tgr(attention=-1)", "att(mlp=0)", "vdc(weight=0)", "sgm(skips=dense, branches=mlp)"])
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)


def test_two_passes_are_two_gradients() -> None:
    assert Recipe.parse("vdc-mifgsm").gradients(5) == 10
    assert Recipe.parse("vdc + gnp + ssa(copies=3)").gradients(5) == 60
    assert Recipe.parse("tgr-mifgsm").gradients(5) == 5
