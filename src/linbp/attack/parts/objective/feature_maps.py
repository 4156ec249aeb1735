"""What objectives on feature maps share: which modules' they are, and how several become one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from linbp.errors import RecipeError
from linbp.graph import Structure, published_feature_map, stage_outputs
from linbp.registry import typed_name

__all__ = [
    "Paths",
    "as_vector",
    "check_paths",
    "guided_feature_maps",
    "listed",
    "middle_feature_maps",
    "middle_stage",
    "unit_or_zero",
]

Paths = str | tuple[str, ...]
"""The path of one module, as the user's network names it, or of several."""


def check_paths(part: Any) -> None:
    """Check that the parameter `at` of a part names modules, and make a tuple of a list, for use in `__post_init__`.

    Raises:
        RecipeError: it does not.
    """
    given = part.at
    if given is None:  # the objective finds them itself
        return
    paths = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list | tuple) else ()
    name = typed_name(part)
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise RecipeError(
            f"{name}(at={given}) names no module.",
            f"Write {name}(at=layer2.3), or at=[features.8, features.17]; a path that is a number stands in quotes.",
        )
    if len(set(paths)) < len(paths):
        raise RecipeError(f"{name}(at=...) names a module twice.", "Leave one out: it would do nothing new.")
    if not isinstance(given, str):
        object.__setattr__(part, "at", paths)


def listed(at: Paths) -> tuple[str, ...]:
    """The paths as a tuple."""
    return (at,) if isinstance(at, str) else at


def guided_feature_maps(at: Paths | None, structure: Structure) -> tuple[str, ...]:
    """The modules that an objective with a guide reads: those of `at`, or the one that was published.

    Raises:
        RuleError: none was published for this architecture.
    """
    return (published_feature_map(structure).start,) if at is None else listed(at)


def middle_feature_maps(at: Paths | None, structure: Structure) -> tuple[str, ...]:
    """The modules of `at`, or the middle one of the last feature maps of every size.

    Raises:
        RuleError: the network has no stages.
    """
    return (middle_stage(structure),) if at is None else listed(at)


def middle_stage(structure: Structure) -> str:
    """The module path of the middle one of the last feature maps of every size.

    Raises:
        RuleError: the network has no stages.
    """
    stages = stage_outputs(structure)
    return stages[(len(stages) - 1) // 2]


def as_vector(features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The feature maps of some modules as one long vector an image, shape (N, all their values)."""
    rows = [values.flatten(1) for values in features.values()]
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def unit_or_zero(vectors: torch.Tensor) -> torch.Tensor:
    """Each row of (N, D) over its Euclidean norm; a row of zeros stays one."""
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(norms > 0, norms, 1)
