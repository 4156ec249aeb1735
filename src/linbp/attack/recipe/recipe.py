"""An attack as data: one stage, or several after each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linbp.attack.recipe.stage import Stage
from linbp.errors import LinbpError, RecipeError
from linbp.registry import grammar_name, is_part, typed
from linbp.registry.grammar import parse_stages

__all__ = ["Recipe", "as_recipe"]

DEFAULT_STEPS, MOST_STEPS = 50, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An attack as data: its stages. Each begins at the clean image, and works on what the stage before it found.

    Attributes:
        stages: in their order, at least one; by default one of I-FGSM. Where the first one's objective needs a stage
            before it, that is I-FGSM.

    Raises:
        RecipeError: no stage, or one that the stage after it makes no use of.
    """

    stages: tuple[Stage, ...] = (Stage(),)

    def __post_init__(self) -> None:
        stages = tuple(self.stages)
        if not stages:
            raise RecipeError("The recipe has no stage.", "Give at least one.")
        if stages[0].objective.needs_guide:
            stages = (Stage(), *stages)
        object.__setattr__(self, "stages", stages)
        for number, stage in enumerate(stages[1:], 1):
            if not stage.objective.needs_guide:
                before = " >> ".join(map(str, stages[:number]))
                raise RecipeError(
                    f"{before} >> ... would have no effect: {stage} makes no use of the stage before it.",
                    "Give the last stage an objective that does (`linbp list objectives`), or leave the first one out.",
                )

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe that a line of the grammar means, such as `linbp(start=layer3.1) + di + mi`; it keeps its words.

        Raises:
            RecipeError: a misspelt name or parameter (with the nearest one), a value out of range, or parts that
                contradict each other or would do nothing.
        """
        return cls(stages=tuple(Stage.written(terms) for terms in parse_stages(text)))

    @classmethod
    def of(cls, *stages: Iterable[Any]) -> Recipe:
        """The recipe of some parts; of several stages where several collections of parts are given.

        Raises:
            RecipeError: two parts claim the same role.
        """
        return cls(stages=tuple(Stage.of(parts) for parts in stages))

    def __str__(self) -> str:
        """One line of the grammar that `parse` reads back to the same recipe: what was written, where it was."""
        return " >> ".join(map(str, self.stages))

    def is_written(self, text: str) -> bool:
        """Whether a text means this recipe, however it is written."""
        try:
            return text == str(self) or Recipe.parse(text) == self
        except LinbpError:  # of a version that had other parts
            return False

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data: its text, and every part of every stage with all its parameters."""
        return {"text": str(self), "stages": [stage.to_dict() for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote, now or when the stage before a last one stood under `guide` in it.

        Where the text means something else than the parts, as after a change of a name's defaults, the parts count.

        Raises:
            RecipeError: an unknown field, part or parameter.
        """
        if "stages" not in data:
            guide = data.get("guide")
            before = () if guide is None else cls.from_dict(guide).stages
            return cls(stages=(*before, Stage.from_dict({name: data[name] for name in data if name != "guide"})))
        unknown = sorted(set(data) - {"text", "stages"})
        if unknown or not isinstance(data["stages"], Sequence):
            raise RecipeError(f"{(unknown or ['stages'])[0]!r} of a recipe cannot be read.", "It has text and stages.")
        recipe, text = cls(stages=tuple(map(Stage.from_dict, data["stages"]))), data.get("text")
        return cls.parse(text) if text is not None and recipe.is_written(text) else recipe

    @property
    def single_step(self) -> bool:
        """Whether every stage is one step of the whole radius."""
        return all(stage.update.single_step for stage in self.stages)

    def all_steps(self, steps: int) -> int:
        """How many steps each image takes in all stages, where the attack is asked for `steps`."""
        return sum(stage.own_steps(steps) for stage in self.stages)

    def gradients(self, steps: int, members: int = 1) -> int:
        """How many forward and backward passes each image takes, in all stages.

        Args:
            steps: that the attack is asked for.
            members: number of surrogates.
        """
        return sum(stage.gradients(steps, members) for stage in self.stages)

    def check_steps(self, steps: int | None) -> int:
        """The number of steps to take: `steps`, or the recipe's own where that is None.

        Raises:
            RecipeError: the recipe cannot be run in so many steps, or a part would have no effect.
        """
        if steps is None:
            steps = 1 if self.single_step else DEFAULT_STEPS
        elif isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
            raise RecipeError(f"steps is {steps!r}.", f"Give a whole number of at least 1 and at most {MOST_STEPS:,}.")
        elif self.single_step and steps != 1:
            raise RecipeError(
                f"{self} takes one step of the whole radius, not {steps}.", "Leave steps out, or use ifgsm."
            )
        for stage in self.stages:
            with typed(stage.typed_word):
                stage.check_steps(steps)
        return steps

    def check_targets(self, given: bool) -> None:
        """Refuse targets for an objective that cannot lead to a class, and the name of a targeted attack without any.

        Args:
            given: whether there are targets.

        Raises:
            RecipeError: one of the two.
        """
        for stage in self.stages:
            if not given and stage.targeted_name is not None:
                parts = " >> ".join(one.written_out() for one in self.stages)
                raise RecipeError(
                    f"{stage.targeted_name} is a targeted attack, and there are no targets.",
                    "Give targets (--targets or --target-rule; craft(..., targets=...) in Python), or write its "
                    f"parts: {parts}.",
                )
            if given and not stage.objective.takes_targets:
                raise RecipeError(
                    f"{stage.typed_word(grammar_name(stage.objective))} leads away from the clean image and to "
                    "no class: it has no targeted form.",
                    "Leave the targets out, or use ce, logit or margin.",
                )

    def check_pool(self, given: bool) -> None:
        """Refuse a recipe that needs a pool where none is given, and a pool where the recipe makes no use of one.

        Raises:
            RecipeError: it is so.
        """
        needed = [
            stage.typed_word(grammar_name(part))
            for stage in self.stages
            for part in stage.transforms
            if part.needs_pool
        ]
        if needed and not given:
            raise RecipeError(
                f"{needed[0]} mixes in images of a pool, and there is none.",
                "Give one: --pool FOLDER_OR_CSV (pool=linbp.Pool(images) in Python); it may be the images under "
                "attack.",
            )
        if given and not needed:
            raise RecipeError(f"{self} makes no use of a pool.", "Leave the pool out.")


def as_recipe(given: Any) -> Recipe:
    """A recipe from what a user gives: itself, its text, or a part, which is I-FGSM with that part.

    Raises:
        RecipeError: none of these, or as `Recipe.parse`.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, str):
        return Recipe.parse(given)
    if is_part(given):
        return Recipe.of([given])
    raise RecipeError(
        f"{given!r} is no recipe.", "Write its text, such as 'linbp(start=0.5) + mi', or linbp.Recipe.of(parts)."
    )
