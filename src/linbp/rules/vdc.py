"""VDC: gradients of later blocks are added to those of earlier ones (Zhang et al., AAAI 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from linbp.errors import RuleError
from linbp.graph import AttentionGradients, Memory, Plan, Structure, TensorBackward
from linbp.registry import part
from linbp.rules.transformer import Block, blocks_from_the_end
from linbp.validation import number

__all__ = ["VDC"]


@dataclass(frozen=True)
class Connection:
    """Records in the first backward pass, adds what later blocks recorded in the second.

    Attributes:
        memory: of both passes.
        place: kind of place.
        depth: of the block, from the output.
        factor: of the gradient in the second pass.
        weight: of what the last block recorded; it halves from block to block.
    """

    memory: Memory
    place: str
    depth: int
    factor: float
    weight: float

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        kept = self.memory.kept
        if self.memory.walk == 0:
            kept[self.place, self.depth] = gradient.detach()
            return gradient
        result = gradient * self.factor
        if (self.place, "output") in kept:
            result = result + kept[self.place, "output"]
        for later in range(self.depth):
            if (self.place, later) in kept:
                result = result + self.weight * 2.0**-later * kept[self.place, later]
        return result


@dataclass(frozen=True)
class Record:
    """Records the gradient at the last block's output for the MLPs; passes it as it is.

    Attributes:
        memory: of both passes.
        weight: what it counts.
    """

    memory: Memory
    weight: float

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        if self.memory.walk == 0:
            self.memory.kept["mlp", "output"] = self.weight * gradient.detach()
        return gradient


@dataclass(frozen=True)
class ConnectedLogits:
    """At the softmax's input."""

    connection: Connection

    def __call__(
        self, gradient: torch.Tensor, attention: AttentionGradients
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return attention.from_logits(gradient, self.connection(attention.logits_gradient(gradient)))


@part("rule", "vdc")
class VDC:
    """Virtual dense connection: each block's gradient is weakened, and those of all later blocks are added to it.

        at the softmax's input of block k:      g <- attention g + sum_(j<k) weight 2^-j s_j
        at the start of block k's MLP branch:   g <- mlp g + output c + sum_(j<k) weight 2^-j r_j

    with blocks counted from the output, s_j and r_j the gradients at the same places of block j in a first backward
    pass, which is ordinary, and c the gradient at the last block's output there (of the class token alone, where the
    head reads no other). Zhang, Huang, Xu, Wu, Lyu: Improving the Adversarial Transferability of Vision Transformers
    with Virtual Dense Connection, AAAI 2024; the numbers are TransferAttack's and torchattack's, which agree: 0.25,
    0.5, 0.1, 0.05. It takes two backward passes, which count as two gradients. Under `linbp` both passes are LinBP's.

    Blocks of different shapes, as in Swin or PiT, are refused: public code has other rules for PiT, by its name.

    Args:
        attention: factor at the softmax's input, at least 0.
        mlp: factor at the start of the MLP branch, at least 0.
        weight: of the last block's gradient, above 0.
        output: of the gradient at the last block's output, at least 0.

    Raises:
        RuleError: the network has fewer than two attentions, or attentions of different shapes.
    """

    attention: float = 0.25
    mlp: float = 0.5
    weight: float = 0.1
    output: float = 0.05

    walks: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("attention", "mlp", "output"):
            number(self, name, least=0)
        number(self, "weight", least=1e-12)

    def plan(self, structure: Structure) -> Plan:
        """Connections at both places of every block, with one memory of two passes."""
        blocks, memory = blocks_from_the_end("vdc", structure), Memory(self.walks)
        if len(blocks) == 1:
            raise RuleError("vdc would have no effect: the network has one attention.", "Leave vdc out.")
        _refuse_different(blocks)

        def connection(place: str, depth: int, factor: float) -> Connection:
            return Connection(memory, place, depth, float(factor), float(self.weight))

        mlps = [block for block in blocks if block.mlp is not None]
        starts: dict[int, TensorBackward] = {}
        tensors: dict[str, TensorBackward] = {}
        for block in mlps:
            assert block.mlp is not None
            starts[block.mlp.index] = connection("mlp", block.depth, self.mlp)
        if mlps and self.output:
            assert mlps[0].mlp is not None
            tensors[mlps[0].mlp.node] = Record(memory, float(self.output))
        return Plan(
            attentions={
                block.attention.index: ConnectedLogits(connection("attention", block.depth, self.attention))
                for block in blocks
            },
            starts=starts,
            tensors=tensors,
            memories=(memory,),
            notes=(
                f"vdc: {len(blocks)} attentions and {len(mlps)} MLPs are connected; two backward passes a gradient",
            ),
        )


def _refuse_different(blocks: tuple[Block, ...]) -> None:
    shapes = dict.fromkeys((block.attention.shape, block.attention.groups) for block in blocks)
    if len(shapes) > 1:
        listed = ", ".join(" x ".join(map(str, shape)) for shape, _ in shapes)
        raise RuleError(
            f"vdc adds gradients of later blocks to those of earlier ones, and the network's attentions have different "
            f"shapes ({listed}).",
            "Use tgr, att or pna, which treat each block by itself.",
        )
