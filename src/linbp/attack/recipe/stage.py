"""One stage of a recipe: a sum of parts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from linbp.attack.parts.estimator import Estimator, Plain, SeveralTurns
from linbp.attack.parts.objective import CrossEntropy, Objective
from linbp.attack.parts.start import Start
from linbp.attack.parts.transform import Transform
from linbp.attack.parts.update import Sign, Update
from linbp.attack.recipe import named_copies as _named_copies  # noqa: F401  (these register more named recipes)
from linbp.attack.recipe import named_features as _named_features  # noqa: F401
from linbp.attack.recipe import named_gradients as _named_gradients  # noqa: F401
from linbp.attack.recipe import named_transformers as _named_transformers  # noqa: F401
from linbp.attack.recipe.named import needs_targets
from linbp.errors import RecipeError
from linbp.graph import Rule
from linbp.registry import Kind, grammar_name, home, is_part, typed_name
from linbp.registry.grammar import Term, build, write

__all__ = ["Stage"]

MANY: dict[Kind, str] = {"rule": "rules", "transform": "transforms"}
ONE: dict[Kind, str] = {"start": "start", "objective": "objective", "estimator": "estimator", "update": "update"}
MEANING: dict[Kind, str] = {
    "start": "say where the first step begins",
    "objective": "say what is increased",
    "estimator": "say how many gradients make one",
    "update": "say how a gradient becomes a step",
}
BASES: dict[Kind, type] = {
    "transform": Transform,
    "objective": Objective,
    "estimator": Estimator,
    "update": Update,
}
NEEDED: dict[Kind, str] = {"rule": "plan", "start": "first"}
"""What parts of other packages have to be: a class that they inherit from, or a method."""
ORDER: tuple[Kind, ...] = (*MANY, *ONE)
"""In which order the parts of a sum are written."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A sum of parts. What is not given is I-FGSM's: the ordinary gradient of the cross-entropy, and its sign.

    Attributes:
        rules: backward rules, acting together.
        transforms: applied to the input in this order.
        start: where the first step begins, or None for the clean image.
        objective: what is increased.
        estimator: how many gradients make one.
        update: how a gradient becomes a step.
        terms: the summands that the stage was written with, for its text. They are of no account in comparisons, and
            are dropped where they say something else than the parts.

    Raises:
        RecipeError: a part of the wrong kind, or given twice; parts that exclude each other.
    """

    rules: tuple[Rule, ...] = ()
    transforms: tuple[Transform, ...] = ()
    start: Start | None = None
    objective: Objective = field(default_factory=CrossEntropy)
    estimator: Estimator = field(default_factory=Plain)
    update: Update = field(default_factory=Sign)
    terms: tuple[Term, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for kind, name in {**MANY, **ONE}.items():
            value = getattr(self, name)
            parts = value if kind in MANY else () if value is None else (value,)
            if kind in MANY:
                object.__setattr__(self, name, tuple(parts))
            for part in parts:
                if getattr(part, "kind", None) != kind:
                    raise RecipeError(f"{part!r} is no {kind}.", f"`linbp list {kind}s` lists them.")
                if not isinstance(part, base := BASES.get(kind, object)) or not hasattr(part, NEEDED.get(kind, "kind")):
                    lacks = f"is no {base.__name__}" if kind in BASES else f"has no method {NEEDED[kind]}"
                    raise RecipeError(
                        f"The {kind} {grammar_name(part)} of {home(type(part))} {lacks}.",
                        f"Let its class inherit from linbp.attack.{base.__name__}."
                        if kind in BASES
                        else f"Give its class the method; CONTRIBUTING shows a whole {kind}.",
                    )
            names = [grammar_name(part) for part in parts]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise RecipeError(f"{twice} stands twice in the recipe.", "Leave one out: it would do nothing new.")
        self._check_pairs()
        if self.objective.needs_start and self.start is None:
            raise RecipeError(
                f"{self.typed_word(grammar_name(self.objective))} has no gradient at the clean image, where the attack "
                "would begin and stay.",
                "Add a start, such as random-start(radius=0.1).",
            )
        if self.terms and Stage.of(part for term in self.terms for part in _parts(term)) != self:
            object.__setattr__(self, "terms", ())

    @property
    def parts(self) -> tuple[Any, ...]:
        """All parts, in no order that matters."""
        start = () if self.start is None else (self.start,)
        return (*self.rules, *self.transforms, *start, self.objective, self.estimator, self.update)

    def _check_pairs(self) -> None:
        """Refuse parts that one of them cannot be summed with."""
        names = {grammar_name(part) for part in self.parts}
        for part in self.parts:
            for other, why in getattr(part, "excludes", {}).items():
                if other in names:
                    both = f"{self.typed_word(grammar_name(part))} + {self.typed_word(other)}"
                    raise RecipeError(f"{both}: {why}.", "Leave one of the two out.")

    @classmethod
    def written(cls, terms: Sequence[Term]) -> Stage:
        """The sum that the terms of a text stand for; the stage keeps their text.

        Raises:
            RecipeError: an unknown name or parameter, a value out of range, or parts that contradict each other.
        """
        made = [(term.name, _parts(term)) for term in terms]
        fields = _summed((word, part) for word, parts in made for part in parts)
        return cls(**fields, terms=tuple(terms))

    @classmethod
    def of(cls, parts: Iterable[Any]) -> Stage:
        """The sum of parts.

        Raises:
            RecipeError: two parts claim the same role.
        """
        parts = list(parts)
        for part in parts:
            if not is_part(part):
                raise RecipeError(
                    f"{part!r} is no part of a recipe.",
                    f"Write {part.__name__}(...)."
                    if isinstance(part, type)
                    else "Give instances of parts, such as linbp.LinBP(start=0), or a recipe's text.",
                )
        return cls(**_summed((grammar_name(part), part) for part in parts))

    def typed_word(self, name: str) -> str:
        """The word that a part came with in the stage's text: `mifgsm` for `mi`; its own name where it has no other."""
        words = {grammar_name(part): term.name for term in self.terms for part in _parts(term)}
        return words.get(name, name)

    def __str__(self) -> str:
        """One line of the grammar: the terms as they were written, or else the parts."""
        if not self.terms:
            return self.written_out()
        made = [(term.text, build(term)) for term in self.terms]
        if not any(isinstance(parts, tuple) for _, parts in made):
            # Sums of parts alone have one order, so that tables of results find the same attack under one text.
            made.sort(key=lambda pair: ORDER.index(pair[1].kind))
        return " + ".join(text for text, _ in made)

    def written_out(self) -> str:
        """One line of the grammar: the parts that differ from I-FGSM's, without the name of a recipe."""
        default = Stage()
        single = [part for name in ONE.values() if (part := getattr(self, name)) != getattr(default, name)]
        return " + ".join(write(part) for part in (*self.rules, *self.transforms, *single)) or "ifgsm"

    @property
    def targeted_name(self) -> str | None:
        """The name of a targeted attack that the stage was written with, which is not run without targets."""
        return next((term.name for term in self.terms if needs_targets(term.name)), None)

    def with_rules(self, rules: Sequence[Rule]) -> Stage:
        """The stage with other rules of the same names, also in its text."""
        changed = {grammar_name(rule): rule for rule in rules if rule not in self.rules}
        terms = tuple(
            Term(term.name, _options(rule), write(rule)) if (rule := changed.get(term.name)) else term
            for term in self.terms
        )
        return dataclasses.replace(self, rules=tuple(rules), terms=terms)

    def to_dict(self) -> dict[str, Any]:
        """The stage as plain data: every part with all its parameters."""

        def plain(part: Any) -> dict[str, Any]:
            lists = {name: list(value) if isinstance(value, tuple) else value for name, value in _options(part).items()}
            return {"name": grammar_name(part), **lists}

        return {
            "rules": [plain(rule) for rule in self.rules],
            "transforms": [plain(transform) for transform in self.transforms],
            **{name: None if (value := getattr(self, name)) is None else plain(value) for name in ONE.values()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stage:
        """The stage that `to_dict` wrote.

        Raises:
            RecipeError: an unknown field, part or parameter.
        """
        known = {*MANY.values(), *ONE.values()}
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
                fields[name] = _read(value)
            else:
                raise RecipeError(f"{name} of the recipe is {value!r}.", "Give what Recipe.to_dict() writes.")
        return cls(**fields)

    @property
    def copies(self) -> int:
        """How many changed copies of an image the transforms make for one gradient."""
        return math.prod(transform.copies for transform in self.transforms)

    def gradients(self, steps: int, members: int) -> int:
        """How many forward and backward passes each image takes in this stage.

        Args:
            steps: that the attack is asked for.
            members: number of surrogates.
        """
        every = self.estimator.gradients(self.own_steps(steps), members) * self.copies
        before = sum(transform.gradients_before(members) for transform in self.transforms)
        return (every + before + self.objective.gradients_before(members)) * self.walks

    @property
    def walks(self) -> int:
        """How many backward passes its rules take for one gradient, each counted as one."""
        return max((getattr(rule, "walks", 1) for rule in self.rules), default=1)

    @property
    def starts_at_clean(self) -> bool:
        """Whether the first gradient is taken at the clean images as they are."""
        kept = all(transform.at_image or transform.keeps_clean for transform in self.transforms)
        return self.start is None and kept and isinstance(self.estimator, Plain)

    def own_steps(self, steps: int) -> int:
        """How many steps the stage takes where the attack is asked for `steps`."""
        if self.update.single_step:
            return 1
        own = getattr(self.objective, "steps", None)
        return steps if own is None else int(own)

    def check_steps(self, steps: int) -> None:
        """Refuse parts that would have no effect where the attack is asked for `steps`.

        Raises:
            RecipeError: there is one.
        """
        if self.update.single_step and getattr(self.objective, "steps", None) not in (None, 1):
            name = f"{typed_name(self.objective)}(steps=...)"
            raise RecipeError(
                f"{name} would have no effect: {typed_name(self.update)} takes one step.", "Leave one of them out."
            )
        taken = self.own_steps(steps)
        still = self.start is None and isinstance(self.estimator, Plain | SeveralTurns)
        at_clean = self.starts_at_clean or (still and self.objective.before_transforms)
        for part in (self.update, self.estimator, self.objective):
            if taken < part.fewest_steps and (part is not self.objective or at_clean):
                name = typed_name(part)
                raise RecipeError(
                    f"{name} would have no effect in {taken} step.", f"Take more steps, or leave {name} out."
                )


def _options(part: Any) -> dict[str, Any]:
    """The parameters of a part."""
    return {known.name: getattr(part, known.name) for known in dataclasses.fields(part)}


def _summed(parts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of the stage that parts make up, each with the word that it came with.

    Raises:
        RecipeError: two of them claim the same role.
    """
    fields: dict[str, Any] = {}
    words: dict[str, str] = {}
    parts = list(parts)
    for word, part in parts:
        kind = part.kind
        if kind == "defence":
            raise RecipeError(
                f"{word} is a defence of a victim, not a part of an attack.",
                f'Write it before the victim\'s name: --victim "{word} | NAME".',
            )
        role = grammar_name(part) if kind in MANY else ONE[kind]
        if role in words:
            both = f"{words[role]} and {word}"
            if words[role] == word:
                raise RecipeError(f"{word} stands twice in the recipe.", "Leave one out: it would do nothing new.")
            what = f"are both the {kind} {role}" if kind in MANY else f"both {MEANING[kind]}"
            sums = {name: [write(one) for own, one in parts if own == name] for name in (words[role], word)}
            written = [f" {name} stands for {' + '.join(sum_)}." for name, sum_ in sums.items() if len(sum_) > 1]
            raise RecipeError(f"{both} {what}.", "Leave one out: it would have no effect." + "".join(written))
        words[role] = word
        fields[MANY.get(kind) or ONE[kind]] = (*fields.get(MANY[kind], ()), part) if kind in MANY else part
    return fields


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
