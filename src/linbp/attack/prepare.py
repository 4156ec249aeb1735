"""From a model and a recipe to surrogates that are ready for every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from linbp.attack.ensemble import Ensemble, Fuse, fused, identity
from linbp.attack.parts.objective import Objective
from linbp.attack.recipe.recipe import Recipe
from linbp.errors import ModelError, RecipeError, RuleError
from linbp.graph import Rule, Structure, Surrogate, find_output
from linbp.models.model import Model
from linbp.registry import grammar_name

__all__ = ["Prepared", "Stage", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage, ready to run.

    Attributes:
        recipe: its parts; its guide is the stage before.
        surrogates: with its rules, reading the feature maps of its objective.
        fuse: how they are averaged.
    """

    recipe: Recipe
    surrogates: tuple[Surrogate, ...]
    fuse: Fuse


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recipe on one surrogate or on an ensemble; what `craft` works with.

    Attributes:
        recipe: as given.
        stages: ready to run.
        surrogates: as given, without the recipe's rules.
        fuse: how several are averaged.
    """

    recipe: Recipe
    stages: tuple[Stage, ...]
    surrogates: tuple[Surrogate, ...]
    fuse: Fuse

    @property
    def classes(self) -> int:
        """How many classes they know."""
        return self.surrogates[0].classes

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that they compute in."""
        return self.surrogates[0].dtype

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.surrogates[0].device

    @property
    def name(self) -> str:
        """What messages call them."""
        return " and ".join(surrogate.model.name for surrogate in self.surrogates)

    @property
    def notes(self) -> tuple[str, ...]:
        """What capture and the rules did that a user should know, each note once."""
        every = [
            note if len(self.surrogates) == 1 else f"{surrogate.model.name}: {note}"
            for stage in self.stages
            for surrogate in stage.surrogates
            for note in surrogate.notes
        ]
        return tuple(dict.fromkeys(every))

    def identity(self) -> dict[str, Any]:
        """What results record of the surrogate or of the ensemble."""
        return identity(self.surrogates, self.fuse)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes), without gradients, of images (N, C, H, W) in [0, 1]; an ensemble's are fused.

        Raises:
            ModelError: they are not finite.
        """
        return fused([surrogate.logits(images) for surrogate in self.surrogates], self.fuse)


def prepare(
    model: Model | Surrogate | Ensemble | Prepared, recipe: Recipe, device: str | torch.device | None = None
) -> Prepared:
    """Surrogates with the recipe's rules in them; what is captured already is not captured again.

    A surrogate that comes with a rule keeps it, in every stage.

    Raises:
        RecipeError: the surrogate and the recipe both have rules; a part has no effect with so many surrogates, or
            reads feature maps of an ensemble whose logits are averaged.
        RuleError: a rule or an objective does not fit the network.
    """
    if isinstance(model, Prepared):
        if model.recipe != recipe:
            raise RecipeError(f"The surrogate was prepared for {model.recipe}, not for {recipe}.", "Prepare it anew.")
        if device is not None and not _same(device, model.device):
            raise RecipeError(f"The surrogate was prepared on {model.device}, not on {device}.", "Prepare it there.")
        return model
    if device is not None and not isinstance(model, Model) and not _same(device, _device(model)):
        model = model.to(device)
    if isinstance(model, Ensemble):
        surrogates, fuse = model.surrogates, model.fuse
    else:
        surrogate = model if isinstance(model, Surrogate) else Surrogate(model)
        if device is not None and not _same(device, surrogate.device):
            surrogate = surrogate.to(device)
        surrogates, fuse = (surrogate,), "losses"
        if surrogate.rules and any(stage.rules for stage in recipe.stages):
            raise RecipeError(
                "The surrogate has a backward rule, and so has the recipe.", "Give the rule in one place only."
            )
    if surrogates[0].dtype == torch.bfloat16:
        raise ModelError(
            f"{surrogates[0].model.name} computes in bfloat16, which cannot hold the 256 levels of an image.",
            "Use it in float32 (module.float()) as a surrogate.",
        )
    stages = tuple(_stage(stage, surrogates, fuse) for stage in recipe.stages)
    return Prepared(recipe=recipe, stages=stages, surrogates=surrogates, fuse=fuse)


def _same(named: str | torch.device, device: torch.device) -> bool:
    """Whether a device's name, such as cuda, means a device, such as cuda:0."""
    wanted = torch.device(named)
    return wanted.type == device.type and wanted.index in (None, device.index)


def _device(model: Surrogate | Ensemble) -> torch.device:
    return model.surrogates[0].device if isinstance(model, Ensemble) else model.device


def _stage(recipe: Recipe, surrogates: Sequence[Surrogate], fuse: Fuse) -> Stage:
    recipe.estimator.check_members(len(surrogates))
    if len(surrogates) > 1 and fuse != "losses" and type(recipe.objective).feature_maps is not Objective.feature_maps:
        raise RecipeError(
            f"{grammar_name(recipe.objective)} reads feature maps, and an ensemble's {fuse} have none.",
            "Average the losses instead (fuse='losses' in Python, --fuse losses).",
        )
    ready = []
    for surrogate in surrogates:
        try:
            ready.append(_member(recipe, surrogate))
        except (RecipeError, RuleError) as fault:
            if len(surrogates) == 1:
                raise
            raise type(fault)(f"{surrogate.model.name}: {fault.message}", fault.hint) from None
    if len(surrogates) > 1 and recipe.rules and all(surrogate.rules for surrogate in surrogates):
        raise RecipeError(
            "The recipe's rule would have no effect: every surrogate has its own.", "Give the rule in one place only."
        )
    return Stage(recipe=recipe, surrogates=tuple(ready), fuse=fuse)


def _member(recipe: Recipe, surrogate: Surrogate) -> Surrogate:
    """A surrogate with a stage's rules, reading what its objective reads."""
    ruled = surrogate.with_rule(recipe.rules) if recipe.rules and not surrogate.rules else surrogate
    nodes = recipe.objective.feature_maps(ruled.structure)
    if nodes and not recipe.objective.reads_logits:
        # A surrogate's own rule holds in every stage; it may be for the stage that guides this one.
        own = surrogate.rules if recipe.guide is None else ()
        _check_reach(recipe, own or (recipe.rules if not surrogate.rules else ()), ruled.structure, nodes)
    return ruled.reading(nodes) if nodes and tuple(nodes) != ruled.reads else ruled


def _check_reach(recipe: Recipe, rules: Sequence[Rule], structure: Structure, nodes: Sequence[str]) -> None:
    """Refuse a rule that acts only behind the feature maps that are read: no gradient comes from there.

    Raises:
        RecipeError: there is such a rule.
    """
    for rule in rules:
        if not _reaches(rule, structure, nodes):
            name, reader = getattr(rule, "grammar_name", type(rule).__name__), grammar_name(recipe.objective)
            raise RecipeError(
                f"{name} would have no effect: it acts behind {nodes[-1]!r}, and {reader} reads nothing there.",
                f"Let {reader} read a later feature map, start {name} earlier, or leave it out of this stage.",
            )


def _reaches(rule: Rule, structure: Structure, nodes: Sequence[str]) -> bool:
    """Whether a rule acts on anything in front of the last of some feature maps."""
    end = max(structure.ranks[find_output(path, structure).node] for path in nodes)
    return any(structure.ranks[node] <= end for node in rule.plan(structure).nodes(structure))
