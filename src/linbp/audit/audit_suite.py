"""Suites of an audit: a handful of attacks, their radii, and the networks that a victim is compared with."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from linbp.bench.suite_faults import faults_of
from linbp.errors import SuiteError, nearest_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

__all__ = [
    "DRAFT",
    "AuditAttack",
    "AuditSuite",
    "read_audit_suite",
    "references_for_classes",
    "shipped_audit_suites",
    "suite_for_classes",
]

DRAFT = "draft"
"""The version of a suite that may still change."""

OWN = "exposure-own"
"""The suite for surrogates that the user names, without its version."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AuditAttack(_Table):
    """One attack.

    Attributes:
        name: of the recipe, for people; attacks of one recipe share it.
        recipe: what is done.
        surrogates: networks that it may be made on, of which the first usable one is taken; empty: those that the user
            names.
    """

    name: str
    recipe: str
    surrogates: Annotated[tuple[str, ...], Field(strict=False)] = ()


class AuditSuite(_Table):
    """What an audit tries.

    Attributes:
        name, version: of the suite; the version `draft` may still change.
        about: what a reader of the report has to know of it.
        eps: radii in L-inf, as texts such as 8/255.
        decisive: the radius that a threshold is about if nothing else is said.
        steps: of each attack.
        attacks: at least one.
        classes: of the networks that it is for; None: any.
        references: networks that the victim is compared with.
    """

    name: str
    version: str
    about: str
    eps: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    decisive: str
    steps: Annotated[int, Field(ge=1)]
    attacks: Annotated[tuple[AuditAttack, ...], Field(min_length=1, strict=False)]
    classes: Annotated[int, Field(ge=2)] | None = None
    references: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> AuditSuite:
        if self.decisive not in self.eps:
            raise ValueError(f"decides at {self.decisive}, which is none of its radii; name one of them")
        texts: dict[str, str] = {}
        for one in self.attacks:
            if texts.setdefault(one.name, one.recipe) != one.recipe:
                raise ValueError(f"has two recipes called {one.name!r}; give each its own name")
        return self

    @property
    def draft(self) -> bool:
        """Whether it may still change."""
        return self.version == DRAFT

    @property
    def recipes(self) -> dict[str, str]:
        """The recipes by name, each once."""
        return {one.name: one.recipe for one in self.attacks}

    @property
    def sha256(self) -> str:
        """The hash of everything that decides what is tried."""
        return hashlib.sha256(self.model_dump_json(exclude={"about"}).encode()).hexdigest()


def shipped_audit_suites() -> dict[str, Path]:
    """The suites that come with linbp, by name and version, such as exposure-imagenet-1. None of them ever changes."""
    folder = Path(str(resources.files("linbp.audit") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_audit_suite(source: str | os.PathLike[str]) -> AuditSuite:
    """A suite that ships, by its name, or of a TOML file.

    Raises:
        SuiteError: no such file, no TOML, or a table that is no suite; with all its faults.
    """
    shipped, text = shipped_audit_suites(), os.fspath(source)
    path = Path(text) if text.endswith(".toml") else shipped.get(text)
    if path is None:
        raise SuiteError(f"There is no suite {text!r}.", nearest_name(text, shipped) + " Or give a TOML file.")
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SuiteError(
            f"{path} cannot be read as TOML: {error}.", f"Suites that ship: {', '.join(shipped)}."
        ) from error
    content.setdefault("name", path.stem)
    try:
        return AuditSuite.model_validate(content)
    except ValidationError as error:
        raise SuiteError.of(faults_of(error, AuditSuite, str(path))) from None


def suite_for_classes(classes: int, named: Sequence[str]) -> AuditSuite | None:
    """The newest suite for a victim: that of its number of classes; for surrogates that the user names, that for any.

    Args:
        classes: how many the victim has.
        named: surrogates that the user names.

    Returns:
        None where no suite has surrogates for so many classes.
    """
    every = [read_audit_suite(name) for name in shipped_audit_suites()]
    fitting = [one for one in every if (one.name == OWN if named else one.classes == classes)]
    return max(fitting, key=lambda one: int(one.version), default=None)


def references_for_classes(classes: int) -> tuple[str, ...]:
    """Networks that a victim of so many classes can be compared with; none for classes of the user's own."""
    found = suite_for_classes(classes, ())
    return () if found is None else found.references
