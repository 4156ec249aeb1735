"""Which victims are no strangers to the attack: the surrogate itself, under whatever name, and its proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from linbp.evaluation.answers import Answers, Floats
from linbp.evaluation.result import Role
from linbp.models import weights_sha256

__all__ = ["NO_WEIGHTS", "has_weights_of_surrogate", "role_of"]

NO_WEIGHTS = weights_sha256({})
"""The hash of a network that has none, which tells nothing."""

SAME = 2e-3
"""How far two losses of one network may differ, absolute and relative: half precision and other kernels do."""

TELLING = 0.01
"""A loss below this one says only that both networks are certain."""


def has_weights_of_surrogate(identity: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether a network's weights are those of the surrogate, or of a member of an ensemble."""
    surrogate = manifest["settings"]["surrogate"]
    members = surrogate.get("members", [surrogate])
    own = identity.get("weights_sha256")
    return own not in (None, NO_WEIGHTS) and own in {member.get("weights_sha256") for member in members}


def role_of(
    identity: Mapping[str, Any],
    manifest: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    clean: Answers,
    adv: Answers,
) -> Role:
    """What a network was to the attack.

    The surrogate is known by its weights; and by its losses, which the records of the attack hold for every image: so
    it is found in another wrapper, precision or file format too.

    Args:
        identity: of the network.
        manifest: of the folder.
        records: of its adversarial images, in the order of the answers.
        clean: the network's answers to the clean images; their losses are to the records' targets, else labels.
        adv: and to the adversarial images.
    """
    recorded = np.array([[record.get(f"loss_{kind}", np.nan) for record in records] for kind in ("clean", "adv")])
    if has_weights_of_surrogate(identity, manifest) or _same(recorded, np.stack([clean.losses, adv.losses])):
        return "white box"
    return "proxy" if identity["name"] in (manifest.get("choice") or {}).get("proxies", []) else "victim"


def _same(recorded: Floats, found: Floats) -> bool:
    """Whether two tables of losses are one network's."""
    if not np.isfinite(recorded).all() or not np.isfinite(found).all():
        return False
    close = np.abs(recorded - found) <= SAME * (1 + recorded)
    return bool(close.all()) and int((recorded > TELLING).sum()) >= 2
