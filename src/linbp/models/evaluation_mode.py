"""A network in evaluation mode while it runs, and as its owner left it afterwards."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import TypeVar

from torch import nn

__all__ = ["evaluation_mode"]


Module = TypeVar("Module", bound=nn.Module)


@contextlib.contextmanager
def evaluation_mode(module: Module) -> Iterator[Module]:
    """The network to run inside: the module itself with its flags put back at the end, or a copy.

    Flags are set one by one, because a class may have methods `train` and `eval` that are something else, such as
    `train(loader)`. Where a class does more than set flags in them, as those do that merge weights, a network in
    training mode is copied and told `eval()`, since nobody can tell how to undo that.
    """
    flags = [(child, child.training) for child in module.modules()]
    if any(training for _, training in flags) and any(_switches(type(child)) for child, _ in flags):
        try:
            ready = copy.deepcopy(module)
            ready.eval()
        except Exception:  # tensors with a graph behind them, or a `train(loader)` inside: flags only
            pass
        else:
            module, flags = ready, []
    try:
        for child, _ in flags:
            child.training = False
        yield module
    finally:
        for child, training in flags:
            child.training = training


def _switches(kind: type[nn.Module]) -> bool:
    """Whether a class says itself what happens on the way to evaluation mode."""
    if kind.__module__.partition(".")[0] == "torch":
        return False
    own_train, own_eval = kind.train is not nn.Module.train, kind.eval is not nn.Module.eval
    return (own_train and _takes_a_mode(kind)) or (own_eval and _takes_nothing(kind))


def _takes_a_mode(kind: type[nn.Module]) -> bool:
    """Whether `train` is torch's, train(mode=True), written again."""
    names = list(_parameters(kind.train))
    return len(names) > 1 and names[1] == "mode"


def _takes_nothing(kind: type[nn.Module]) -> bool:
    needed = [one for one in _parameters(kind.eval).values() if one.default is one.empty]
    return len(needed) == 1 and (kind.train is nn.Module.train or _takes_a_mode(kind))


def _parameters(function: object) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return {}
