"""Suite files: what a run attacks, with what, and whom it asks. Every fault of a file is told at once."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from linbp.bench.suite_data import Data, SuiteTable, with_data
from linbp.bench.suite_faults import faults_of
from linbp.data.image_id import UNSAFE
from linbp.data.secret_names import refuse_secrets
from linbp.errors import ModelError, SuiteError, nearest_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

__all__ = [
    "Cost",
    "Selection",
    "Suite",
    "SuiteRecipe",
    "SuiteSurrogate",
    "SuiteVictim",
    "read_suite",
    "recipe_on",
    "shipped_suites",
    "suite_of",
    "suite_text",
    "tomllib",
]

Selection = Literal["right-on-every-victim", "right-on-surrogate", "none"]
"""Which images count: those that every victim has right when they are clean, those that the surrogate has right, or
all. Besides, a victim's answer counts only where the victim has the clean image right."""


def _pairs(given: Any) -> Any:
    """A table as pairs, which can be hashed; numbers as they are written in a recipe."""
    if not isinstance(given, dict):
        return given
    numbers = {name: str(value) for name, value in given.items() if type(value) in (int, float)}
    return tuple({**given, **numbers}.items())


Places = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs), PlainSerializer(dict)]
"""Words by the names that recipes call them: in a file a table, such as {start = "layer3.1"}."""


class SuiteSurrogate(SuiteTable):
    """A network that gives gradients, or an ensemble of several.

    Attributes:
        name: in results; by default the model's, or those of the members with + between them.
        models: each a model's name, with a rule of its own after the word `with`.
        fuse: what an ensemble averages; None for one network.
        group_size: images that are computed at a time in float32 on a CPU; it changes last bits. None: the default, 4.
        compiled: whether its passes are compiled, for every recipe anew; that changes last bits.
        places: what recipes mean by `{NAME}` on this surrogate, such as a position: each network has its own modules.
        labels: `predicted` for a surrogate of other classes than the data's; None: the suite's.
    """

    name: str
    models: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    fuse: Literal["logits", "probabilities", "losses"] | None = None
    group_size: Literal[1, 4, 8, 16, 32] | None = None
    compiled: bool = False
    places: Places = ()
    labels: Literal["given", "predicted"] | None = None

    @model_validator(mode="after")
    def _without_secrets(self) -> SuiteSurrogate:
        _check_secrets(*self.models)
        return self


class SuiteRecipe(SuiteTable):
    """A recipe under a name.

    Attributes:
        name: in results.
        recipe: its text. `{NAME}` in it is a place, for which each surrogate has its own word.
        on: names of the surrogates that it is for; None: all of them.
    """

    name: str
    recipe: str
    on: Annotated[tuple[str, ...] | None, Field(min_length=1, strict=False)] = None


class SuiteVictim(SuiteTable):
    """A network that is asked, under a name.

    Attributes:
        name: in results.
        model: its name, as `load_model` takes it.
        labels: what it is scored by, if its classes are its own: `given` by the data, numbers or names; `predicted`,
            its own predictions of the clean images; a CSV, relative to the suite file; or another column of the data's
            CSV. None: the labels that the images were crafted with.
    """

    name: str
    model: str
    labels: str | None = None

    @model_validator(mode="after")
    def _without_secrets(self) -> SuiteVictim:
        _check_secrets(self.model)
        return self


def _list(given: Any) -> Any:
    """A single value as a list of one."""
    return given if isinstance(given, list | tuple) else [given]


Many = Field(min_length=1, strict=False)


class Cost(SuiteTable):
    """What each image may cost: the same number of steps for each recipe, or the same number of gradients.

    Attributes:
        steps: of each attack; recipes of a single step take one.
        gradients: per image, or several such budgets. Each recipe takes the steps that it can afford; one that a budget
            does not pay for has no row there.
        step_size: on the scale of [0, 1]; None: long enough to reach the radius, as with `linbp craft`.
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    gradients: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_list), Many] | None = None
    step_size: str | float | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Cost:
        if self.steps is not None and self.gradients is not None:
            raise ValueError("gives both steps and gradients; give one of them")
        return self


def _check_secrets(*names: str) -> None:
    """Refuse names that hold a secret before the suite is written into its run, in the words of a suite's fault.

    Raises:
        ValueError: there is one.
    """
    try:
        refuse_secrets(names)
    except ModelError as fault:
        raise ValueError(f"{fault.message.rstrip('.')}; {fault.hint.rstrip('.')}") from None


def _surrogates(given: Any) -> Any:
    """Surrogates as tables: a text is one network, `members` several."""
    return [_surrogate(one) for one in given] if isinstance(given, list) else given


def _surrogate(one: Any) -> Any:
    if isinstance(one, str):
        return {"name": one, "models": [one]}
    if not isinstance(one, dict) or "models" in one:
        return one
    models = one.get("members", [one["model"]] if "model" in one else None)
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        return one
    rest = {key: value for key, value in one.items() if key not in ("model", "members", "rule")}
    if "rule" in one:
        models = [f"{model} with {one['rule']}" for model in models]
    return {"name": " + ".join(models), **rest, "models": models}


def _named(field: str) -> Any:
    """Reads a list of texts, a table of names and texts, or a list of tables with `name` and the field."""

    def read(given: Any) -> Any:
        if isinstance(given, dict):
            return [{"name": name, field: text} for name, text in given.items()]
        if not isinstance(given, list):
            return given
        return [{"name": one, field: one} if isinstance(one, str) else one for one in given]

    return BeforeValidator(read)


class Suite(SuiteTable):
    """A suite: data, surrogates, recipes, radii and victims; every combination of them is a row of the results.

    Attributes:
        name: of the suite; by default that of its file.
        data: the clean images.
        surrogates: one or more.
        recipes: one or more.
        eps: radii on the scale of [0, 1], as texts such as 8/255 or as numbers.
        victims: one or more.
        norm: of the ball; None: the protocol's, or linf.
        rounding: to the 8-bit grid; None: the protocol's, or inward.
        cost: steps or gradients.
        selection: which images count; None: the protocol's, or none.
        protocol: a published protocol.
        target_rule: makes the attacks targeted.
        labels: of the data, or the surrogate's own predictions.
        trust_labels: do not suspect labels and classes of being shifted.
        pool: a folder or CSV of images that admix mixes in; relative to the suite file.
        victim_input: whose preprocessing victims get; None: the protocol's, or their own.
        seed: of all randomness.
        shard_size: images in a task.
        batch_size: images that a surrogate computes at a time.
        victim_batch_size: images that a victim computes at a time.
        threads: of torch in each process, on a CPU. The last digits of a network depend on it, so it is part of the
            suite; more processes (--workers) are faster than more threads.
        tf32: whether NVIDIA GPUs compute float32 products in TF32; None: as torch is set, in convolutions only.
    """

    name: str
    data: Data
    surrogates: Annotated[tuple[SuiteSurrogate, ...], BeforeValidator(_surrogates), Many]
    recipes: Annotated[tuple[SuiteRecipe, ...], _named("recipe"), Many]
    eps: Annotated[tuple[str | float, ...], BeforeValidator(_list), Many]
    victims: Annotated[tuple[SuiteVictim, ...], _named("model"), Many]
    norm: Literal["linf", "l2"] | None = None
    rounding: Literal["inward", "nearest", "truncate"] | None = None
    cost: Cost = Cost()
    selection: Selection | None = None
    protocol: str | None = None
    target_rule: str | None = None
    labels: Literal["given", "predicted"] = "given"
    trust_labels: bool = False
    pool: str | None = None
    victim_input: Literal["protocol", "own"] | None = None
    seed: int = 0
    shard_size: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 8
    victim_batch_size: Annotated[int, Field(ge=1)] = 32
    threads: Annotated[int, Field(ge=1)] = 1
    tf32: bool | None = None

    @model_validator(mode="after")
    def _names_are_apart(self) -> Suite:
        for what in ("surrogates", "recipes", "victims"):
            names = [one.name for one in getattr(self, what)]
            if twice := [name for name, times in Counter(names).items() if times > 1]:
                raise ValueError(f"has two {what} called {twice[0]!r}; give each its own name")
        surrogates = [one.name for one in self.surrogates]
        for name, wanted in ((one.name, on) for one in self.recipes for on in one.on or ()):
            if wanted not in surrogates:
                hint = nearest_name(wanted, surrogates).removesuffix(".")
                raise ValueError(f"has a recipe {name!r} on {wanted!r}, which is no surrogate's name; {hint}")
        if twice := [text for text, times in Counter(map(str, self.eps)).items() if times > 1]:
            raise ValueError(f"has the radius {twice[0]} twice; leave one out")
        if doubled := [number for number, times in Counter(self.cost.gradients or ()).items() if times > 1]:
            raise ValueError(f"has the budget of {doubled[0]} gradients twice; leave one out")
        if not self.name or UNSAFE.search(self.name):
            raise ValueError(f"has a name {self.name!r} that is no name of a file; choose another one")
        return self


PLACE = re.compile(r"\{(\w*)\}")


def recipe_on(recipe: SuiteRecipe, surrogate: SuiteSurrogate) -> SuiteRecipe | None:
    """A recipe with a surrogate's places filled in; None if it is not for that surrogate.

    Raises:
        SuiteError: the surrogate lacks a place.
    """
    if recipe.on is not None and surrogate.name not in recipe.on:
        return None
    places = dict(surrogate.places)
    for name in PLACE.findall(recipe.recipe):
        if name not in places:
            raise SuiteError(
                f"Recipe {recipe.name}: the surrogate {surrogate.name} has no place called {name!r}.",
                f'Give it one in the suite: places = {{{name or "start"} = "..."}}; or leave that surrogate out (on).',
            )
    return recipe.model_copy(update={"recipe": PLACE.sub(lambda found: places[found[1]], recipe.recipe)})


def shipped_suites() -> dict[str, Path]:
    """The suites that come with linbp, by name."""
    folder = Path(str(resources.files("linbp.bench") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(source: str | os.PathLike[str]) -> tuple[Suite, Path]:
    """A suite, and the folder that its paths are relative to.

    Args:
        source: a TOML file, or the name of a suite that ships. The paths of one that ships are relative to the current
            folder.

    Raises:
        SuiteError: no such file, no TOML, or a table that is no suite; with all its faults.
    """
    path, text = Path(source), os.fspath(source)
    shipped = shipped_suites()
    base = path.parent
    if not os.path.exists(path) and text in shipped:
        path, base = shipped[text], Path()
    if path.is_char_device():  # some, such as /dev/zero, never end
        raise SuiteError(f"{path} is a device, not a suite.", "Give a TOML file, or the name of a suite that ships.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = nearest_name(text, shipped) if path.suffix != ".toml" else f"Suites that ship: {', '.join(shipped)}."
        raise SuiteError(f"There is no suite {text}.", hint) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SuiteError(f"{path} cannot be read as TOML: {error}.", "See https://toml.io for its grammar.") from error
    content.setdefault("name", path.stem)
    try:
        return Suite.model_validate(content), base
    except ValidationError as error:
        raise SuiteError.of(faults_of(error, Suite, str(path))) from None


def suite_of(
    suite: str | os.PathLike[str] | Suite, data: str | os.PathLike[str] | None = None, first: int | None = None
) -> tuple[Suite, Path]:
    """A suite as it is to be run, and the folder that its paths are relative to.

    Args:
        suite: a TOML file, the name of one that ships, or a suite.
        data: where the clean images lie, if not where the suite says; relative to the current folder.
        first: only so many of them; None: as many as the suite says.

    Raises:
        SuiteError: as for `read_suite`.
    """
    given, base = (suite, Path()) if isinstance(suite, Suite) else read_suite(suite)
    return given.model_copy(update={"data": with_data(given.data, data, first)}), base


def suite_text(suite: Suite) -> str:
    """The suite as TOML, with every default written out but those that are not set."""
    return tomli_w.dumps(suite.model_dump(mode="json", exclude_none=True))
