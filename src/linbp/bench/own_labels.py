"""Victims whose classes are their own: their labels of a suite's images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from linbp.bench.clean_images import CleanImages
from linbp.bench.faults import Faults
from linbp.bench.networks import Networks
from linbp.bench.plan import PlannedVictim
from linbp.bench.suite import Suite
from linbp.bench.suite_data import FilesData
from linbp.data.image_record import ImageRecord
from linbp.evaluation.victim_labels import labels_of_folder

__all__ = ["with_own_labels"]


def with_own_labels(
    one: PlannedVictim,
    suite: Suite,
    base: Path,
    images: CleanImages,
    networks: Networks,
    classes: Mapping[str, int],
    faults: Faults,
) -> PlannedVictim:
    """A victim with the labels that the suite gives it, where it gives it any but its own predictions.

    Args:
        one: the victim.
        suite: of the run.
        base: the folder that the suite's paths are relative to.
        images: of the run.
        networks: that loads the victim.
        classes: how many each victim has, as far as that is known.
        faults: gets it if the labels are none of its classes.
    """
    if one.victim.labels is None or one.by_itself:
        return one
    data, wanted = suite.data, one.victim.labels
    # Names that stand in the suite itself are the audited model's, which names none.
    names = data.classes if isinstance(data, FilesData) and isinstance(data.classes, tuple) else None
    with faults.collected(f"Victim {one.victim.name}: "):
        told = labels_of_folder(
            base / wanted if (base / wanted).exists() else wanted,
            {"list": images.source or None, "settings": {}},
            [
                {"image_id": each.image_id, "file": each.path, "class_name": _name(each), "label": each.label}
                for each in images.records
            ],
            data=None,
            names=names,
            first_label=data.first_label if isinstance(data, FilesData) else 0,
        )
        assert told is not None
        network = networks.network(one.victim.model)
        labels, _ = told.of(network, classes.get(one.victim.name), np.zeros(0, np.int64))
        return dataclasses.replace(one, labels=tuple(labels))
    return one


def _name(image: ImageRecord) -> str | None:
    """What the data call an image's class; of other data than lists, its number."""
    return image.class_name if image.class_name is not None or image.label is None else str(image.label)
