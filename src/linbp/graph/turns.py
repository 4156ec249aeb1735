"""The networks of a surrogate whose weights take turns: captured when first asked for, and the last ones kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from torch import nn

__all__ = ["Turns"]

KEPT = 2 * 2**30
"""Bytes of networks that are kept."""

Made = TypeVar("Made")


class Turns(Generic[Made]):
    """What was made of each turn, as much as fits into 2 GiB.

    Args:
        network: of what was made; its buffers are what takes the room.
    """

    def __init__(self, network: Callable[[Made], nn.Module]) -> None:
        self._network, self._made = network, OrderedDict[int, Made]()

    def __iter__(self) -> Iterator[int]:
        """The numbers of those that are kept, the one that was asked for last behind the others."""
        return iter(self._made)

    def get(self, number: int, make: Callable[[int], Made]) -> Made:
        """That of a turn, made if it is not kept."""
        if number not in self._made:
            made = self._made[number] = make(number)
            size = sum(tensor.numel() * tensor.element_size() for tensor in self._network(made).buffers())
            while len(self._made) > 1 and len(self._made) * size > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(number)
        return self._made[number]
