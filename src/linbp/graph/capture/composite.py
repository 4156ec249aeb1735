"""Replace activations that a module writes as arithmetic, such as x * sigmoid(x), by one operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx

from linbp.graph.structure.dominators import Dominators

__all__ = ["gather_composites", "quick_gelu"]

aten = torch.ops.aten


def quick_gelu(value: torch.Tensor, slope: float) -> torch.Tensor:
    """x sigmoid(slope x), the form of GELU that CLIP uses with slope 1.702."""
    return value * torch.sigmoid(slope * value)


Known = tuple[Callable[..., torch.Tensor], tuple[Any, ...], dict[str, Any], str]

KNOWN: tuple[Known, ...] = (
    (aten.silu.default, (), {}, ""),
    (aten.gelu.default, (), {}, ""),
    (aten.gelu.default, (), {"approximate": "tanh"}, ""),
    (aten.hardswish.default, (), {}, ""),
    (aten.mish.default, (), {}, ""),
    (aten.relu.default, (), {}, ""),
)
"""Activations that can be written as products: operation, arguments, options and, for our own function, its name."""

ELEMENTWISE = frozenset(
    {
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.rsub.Scalar,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.neg.default,
        aten.pow.Tensor_Scalar,
        aten.exp.default,
        aten.log1p.default,
        aten.erf.default,
        aten.tanh.default,
        aten.sigmoid.default,
        aten.hardsigmoid.default,
        aten.softplus.default,
        aten.relu6.default,
        aten.hardtanh.default,
        aten.clamp.default,
        aten.gt.Scalar,
        aten.ge.Scalar,
    }
)
"""The operations of such a product."""

LONGEST = 12
"""Operations; no known activation is written with more."""
CLOSE = 1e-5
"""Largest difference to a known activation, relative beyond 1: constants such as 0.7979 are written with few digits."""
FAR = 1e4
"""Where the comparison ends."""


def gather_composites(module: fx.GraphModule) -> int:
    """Replace products that compute a known activation of one value, element by element, by that activation.

    Products are recognised by their values, however they are written: SiLU, GELU (with erf or tanh), quick GELU, Mish,
    Hardswish, and ReLU as a product with its mask. Returns how many there were.
    """
    found, dominators = 0, Dominators(module.graph)
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target is aten.mul.Tensor and _gather(module, node, dominators):
            found, dominators = found + 1, Dominators(module.graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return found


def _gather(module: fx.GraphModule, product: fx.Node, dominators: Dominators) -> bool:
    """Replace a product that is a known activation; whether it was one."""
    factors = [factor for factor in product.args[:2] if isinstance(factor, fx.Node) and factor in dominators.depth]
    if len(factors) != 2 or factors[0] is factors[1]:
        return False
    value = dominators.common(factors[0], factors[1])
    region = {node for factor in factors for node in dominators.between(value, factor)}
    if not region or len(region) > LONGEST or not all(node.target in ELEMENTWISE for node in region):
        return False
    written = [*sorted(region, key=dominators.order.__getitem__), product]
    if any(user not in written for node in region for user in node.users) or not _self_contained(written, value):
        return False
    for end in _ends(product):
        steps = written if end is product else [*written, end]
        found = _activation(steps, value)
        if found is not None:
            _replace(module, end, value, found)
            return True
    return False


def _self_contained(written: list[fx.Node], value: fx.Node) -> bool:
    return all(source is value or source in written for node in written for source in node.all_input_nodes)


def _ends(product: fx.Node) -> Iterator[fx.Node]:
    """The product, and the scaling by a number that may follow it: x relu6(x + 3) / 6."""
    yield product
    users = list(product.users)
    if len(users) == 1 and users[0].target in (aten.mul.Tensor, aten.div.Tensor):
        others = [argument for argument in users[0].args if argument is not product]
        if users[0].args[0] is product and len(others) == 1 and isinstance(others[0], int | float):
            yield users[0]


def _activation(steps: list[fx.Node], value: fx.Node) -> Known | None:
    """The activation that these operations compute, or None."""
    far = torch.logspace(1, math.log10(FAR), 50, dtype=torch.float64)
    points = torch.cat([-far, torch.linspace(-10, 10, 1001, dtype=torch.float64), far])
    computed: dict[fx.Node, Any] = {value: points}
    for node in steps:
        arguments, options = fx.map_arg((node.args, node.kwargs), computed.__getitem__)
        computed[node] = node.target(*arguments, **options)  # type: ignore[operator]
    result = computed[steps[-1]]
    for known in (*KNOWN, *_quick_gelus(steps)):
        operation, arguments, options, _ = known
        off = (operation(points, *arguments, **options) - result).abs() / points.abs().clamp(min=1)
        if float(off.max()) < CLOSE:
            return known
    return None


def _quick_gelus(steps: list[fx.Node]) -> Iterator[Known]:
    """Quick GELU with each number in the product as its slope."""
    for node in steps:
        for number in node.args:
            if isinstance(number, float):
                yield quick_gelu, (number,), {}, "quick_gelu"


def _replace(module: fx.GraphModule, end: fx.Node, value: fx.Node, found: Known) -> None:
    operation, arguments, options, name = found
    with module.graph.inserting_before(end):
        whole = module.graph.call_function(operation, (value, *arguments), options)
    whole.meta = dict(end.meta)
    if name:
        whole.meta["activation"] = name
    end.replace_all_uses_with(whole)
    module.graph.erase_node(end)
