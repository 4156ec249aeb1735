"""The manifest of a folder of adversarial images: its settings, which bind it, and what follows from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from linbp.attack.config import AttackConfig
from linbp.attack.first_use import unchecked_note
from linbp.attack.job.chosen_start import choice_notes
from linbp.attack.job.images import turned_note
from linbp.attack.job.part_code import code_of_parts
from linbp.attack.prepare import Prepared
from linbp.data.image_list import ImageRecord
from linbp.data.preprocessing import Preparation
from linbp.data.unused import Unused
from linbp.graph import Rule

__all__ = ["job_settings", "new_manifest"]


def job_settings(
    config: AttackConfig,
    preparation: Preparation | None,
    surrogate: Mapping[str, Any],
    rules: Sequence[Rule],
    *,
    pool: str | None,
    proxies: Sequence[str],
    images_sha256: str,
) -> dict[str, Any]:
    """Everything that the adversarial images of a folder depend on, as plain values.

    Args:
        config: of the attack.
        preparation: of the photographs, or None.
        surrogate: the identity of the surrogate or ensemble.
        rules: that its networks have of their own.
        pool: hash of the images to mix in, or None.
        proxies: names of the networks that choose a start.
        images_sha256: hash of the list.
    """
    code = code_of_parts(config.recipe, rules)
    return {
        **config.to_dict(),
        "preparation": None if preparation is None else preparation.to_dict(),
        "members": len(surrogate.get("members", [surrogate])),
        "pool": pool,
        "proxies": list(proxies),
        "images_sha256": images_sha256,
        "surrogate": surrogate,
        **({"code": code} if code else {}),
    }


def new_manifest(
    settings: Mapping[str, Any],
    config: AttackConfig,
    records: Sequence[ImageRecord],
    unused: Sequence[Unused],
    prepared: Prepared,
    choice: Mapping[str, Any] | None = None,
    trust_parts: bool = False,
) -> dict[str, Any]:
    """The manifest of a folder that no run has written to yet.

    Args:
        settings: of the job.
        config: of the attack.
        records: the list of images.
        unused: what it names or holds besides.
        prepared: the recipe on its surrogates.
        choice: of the start, where there was one to choose.
        trust_parts: whether parts of other packages are used without a look at them.
    """
    return {
        "settings": settings,
        "recipe": prepared.recipe.to_dict(),
        "choice": choice,
        "protocol": None if config.protocol is None else config.protocol.to_dict(),
        "gradients_per_image": config.recipe.gradients(config.steps, settings["members"]),
        "images": len(records),
        "list": os.path.abspath(source) if (source := getattr(records, "source", "")) else None,
        "unused": [one.to_dict() for one in unused],
        "classes": prepared.ensemble.classes,
        "notes": [
            *getattr(records, "notes", ()),
            *choice_notes(choice),
            *config.notes,
            *prepared.notes,
            *turned_note(records),
            *(unchecked_note(prepared) if trust_parts else ()),
        ],
        "runs": [],
    }
