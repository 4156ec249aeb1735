"""The network that gives gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import fx, nn

from linbp.errors import ModelError, RecipeError, RuleError
from linbp.graph.capture.capture import Capture, capture
from linbp.graph.capture.on_device import on_device
from linbp.graph.engine.compiled import Compiled
from linbp.graph.engine.memory import Remembering
from linbp.graph.engine.mixture import Mixture
from linbp.graph.engine.plan import Plan
from linbp.graph.engine.rewrite import rewrite
from linbp.graph.gradients import Gradients
from linbp.graph.kernels import accelerate
from linbp.graph.kernels.groups import FIRST_GROUP, GROUP, check_group_size, computing_facts
from linbp.graph.kernels.layout import MemoryFormat, best_memory_format, in_memory_format
from linbp.graph.structure.attention import Attention
from linbp.graph.structure.concatenations import Concatenation
from linbp.graph.structure.feature_maps import find_output, up_to
from linbp.graph.structure.junctions import Junction
from linbp.graph.structure.pools import MaxPool
from linbp.graph.structure.sites import Site
from linbp.graph.structure.structure import Structure
from linbp.graph.turns import Turns
from linbp.models.model import Model

__all__ = ["Rule", "Surrogate"]

REARRANGING = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "clone", "contiguous", "to_copy", "to", "alias")


class Rule(Protocol):
    """How gradients pass the places of a network.

    A rule whose plan has memories of several backward passes says how many in its attribute `walks`, so that they are
    counted.
    """

    def plan(self, structure: Structure) -> Plan:
        """What the rule does on a network of this structure.

        Raises:
            RuleError: the rule does not fit the network.
        """
        ...


class Surrogate(Gradients):
    """A network captured as a graph, with a backward rule of its own choosing.

    The network is copied: later changes to the model's weights do not reach the surrogate, and nothing that the
    surrogate does reaches the model.

    Args:
        model: any differentiable model.
        rule: one rule, several that act together, or None for the ordinary gradient.
        fold_batch_norm: fold batch norms into convolutions where logits and gradients agree to 1e-5 relative.
        memory_format: `contiguous`, `channels_last`, or `auto` for the faster one (`docs/performance.md`).
        cache: keep the exported program on disk (in `$LINBP_CACHE`, else in the user's cache folder).
        check: compare the graph's logits and gradients with the module's own, on four images in batches of two sizes;
            False is recorded in the results.
        group_size: images that are computed at a time in float32 on a CPU, the last group filled up with copies, so
            that bits do not depend on the batch: 4; or 1, 8, 16 or 32, which have other bits (`docs/performance.md`).
            It is recorded. Elsewhere a whole batch is computed at once.
        compiled: compile forward and backward pass, with what the rules do, by `torch.compile`, once for each rule and
            shape (`docs/performance.md`). It is recorded: the last bits are others, and depend on the batch.

    Attributes:
        sites: the activations, in execution order.
        junctions: the residual sums, in execution order.
        pools: the max-pools, in execution order.
        attentions: fused or not, in execution order.
        concatenations: in execution order.
        classes: number of logits.
        notes: what capture and the rule did that a user should know, in words.
        memory_format: the one that is used.
        checked: whether the graph was compared with the module.
        group_size: as given.
        is_compiled: as given.

    Raises:
        ModelError: the model gives no gradients.
        CaptureError: the network cannot be captured.
        RecipeError: a group size that may not be chosen, or weights that take turns are to be compiled.
        RuleError: the rule does not fit the network.
    """

    def __init__(
        self,
        model: Model,
        rule: Rule | Sequence[Rule] | None = None,
        *,
        fold_batch_norm: bool = True,
        memory_format: MemoryFormat | Literal["auto"] = "auto",
        cache: bool = True,
        check: bool = True,
        group_size: int = GROUP,
        compiled: bool = False,
    ) -> None:
        if isinstance(model, str):
            raise ModelError(f"{model!r} is a name, not a network.", "linbp.load_model(name) gives the network.")
        if not getattr(model, "differentiable", False):
            raise ModelError(
                f"{getattr(model, 'name', model)} gives no gradients, so it cannot be a surrogate.",
                "Use it as a victim, and another network as the surrogate.",
            )
        self.group_size, self._folds = check_group_size(group_size), fold_batch_norm
        captured = capture(model, fold=fold_batch_norm, cache=cache, check=check)
        self.checked, self.is_compiled = check, compiled and _may_compile(model)
        chosen = best_memory_format(captured.network) if memory_format == "auto" else memory_format
        self._start(model, captured, chosen)
        self._apply(rule)

    def _start(self, model: Model, captured: Capture, memory_format: MemoryFormat) -> None:
        self.model, self.memory_format = model, memory_format
        self._capture = captured
        self._ordinary = in_memory_format(captured.network, memory_format)
        self.classes = captured.classes
        self.reads: tuple[str, ...] = ()
        self.mixes: tuple[str, float] | None = None
        self._captured: Turns[Surrogate] = Turns(lambda one: one._ordinary)  # of this surrogate and its copies

    def _apply(self, rule: Rule | Sequence[Rule] | None) -> None:
        self.rules: tuple[Rule, ...] = () if rule is None else tuple(rule) if isinstance(rule, Sequence) else (rule,)
        plan = Plan()
        for one in self.rules:
            plan = plan + one.plan(self._capture.structure)
        self.plan = plan
        self._turns: Turns[Surrogate] = Turns(lambda one: one._ordinary)
        read = {path: find_output(path, self.structure).node for path in self.reads}
        self._mixture: Mixture | None = None
        if self.mixes is not None:
            path, share = self.mixes
            self._mixture = Mixture(path, find_output(path, self.structure).node, share)
            self._front = up_to(self._ordinary, self._mixture.node)
        rewritten = rewrite(self._ordinary, self.structure, plan, read, self._mixture)
        as_first = self.group_size == FIRST_GROUP or not self.in_groups
        self._with_rules: fx.GraphModule = accelerate(
            rewritten, None if as_first or self.is_compiled else self.group_size
        )
        network: nn.Module = Remembering(self._with_rules, plan.memories) if plan.memories else self._with_rules
        self._network = Compiled(network) if self.is_compiled and self._mixture is None else network

    def _copy(self) -> Surrogate:
        other = object.__new__(Surrogate)
        other.__dict__.update(self.__dict__)
        return other

    def with_rule(self, rule: Rule | Sequence[Rule] | None) -> Surrogate:
        """The same captured network with another rule; nothing is captured again."""
        other = self._copy()
        other._apply(rule)
        return other

    def reading(self, paths: Sequence[str]) -> Surrogate:
        """The same surrogate, whose `observe` returns feature maps too; nothing is exported again.

        A batch norm that was folded into a layer whose own value is read is put back.

        Args:
            paths: of the modules whose results are read.

        Raises:
            RuleError: no such feature map, or the rule hides it in a branch whose gradient it rescales.
        """
        other = self._copy()
        other.reads = tuple(dict.fromkeys(paths))
        outputs = [find_output(path, self.structure) for path in other.reads]
        raw = {
            output.node for output in outputs if output.node == output.original and output.node in self._capture.layers
        }
        if raw:
            other._capture = self._capture.keeping(raw)
            other._ordinary = on_device(in_memory_format(other._capture.network, self.memory_format), self.device)
        other._apply(self.rules)
        return other

    def mixing(self, path: str, share: float) -> Surrogate:
        """The same surrogate, whose `run` and `observe` can mix a feature map with that of other images.

            h' = share h(images) + (1 - share) h(beside)

        Everything behind the feature map then works on h': logits, masks and gradients are those of h', and what comes
        back to h is share times the gradient there.

        Args:
            path: of the module whose result is mixed.
            share: of the images' own feature map.

        Raises:
            RuleError: no such feature map, some way to the logits goes around it, or a rule hides it in an attention
                whose gradient it computes as a whole.
        """
        if not find_output(path, self.structure).on_every_path:
            raise RuleError(
                f"The feature map {path!r} cannot be mixed: another way leads around it to the logits.",
                "Take a block's output; `linbp inspect MODEL --feature-maps` shows which maps everything goes through.",
            )
        other = self._copy()
        other.mixes = path, share
        other._apply(self.rules)
        return other

    def of_turn(self, number: int) -> Surrogate:
        """This surrogate with the weights of one turn of its model, captured when first asked for.

        As many as fit into 2 GiB are kept. Every turn has the first one's program, which alone is compared with its
        module.

        Args:
            number: of the turn, counted from 0.

        Raises:
            ModelError: its file is not there, or another one.
        """
        if number == self.model.own_turn:
            return self
        return self._turns.get(number, lambda _: self._captured.get(number, self._capture_turn)._as(self))

    def _capture_turn(self, number: int) -> Surrogate:
        model = self.model.of_turn(number)
        return Surrogate(model, fold_batch_norm=self._folds, memory_format=self.memory_format, check=False)

    def _as(self, other: Surrogate) -> Surrogate:
        """The same network on another surrogate's device, with its rules, maps and groups."""
        made = self.grouped(other.group_size)
        made = made if self.device == other.device else made.to(other.device)
        made = made.with_rule(other.rules).reading(other.reads)
        if other.mixes is not None:
            made = made.mixing(*other.mixes)
        return made

    def to(self, device: str | torch.device) -> Surrogate:
        """The same surrogate on another device."""
        other = self._copy()
        other._ordinary = on_device(self._ordinary, torch.device(device))
        other._apply(self.rules)
        return other

    def grouped(self, group_size: int) -> Surrogate:
        """The same surrogate with another number of images computed at a time; nothing is captured again.

        Raises:
            RecipeError: it may not be chosen.
        """
        size = check_group_size(group_size)
        if size == self.group_size:
            return self
        other = self._copy()
        other.group_size = size
        other._apply(self.rules)
        return other

    def compiled(self) -> Surrogate:
        """The same surrogate, whose passes are compiled at their first use; nothing is captured again.

        Raises:
            RecipeError: its weights take turns.
        """
        if self.is_compiled:
            return self
        other = self._copy()
        other.is_compiled = _may_compile(self.model)
        other._apply(self.rules)
        return other

    @property
    def sites(self) -> tuple[Site, ...]:
        """The activations, in execution order."""
        return self._capture.structure.sites

    @property
    def junctions(self) -> tuple[Junction, ...]:
        """The residual sums, in execution order."""
        return self._capture.structure.junctions

    @property
    def pools(self) -> tuple[MaxPool, ...]:
        """The max-pools, in execution order."""
        return self._capture.structure.pools

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attentions, in execution order."""
        return self._capture.structure.attentions

    @property
    def concatenations(self) -> tuple[Concatenation, ...]:
        """The concatenations, in execution order."""
        return self._capture.structure.concatenations

    @property
    def structure(self) -> Structure:
        """Sites, junctions, max-pools and the places of modules, as rules see them."""
        return self._capture.structure

    @property
    def last_operation(self) -> str:
        """The operation whose values are the logits, such as `linear`; those that only rearrange values are passed."""
        node = next(iter(self._ordinary.graph.find_nodes(op="output"))).args[0]
        while isinstance(node, fx.Node) and _name(node) in REARRANGING and isinstance(node.args[0], fx.Node):
            node = node.args[0]
        return _name(node) if isinstance(node, fx.Node) else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What capture and the rule did that a user should know."""
        mixed = self.is_compiled and self._mixture is not None
        eager = ("not compiled, because feature maps are mixed in",) if mixed else ()
        return (*self._capture.notes, f"memory format {self.memory_format}", *eager, *self.plan.notes)

    def computing(self) -> dict[str, Any]:
        """What results record about how it computes, where that decides bits."""
        return computing_facts(self.group_size, self.model.dtype, self.is_compiled)

    def identity(self) -> dict[str, Any]:
        """What results record: the model's identity, memory format and notes."""
        unchecked = {} if self.checked else {"unchecked": [self.model.name]}
        facts = {**self.model.identity(), **unchecked, **self.computing()}
        return {**facts, "memory_format": self.memory_format, "notes": list(self.notes)}


def _may_compile(model: Model) -> bool:
    """True, or an error where it would be in vain."""
    if model.turns > 1:
        raise RecipeError(
            f"{model.name} has weights that take turns, and each would be compiled on its own.",
            "Leave compiling out.",
        )
    return True


def _name(node: fx.Node) -> str:
    """The name of a node's operation, without that of its overload."""
    return str(getattr(node.target, "overloadpacket", node.target)).rpartition(".")[2].removeprefix("_")
