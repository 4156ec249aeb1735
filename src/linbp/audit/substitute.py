"""A substitute for an audit: trained on the model's answers before any attack, in the audit's own folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from linbp.attack.named_surrogates import load_surrogate
from linbp.bench.run_files import SUBSTITUTE
from linbp.data.image_list import list_images
from linbp.errors import ImageError, StoreError
from linbp.jobs.progress import ProgressCallback
from linbp.models import Classifier
from linbp.training.substitute import DEFAULT, LEAST_STEPS, SubstituteFolder, make_substitute

__all__ = ["BACKBONE", "Substitution", "is_finished"]

BACKBONE = "demo:squeezenet1_1"
"""The network that a substitute starts from if nothing else is said: it comes with linbp, trained on ImageNet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Substitution:
    """What a substitute for an audit is made of.

    Attributes:
        queries: how many images the model is asked about.
        backbone: the network to train.
        images: the images to ask about: a folder or a CSV.
        out: the folder of the audit.
        seed: of all randomness.
        device: where it is trained.
        command: what the user typed, for the records.
    """

    queries: int
    backbone: str
    images: str
    out: str
    seed: int = 0
    device: str | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if "://" in self.out:
            raise StoreError(
                f"A substitute cannot be trained in {self.out}.",
                "Make it with linbp substitute in a folder of this machine, and name that with --surrogate.",
            )
        if not os.path.exists(self.images):
            raise ImageError(
                f"{self.images} is no folder and no list of images to ask the model about.",
                "Name one with --query-data FOLDER_OR_CSV (query_data).",
            )

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.out) / SUBSTITUTE

    def make(self, victim: Classifier, tell: ProgressCallback) -> str:
        """Train it, or what is missing of it, and return its folder, which names it as a surrogate.

        Raises:
            LinbpError: as for `make_substitute`.
        """
        make_substitute(
            victim,
            load_surrogate(self.backbone),
            list_images(self.images),
            self.folder,
            queries=self.queries,
            device=self.device,
            tuning=dataclasses.replace(DEFAULT, seed=self.seed),
            least_steps=LEAST_STEPS,
            command=self.command,
            progress=lambda stage, done, total, words: tell(stage, done, total),
        )
        return str(self.folder)


def is_finished(out: str) -> bool:
    """Whether the folder of an audit holds a substitute that is trained."""
    manifest = SubstituteFolder(Path(out) / SUBSTITUTE).read_manifest()
    return manifest is not None and bool(manifest["finished"])
