"""A folder of adversarial images and any number of victims: PNGs and clean images are read back from disk."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.data.image_list import list_images
from linbp.data.images import Pixels, distances, pixel_sha256, read_ahead, size_batches
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, ModelError, StoreError
from linbp.evaluation.in_memory import Evaluation
from linbp.evaluation.predict import (
    check_classes,
    check_victim_not_shifted,
    load_victim,
    predict,
)
from linbp.evaluation.records import make_records
from linbp.evaluation.selection import Select, Selection, select_every_victim
from linbp.evaluation.statistics import summarise
from linbp.evaluation.victim_input import (
    VictimInput,
    VictimPreprocessing,
    preprocessing_for,
    resolve_victim_input,
)
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts
from linbp.models import Classifier

__all__ = ["FolderEvaluation", "evaluate_folder"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderEvaluation:
    """What the victims answer on one folder.

    Attributes:
        folder: where the adversarial images lie.
        manifest: what made them.
        expected: how many adversarial images the manifest promises.
        evaluations: one a victim, in their order.
        missing: names of victims that were not evaluated, because an earlier one failed.
        victim_input: whose preprocessing the victims got.
        selection: success over the images that every victim has right when they are clean, if that was wanted.
        run: versions, device, command and time of this evaluation.
    """

    folder: Path
    manifest: dict[str, Any]
    expected: int
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]
    victim_input: VictimInput
    selection: Selection | None
    run: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads images of a folder's two kinds.

    Attributes:
        preparation: what the protocol made of the photographs before the attack, or None.
        threads: that decode images.
    """

    preparation: Preparation | None
    threads: int

    def clean(self, paths: Sequence[Path]) -> Iterator[Pixels]:
        """Clean images, prepared as the attack got them."""
        return read_ahead(paths, self.threads, None if self.preparation is None else self.preparation.apply)

    def adv(self, paths: Sequence[Path]) -> Iterator[Pixels]:
        """Adversarial images, as they are."""
        return read_ahead(paths, self.threads)


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A finished adversarial image with its clean image."""

    record: dict[str, Any]
    clean: Path
    adv: Path

    @property
    def image_id(self) -> str:
        return str(self.record["image_id"])


def evaluate_folder(
    folder: str | os.PathLike[str],
    victims: Sequence[Classifier | str],
    *,
    data: str | os.PathLike[str] | None = None,
    partial: bool = False,
    trust_labels: bool = False,
    victim_input: VictimInput | None = None,
    select: Select | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    threads: int = 4,
    command: str = "",
    progress: ProgressCallback | None = None,
    on_victim: Callable[[FolderEvaluation], None] | None = None,
) -> FolderEvaluation:
    """How many adversarial images of a folder that `craft_folder` made fool each victim.

    Both images of each pair are read from disk and their pixels compared with the hashes that were recorded, so that
    nothing else than what was crafted is counted. The clean images of a folder that a protocol made are the prepared
    ones: resized and cropped as for the attack.

    Args:
        folder: with `manifest.json`, `records.jsonl` and the PNGs.
        victims: models, or names for `load_model`.
        data: the list of clean images, if they do not lie any more where they lay; matched by image id.
        partial: count an unfinished folder too.
        trust_labels: do not suspect a victim of other classes than the labels': it may have another number of classes
            than the surrogate, and predict clean images as the labels' neighbours.
        victim_input: `protocol`: clean images and adversarial images go through the preprocessing of the protocol's
            released test; `own`: each victim's own resizing alone. Default: the protocol's, if one made the folder.
        select: `every-victim`: count success also over the images that every victim given here has right; `none`:
            only over those that each has right. Default: what the protocol does.
        batch_size: images at a time.
        device: where victims given by name run.
        threads: that decode images.
        command: what the user typed, for the records.
        progress: called as every stage goes on.
        on_victim: given the evaluation so far whenever a victim is finished, so that it is not lost if a later one
            fails.

    Raises:
        StoreError: no such folder, adversarial images are missing, or a file is not the one that was crafted.
        ImageError: an image is missing or broken.
        ModelError: a victim cannot be loaded, gives NaN, or its classes are not or seem not to be those of the labels.
    """
    store = AdversarialFolder(folder)
    manifest = store.read_manifest()
    if manifest is None:
        raise StoreError(f"{store.path} holds no manifest.json.", "Give the --out folder of a finished linbp craft.")
    if not victims:
        raise ImageError("There is no victim.", "Name at least one network with --victim.")
    if twice := [name for name, times in Counter(one for one in victims if isinstance(one, str)).items() if times > 1]:
        raise ModelError(f"The victim {twice[0]} is given twice.", "Name each network once.")
    chosen = resolve_victim_input(manifest, victim_input)
    chosen_select = _resolve_select(manifest, select)
    tell = progress or (lambda stage, done, total: None)
    records = list(store.read_records().values())
    expected = int(manifest["images"])
    if not records or (len(records) < expected and not partial):
        raise StoreError(
            f"{store.path} holds {len(records)} of {expected} adversarial images.",
            "Run its craft command again to finish it, or count what is there with --partial.",
        )
    pairs = [_Pair(record, Path(record["file"]), store.adv_path(record["image_id"])) for record in records]
    if data is not None:
        paths = {image.image_id: image.path for image in list_images(data)}
        for pair in pairs:
            if pair.image_id not in paths:
                raise ImageError(f"{data} has no image {pair.image_id!r}.", "Give the list that was crafted from.")
        pairs = [dataclasses.replace(pair, clean=paths[pair.image_id]) for pair in pairs]
    prepared = manifest["settings"].get("preparation")
    reader = _Reader(None if prepared is None else Preparation.from_dict(prepared), threads)
    sizes, distance = _check_pairs(pairs, reader, tell)
    batches = size_batches(sizes, batch_size)
    # One victim at a time, so that memory holds one network.
    evaluations: list[Evaluation] = []
    classes = None if trust_labels else manifest.get("classes")
    facts, names = run_facts(device or "cpu", command), [v if isinstance(v, str) else v.name for v in victims]

    def so_far() -> FolderEvaluation:
        return FolderEvaluation(
            folder=store.path,
            manifest=manifest,
            expected=expected,
            evaluations=tuple(evaluations),
            missing=tuple(names[len(evaluations) :]),
            victim_input=chosen,
            selection=select_every_victim(evaluations) if chosen_select == "every-victim" else None,
            run=facts,
        )

    for victim in victims:
        network = load_victim(victim, device)
        preprocessing = preprocessing_for(network, manifest, chosen)
        evaluations.append(_ask(network, preprocessing, pairs, batches, distance, reader, tell, classes, trust_labels))
        if on_victim is not None:
            on_victim(so_far())
    return so_far()


def _resolve_select(manifest: Mapping[str, Any], select: Select | None) -> Select:
    if select is None:
        protocol = manifest.get("protocol") or {}
        return "every-victim" if protocol.get("selection") == "every-victim" else "none"
    if select not in get_args(Select):
        raise ImageError(f"There is no selection {select!r}.", f"Use one of: {', '.join(get_args(Select))}.")
    return select


def _check_pairs(
    pairs: Sequence[_Pair], reader: _Reader, tell: ProgressCallback
) -> tuple[list[tuple[int, int]], list[tuple[int, float]]]:
    """Size and distance of every pair; refuses files that are not those of the records."""
    sizes, found = [], []
    both = zip(reader.clean([pair.clean for pair in pairs]), reader.adv([pair.adv for pair in pairs]), strict=True)
    for done, (pair, (clean, adv)) in enumerate(zip(pairs, both, strict=True), 1):
        for pixels, wanted, path in (
            (clean, pair.record["clean_sha256"], pair.clean),
            (adv, pair.record["sha256"], pair.adv),
        ):
            if pixel_sha256(pixels) != wanted:
                raise StoreError(
                    f"{path} does not hold the pixels that were recorded.",
                    "An adversarial image: run the craft command again. A clean image: give the right list with --data."
                    + ("" if reader.preparation is None else " (Another Pillow may also resize otherwise.)"),
                )
        sizes.append((clean.shape[0], clean.shape[1]))
        found.append(distances(clean, adv, pair.image_id))
        tell("reading images", done, len(pairs))
    return sizes, found


def _ask(
    victim: Classifier,
    preprocessing: VictimPreprocessing,
    pairs: Sequence[_Pair],
    batches: Sequence[Sequence[int]],
    distance: Sequence[tuple[int, float]],
    reader: _Reader,
    tell: ProgressCallback,
    expected: int | None,
    trust_labels: bool,
) -> Evaluation:
    """One victim's evaluation; `expected` is the surrogate's number of classes, where it must be the victim's too."""
    ids = [pair.image_id for pair in pairs]
    labels = [int(pair.record["label"]) for pair in pairs]
    targets = [int(pair.record["target"]) for pair in pairs if pair.record["target"] is not None]
    rows = [row for batch in batches for row in batch]
    order = np.array(rows)
    done = 0

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        tell(victim.name, done, 2 * len(pairs))

    tell(victim.name, 0, 2 * len(pairs))
    answers: list[npt.NDArray[np.int64]] = []
    clean, adv = reader.clean([pairs[row].clean for row in rows]), reader.adv([pairs[row].adv for row in rows])
    for images in (clean, adv):
        predictions, classes = predict(victim, _batches(images, batches), on_batch, preprocessing.apply)
        check_classes(victim.name, classes, ids, labels)
        if expected not in (None, classes):
            raise ModelError(
                f"{victim.name} has {classes} classes, and the network that the adversarial images were made on "
                f"{expected}.",
                "Evaluate on networks with the same classes; if its first ones are the labels', --trust-labels "
                "(trust_labels=True).",
            )
        if targets:
            check_classes(victim.name, classes, ids, targets, "target")
        in_order = np.empty_like(predictions)
        in_order[order] = predictions
        if not answers and not trust_labels:
            check_victim_not_shifted(victim.name, labels, in_order.tolist(), classes)
        answers.append(in_order)
    records = make_records(ids, labels, targets or None, answers[0], answers[1], distance)
    return Evaluation(
        victim=victim.identity(),
        records=records,
        statistics=summarise(records),
        preprocessing=preprocessing.description,
    )


def _batches(images: Iterator[Pixels], batches: Sequence[Sequence[int]]) -> Iterator[Pixels]:
    for batch in batches:
        yield np.stack([next(images) for _ in batch])
