"""The job of a folder, with its settings as keywords."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linbp import Recipe
from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Attackable
from linbp.attack.job import craft_folder as job
from linbp.attack.job.images import has_targets
from linbp.attack.job.report import FolderReport
from linbp.data.image_list import ImageRecord

SETTINGS = inspect.signature(AttackConfig.resolve).parameters.keys() - {"targets", "pool"}


def craft_folder(
    model: Attackable, images: Sequence[ImageRecord], folder: Path | str, recipe: Recipe | str, **options: Any
) -> FolderReport:
    """Resolve the settings among the options, and run the job with the others."""
    settings = {name: options.pop(name) for name in SETTINGS & options.keys()}
    pool = options.get("pool") is not None
    config = AttackConfig.resolve(recipe, targets=has_targets(images), pool=pool, **settings)
    return job.craft_folder(model, images, folder, config, **options)
