"""From surrogates and a recipe to surrogates that are ready for every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from linbp.attack.ensemble import Attackable, Ensemble, Fuse, as_ensemble, same_device
from linbp.attack.parts.objective import Objective
from linbp.attack.parts.transform import MapTransform, Transform
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage
from linbp.errors import ModelError, RecipeError, RuleError
from linbp.graph import Rule, Structure, Surrogate, find_output
from linbp.models.device import usable_device
from linbp.registry import typed, typed_name

__all__ = ["Prepared", "PreparedStage", "prepare"]


@dataclass(frozen=True, kw_only=True)
class PreparedStage:
    """A stage of a recipe with its surrogates, ready to run.

    Attributes:
        parts: the stage.
        surrogates: with its rules, reading the feature maps of its objective.
        fuse: how they are averaged.
        asked: by transform, the surrogates with its rules that read what it asks about before the first step; empty
            where it asks nothing.
    """

    parts: Stage
    surrogates: tuple[Surrogate, ...]
    fuse: Fuse
    asked: tuple[tuple[Surrogate, ...], ...]

    @property
    def name(self) -> str:
        """What messages call the surrogates."""
        return " and ".join(surrogate.model.name for surrogate in self.surrogates)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recipe on an ensemble of one or more surrogates.

    Attributes:
        recipe: as given.
        stages: ready to run.
        ensemble: as given, without the recipe's rules.
    """

    recipe: Recipe
    stages: tuple[PreparedStage, ...]
    ensemble: Ensemble

    @property
    def notes(self) -> tuple[str, ...]:
        """What capture and the rules did that a user should know, each note once."""
        every = [
            note if len(self.ensemble.surrogates) == 1 else f"{surrogate.model.name}: {note}"
            for stage in self.stages
            for surrogate in stage.surrogates
            for note in surrogate.notes
        ]
        return tuple(dict.fromkeys(every))


def prepare(
    model: Attackable | Prepared,
    recipe: Recipe,
    device: str | torch.device | None = None,
    group_size: int | None = None,
    compiled: bool = False,
) -> Prepared:
    """Surrogates with the recipe's rules in them; what is captured already is not captured again.

    A surrogate that comes with a rule keeps it, in every stage.

    Raises:
        RecipeError: the surrogate and the recipe both have rules; a part has no effect with so many surrogates, or
            reads feature maps of an ensemble whose logits are averaged; it was prepared for something else; the group
            size may not be chosen, or would have no effect.
        RuleError: a rule or an objective does not fit the network.
    """
    if isinstance(model, Prepared):
        if model.recipe != recipe:
            raise RecipeError(f"The surrogate was prepared for {model.recipe}, not for {recipe}.", "Prepare it anew.")
        if device is not None and not same_device(usable_device(device), model.ensemble.device):
            raise RecipeError(
                f"The surrogate was prepared on {model.ensemble.device}, not on {device}.", "Prepare it there."
            )
        sizes = {surrogate.group_size for surrogate in model.ensemble.surrogates}
        if group_size is not None and sizes != {group_size}:
            raise RecipeError(
                f"The surrogate was prepared with group_size={', '.join(map(str, sorted(sizes)))}, not {group_size}.",
                "Prepare it anew.",
            )
        if compiled and not all(surrogate.is_compiled for surrogate in model.ensemble.surrogates):
            raise RecipeError("The surrogate was prepared without compiling.", "Prepare it anew.")
        return model
    ensemble = as_ensemble(model, device, group_size, compiled)
    surrogates = ensemble.surrogates
    if len(surrogates) == 1 and surrogates[0].rules and any(stage.rules for stage in recipe.stages):
        raise RecipeError(
            "The surrogate has a backward rule, and so has the recipe.", "Give the rule in one place only."
        )
    if ensemble.dtype == torch.bfloat16:
        raise ModelError(
            f"{surrogates[0].model.name} computes in bfloat16, which cannot hold the 256 levels of an image.",
            "Use it in float32 (module.float()) as a surrogate.",
        )
    stages = []
    for number, stage in enumerate(recipe.stages):
        with typed(stage.typed_word):
            stages.append(_prepare_stage(stage, ensemble, first=not number))
    return Prepared(recipe=recipe, stages=tuple(stages), ensemble=ensemble)


def _prepare_stage(stage: Stage, ensemble: Ensemble, first: bool) -> PreparedStage:
    surrogates, fuse = ensemble.surrogates, ensemble.fuse
    alone = len(surrogates) == 1
    stage.estimator.check_members(len(surrogates))
    stage.estimator.check_turns(max(surrogate.model.turns for surrogate in surrogates))
    if not alone and fuse != "losses" and type(stage.objective).feature_maps is not Objective.feature_maps:
        raise RecipeError(
            f"{typed_name(stage.objective)} reads feature maps, and an ensemble's {fuse} have none.",
            "Average the losses instead (fuse='losses' in Python, --fuse losses).",
        )
    ready, asked = [], []
    for surrogate in surrogates:
        try:
            ready.append(_prepare_member(stage, surrogate, first))
            asked.append([_reading(stage, transform, surrogate) for transform in stage.transforms])
        except (RecipeError, RuleError) as fault:
            if alone:
                raise
            raise type(fault)(f"{surrogate.model.name}: {fault.message}", fault.hint) from None
    if not alone and stage.rules and all(surrogate.rules for surrogate in surrogates):
        raise RecipeError(
            "The recipe's rule would have no effect: every surrogate has its own.", "Give the rule in one place only."
        )
    by_transform = tuple(tuple(one for one in found if one is not None) for found in zip(*asked, strict=True))
    return PreparedStage(parts=stage, surrogates=tuple(ready), fuse=fuse, asked=by_transform)


def _reading(stage: Stage, transform: Transform, surrogate: Surrogate) -> Surrogate | None:
    """A surrogate with a stage's rules, reading what a transform asks about before the first step."""
    paths = transform.feature_maps(surrogate.structure)
    if not paths:
        return None
    ruled = surrogate.with_rule(stage.rules) if stage.rules and not surrogate.rules else surrogate
    return ruled.reading(paths)


def _prepare_member(stage: Stage, surrogate: Surrogate, first: bool) -> Surrogate:
    """A surrogate with a stage's rules, reading what its objective reads."""
    ruled = surrogate.with_rule(stage.rules) if stage.rules and not surrogate.rules else surrogate
    paths = stage.objective.feature_maps(ruled.structure)
    behind = stage.objective.reads_logits or stage.objective.gradients_before(1) > 0
    if paths and not behind:
        # A surrogate's own rule holds in every stage: in a later one it may be there for those before.
        own = surrogate.rules if first else ()
        _check_reach(stage, own or (stage.rules if not surrogate.rules else ()), ruled.structure, paths)
    reading = ruled.reading(paths) if paths and tuple(paths) != ruled.reads else ruled
    return _mixing(stage, reading)


def _mixing(stage: Stage, surrogate: Surrogate) -> Surrogate:
    """The surrogate, mixing the feature map that a transform mixes.

    Raises:
        RecipeError: two transforms mix feature maps, or nothing behind the map is read.
        RuleError: there is no such map, or it cannot be mixed.
    """
    mixers = [transform for transform in stage.transforms if isinstance(transform, MapTransform)]
    if len(mixers) > 1:
        raise RecipeError(f"{' and '.join(map(typed_name, mixers))} both mix feature maps.", "Leave one of them out.")
    for mixer in mixers:
        path, structure = mixer.feature_map(surrogate.structure), surrogate.structure
        end, reads = find_output(path, structure).node, stage.objective.feature_maps(structure)
        last = max((structure.ranks[find_output(one, structure).node] for one in reads), default=0)
        if not stage.objective.reads_logits and last <= structure.ranks[end]:
            name, reader = typed_name(mixer), typed_name(stage.objective)
            raise RecipeError(
                f"{name} would have no effect: it changes what is behind {path!r}, and {reader} reads nothing there.",
                f"Mix an earlier feature map ({name}(at=...)), or let {reader} read a later one.",
            )
        return surrogate.mixing(path, mixer.share)
    return surrogate


def _check_reach(stage: Stage, rules: Sequence[Rule], structure: Structure, paths: Sequence[str]) -> None:
    """Refuse a rule that acts only behind the feature maps that are read: no gradient comes from there.

    Raises:
        RecipeError: there is such a rule.
    """
    for rule in rules:
        if not _reaches(rule, structure, paths):
            name, reader = getattr(rule, "grammar_name", type(rule).__name__), typed_name(stage.objective)
            raise RecipeError(
                f"{name} would have no effect: it acts behind {paths[-1]!r}, and {reader} reads nothing there.",
                f"Let {reader} read a later feature map, start {name} earlier, or leave it out of this stage.",
            )


def _reaches(rule: Rule, structure: Structure, paths: Sequence[str]) -> bool:
    """Whether a rule acts on anything in front of the last of some feature maps."""
    end = max(structure.ranks[find_output(path, structure).node] for path in paths)
    return any(structure.ranks[node] <= end for node in rule.plan(structure).nodes(structure))
