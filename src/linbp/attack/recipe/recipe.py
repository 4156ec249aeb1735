"""An attack as data: a frozen sum of parts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from linbp.attack.parts.estimator import Estimator, Plain
from linbp.attack.parts.objective import CrossEntropy, Objective
from linbp.attack.parts.start import Start
from linbp.attack.parts.transform import Transform
from linbp.attack.parts.update import Sign, Update
from linbp.attack.recipe import named_gradients as _named_gradients  # noqa: F401  (registers more named recipes)
from linbp.attack.recipe.grammar import Term, build, parse_stages, write
from linbp.attack.recipe.named import needs_targets
from linbp.errors import RecipeError
from linbp.graph import Rule
from linbp.registry import Kind, grammar_name

__all__ = ["Recipe"]

MANY: dict[Kind, str] = {"rule": "rules", "transform": "transforms"}
ONE: dict[Kind, str] = {"start": "start", "objective": "objective", "estimator": "estimator", "update": "update"}
MEANING: dict[Kind, str] = {
    "start": "say where the first step begins",
    "objective": "say what is increased",
    "estimator": "say how many gradients make one",
    "update": "say how a gradient becomes a step",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A sum of parts. What is not given is I-FGSM's: the ordinary gradient of the cross-entropy, and its sign.

    A recipe may be the last of several stages: each begins at the clean image again, and its objective works on what
    the stage before it found, its guide.

    Attributes:
        rules: backward rules, acting together.
        transforms: applied to the input in this order.
        start: where the first step begins, or None for the clean image.
        objective: what is increased.
        estimator: how many gradients make one.
        update: how a gradient becomes a step.
        guide: the stage before, or None. An objective that needs one and has none is guided by I-FGSM.
        targeted_name: the name of a targeted attack that this stage was written with, which is not run without targets.
            It is not a part and of no account in comparisons: a recipe that is read back from its parts has none.

    Raises:
        RecipeError: a part of the wrong kind, or given twice; parts that exclude each other; a guide that the objective
            makes no use of.
    """

    rules: tuple[Rule, ...] = ()
    transforms: tuple[Transform, ...] = ()
    start: Start | None = None
    objective: Objective = field(default_factory=CrossEntropy)
    estimator: Estimator = field(default_factory=Plain)
    update: Update = field(default_factory=Sign)
    guide: Recipe | None = None
    targeted_name: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for kind, name in {**MANY, **ONE}.items():
            value = getattr(self, name)
            parts = value if kind in MANY else () if value is None else (value,)
            if kind in MANY:
                object.__setattr__(self, name, tuple(parts))
            for part in parts:
                if getattr(part, "kind", None) != kind:
                    raise RecipeError(f"{part!r} is no {kind}.", f"`linbp list {kind}s` lists them.")
            twice = _repeated([grammar_name(part) for part in parts])
            if twice:
                raise RecipeError(f"{twice} stands twice in the recipe.", "Leave one out: it would do nothing new.")
        _check_pairs(self)
        if self.objective.needs_start and self.start is None:
            raise RecipeError(
                f"{grammar_name(self.objective)} has no gradient at the clean image, where the attack would begin and "
                "stay.",
                "Add a start, such as random-start(radius=0.1).",
            )
        if self.objective.needs_guide and self.guide is None:
            object.__setattr__(self, "guide", Recipe())
        if self.guide is not None and not self.objective.needs_guide:
            raise RecipeError(
                f"{self.guide} >> ... would have no effect: {grammar_name(self.objective)} makes no use of the stage "
                "before it.",
                "Give the last stage an objective that does (`linbp list objectives`), or leave the first one out.",
            )

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe that a line of the grammar means, such as `linbp(start=layer3.1) + di + mi`.

        Raises:
            RecipeError: a misspelt name or parameter (with the nearest one), a value out of range, or parts that
                contradict each other or would do nothing.
        """
        recipe: Recipe | None = None
        for terms in parse_stages(text):
            recipe = cls.of((part for term in terms for part in _parts(term)), guide=recipe)
            targeted = next((term.name for term in terms if needs_targets(term.name)), None)
            recipe = recipe if targeted is None else dataclasses.replace(recipe, targeted_name=targeted)
        assert recipe is not None  # a text has at least one stage
        return recipe

    @classmethod
    def of(cls, parts: Iterable[Any], guide: Recipe | None = None) -> Recipe:
        """The sum of parts, after the stage that guides it.

        Raises:
            RecipeError: two parts claim the same role.
        """
        fields: dict[str, Any] = {} if guide is None else {"guide": guide}
        for part in parts:
            kind = part.kind
            if kind in MANY:
                fields[MANY[kind]] = (*fields.get(MANY[kind], ()), part)
            elif ONE[kind] in fields:
                both = f"{grammar_name(fields[ONE[kind]])} and {grammar_name(part)}"
                raise RecipeError(f"{both} both {MEANING[kind]}.", "Leave one out: it would have no effect.")
            else:
                fields[ONE[kind]] = part
        return cls(**fields)

    @property
    def parts(self) -> tuple[Any, ...]:
        """Every part that differs from I-FGSM's, in the order of the text."""
        default = {"objective": CrossEntropy(), "estimator": Plain(), "update": Sign(), "start": None}
        single = [getattr(self, name) for name in ONE.values() if getattr(self, name) != default[name]]
        return (*self.rules, *self.transforms, *single)

    def __str__(self) -> str:
        """One line of the grammar that `parse` reads back to the same recipe."""
        own = " + ".join(write(part) for part in self.parts) or "ifgsm"
        return own if self.guide is None else f"{self.guide} >> {own}"

    @property
    def stages(self) -> tuple[Recipe, ...]:
        """The stages in their order, the recipe itself last."""
        return (self,) if self.guide is None else (*self.guide.stages, self)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data: every part with all its parameters."""

        def plain(part: Any) -> dict[str, Any]:
            values = {known.name: getattr(part, known.name) for known in dataclasses.fields(part)}
            lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            return {"name": grammar_name(part), **lists}

        return {
            "rules": [plain(rule) for rule in self.rules],
            "transforms": [plain(transform) for transform in self.transforms],
            **{name: None if (value := getattr(self, name)) is None else plain(value) for name in ONE.values()},
            "guide": None if self.guide is None else self.guide.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote.

        Raises:
            RecipeError: an unknown field, part or parameter.
        """
        known = {*MANY.values(), *ONE.values(), "guide"}
        unknown = sorted(set(data) - known)
        if unknown:
            raise RecipeError(f"A recipe has no {unknown[0]!r}.", "It has " + ", ".join(sorted(known)) + ".")
        fields: dict[str, Any] = {}
        for name, value in data.items():
            if value is None:
                continue
            many = name in MANY.values()
            if isinstance(value, Sequence) and many:
                fields[name] = tuple(_read(item) for item in value)
            elif isinstance(value, Mapping) and not many:
                fields[name] = cls.from_dict(value) if name == "guide" else _read(value)
            else:
                raise RecipeError(f"{name} of the recipe is {value!r}.", "Give what Recipe.to_dict() writes.")
        return cls(**fields)

    @property
    def single_step(self) -> bool:
        """Whether every stage is one step of the whole radius."""
        return all(stage.update.single_step for stage in self.stages)

    @property
    def copies(self) -> int:
        """How many changed copies of an image the last stage's transforms make for one gradient."""
        return math.prod(transform.copies() for transform in self.transforms)

    @property
    def starts_at_clean(self) -> bool:
        """Whether the last stage's first gradient is taken at the clean images as they are."""
        plain = all(transform.at_image for transform in self.transforms) and isinstance(self.estimator, Plain)
        return self.start is None and plain

    def own_steps(self, steps: int) -> int:
        """How many steps the last stage takes where the attack is asked for `steps`."""
        if self.update.single_step:
            return 1
        own = getattr(self.objective, "steps", None)
        return steps if own is None else int(own)

    def gradients(self, steps: int, members: int = 1) -> int:
        """How many forward and backward passes each image takes, in all stages.

        Args:
            steps: that the attack is asked for.
            members: number of surrogates.
        """
        return sum(stage.estimator.gradients(stage.own_steps(steps), members) * stage.copies for stage in self.stages)

    def check_steps(self, steps: int | None) -> int:
        """The number of steps to take: `steps`, or the recipe's own where that is None.

        Raises:
            RecipeError: the recipe cannot be run in so many steps, or a part would have no effect.
        """
        if steps is None:
            steps = 1 if self.single_step else 50
        elif isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise RecipeError(f"steps is {steps!r}.", "Give a whole number of at least 1.")
        elif self.single_step and steps != 1:
            raise RecipeError(
                f"{self} takes one step of the whole radius, not {steps}.", "Leave steps out, or use ifgsm."
            )
        for stage in self.stages:
            if stage.update.single_step and getattr(stage.objective, "steps", None) not in (None, 1):
                name = f"{grammar_name(stage.objective)}(steps=...)"
                raise RecipeError(
                    f"{name} would have no effect: {grammar_name(stage.update)} takes one step.",
                    "Leave one of them out.",
                )
            taken = stage.own_steps(steps)
            for part in (stage.update, stage.estimator, stage.objective):
                if taken < part.fewest_steps and (part is not stage.objective or stage.starts_at_clean):
                    name = grammar_name(part)
                    raise RecipeError(
                        f"{name} would have no effect in {taken} step.", f"Take more steps, or leave {name} out."
                    )
        return steps

    def check_targets(self, given: bool) -> None:
        """Refuse targets for an objective that cannot lead to a class, and the name of a targeted attack without any.

        Args:
            given: whether there are targets.

        Raises:
            RecipeError: one of the two.
        """
        if not given:
            for stage in self.stages:
                if stage.targeted_name is not None:
                    raise RecipeError(
                        f"{stage.targeted_name} is a targeted attack, and there are no targets.",
                        "Give targets (--targets or --target-rule; craft(..., targets=...) in Python), or write its "
                        f"parts: {self}.",
                    )
            return
        for stage in self.stages:
            if not stage.objective.takes_targets:
                name = grammar_name(stage.objective)
                raise RecipeError(
                    f"{name} leads away from the clean image and to no class: it has no targeted form.",
                    "Leave the targets out, or use ce, logit or margin.",
                )


def _check_pairs(recipe: Recipe) -> None:
    """Refuse parts that one of them cannot be summed with."""
    parts = [part for name in MANY.values() for part in getattr(recipe, name)]
    parts += [part for name in ONE.values() if (part := getattr(recipe, name)) is not None]
    names = {grammar_name(part) for part in parts}
    for part in parts:
        for other, why in getattr(part, "excludes", {}).items():
            if other in names:
                raise RecipeError(f"{grammar_name(part)} + {other}: {why}.", "Leave one of the two out.")


def _parts(term: Term) -> tuple[Any, ...]:
    made = build(term)
    return made if isinstance(made, tuple) else (made,)


def _read(data: Mapping[str, Any]) -> Any:
    if not isinstance(data, Mapping) or "name" not in data:
        raise RecipeError(f"{data!r} is no part of a recipe.", "A part has a name and its parameters.")
    options = {key: value for key, value in data.items() if key != "name"}
    parts = _parts(Term(str(data["name"]), options))
    if len(parts) != 1:
        raise RecipeError(f"{data['name']} is a whole recipe, not one part.", "Write its parts.")
    return parts[0]


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)
