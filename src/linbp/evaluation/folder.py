"""A folder of adversarial images and any number of victims: PNGs and clean images are read back from disk."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from linbp.data.images import size_batches
from linbp.data.preprocessing import Preparation
from linbp.data.secret_names import refuse_secrets
from linbp.errors import ImageError, LabelsError, ModelError, SuiteError
from linbp.evaluation.ask import Questions, ask
from linbp.evaluation.names import distinguished, same_networks
from linbp.evaluation.pairs import Reader, check_pairs, open_folder, read_pairs
from linbp.evaluation.predict import load_victim, name_of
from linbp.evaluation.result import Evaluation
from linbp.evaluation.selection import Select, Selection, select_every_victim
from linbp.evaluation.victim_input import VictimInput, preprocessing_for, resolve_victim_input
from linbp.evaluation.victim_labels import labels_of_folder
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
        missing: names of victims without an evaluation: the labels are not their classes, or an earlier one failed.
        victim_input: whose preprocessing the victims got.
        selection: success over the images that every victim has right when they are clean, if that was wanted.
        run: versions, device, command and time of this evaluation.
        notes: what should be known of all numbers, in sentences: images that are not counted, what `craft` noted when
            it made the folder, victims that are one network.
    """

    folder: Path
    manifest: dict[str, Any]
    expected: int
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]
    victim_input: VictimInput
    selection: Selection | None
    run: dict[str, Any]
    notes: tuple[str, ...] = ()


def evaluate_folder(
    folder: str | os.PathLike[str],
    victims: Sequence[Classifier | str],
    *,
    data: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    first_label: int = 0,
    partial: bool = False,
    trust_labels: bool = False,
    trust_victim: bool = False,
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
        labels: of the victims, whose classes may be others than the surrogate's: `recorded` or None, those that the
            images were crafted with; `given`, the list's, numbers or names; `predicted`, each victim's own predictions
            of the clean images; a CSV (`image_id` or `file`, `label`) or a folder; or another column of the list's CSV.
        classes: names of the victims' classes in their order, where labels are names: of victims that have so many, or
            that name none themselves.
        first_label: what `labels` call the first class, where they are numbers.
        partial: count an unfinished folder too, and one whose adversarial images are not all there.
        trust_labels: do not suspect a victim of other classes than the labels': it may have another number of classes
            than the surrogate, and predict clean images as the labels' neighbours, or in another order.
        trust_victim: neither ask a victim again, about a few images in other company, nor try other preprocessing with
            one that is often wrong.
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
        ModelError: a victim cannot be loaded, gives NaN, or its answers depend on chance or on the batch.
        LabelsError: a victim's classes are not or seem not to be those of the labels; other victims are asked first.
    """
    refuse_secrets(victims)  # now: a later victim's name is told with the first one's numbers
    store, manifest = open_folder(folder)
    if not victims:
        raise ImageError("There is no victim.", "Name at least one network with --victim.")
    _refuse_twice(victims)
    chosen = resolve_victim_input(manifest, victim_input)
    chosen_select = _resolve_select(manifest, select)
    tell = progress or (lambda stage, done, total: None)
    expected = int(manifest["images"])
    pairs, gone = read_pairs(store, expected, partial, data)
    prepared = manifest["settings"].get("preparation")
    reader = Reader(None if prepared is None else Preparation.from_dict(prepared), threads)
    victim_labels = labels_of_folder(
        labels,
        manifest,
        [pair.record for pair in pairs],
        data=data,
        names=classes,
        first_label=first_label,
    )
    sizes, distances = check_pairs(pairs, reader, tell)
    questions = Questions(
        ids=[pair.image_id for pair in pairs],
        labels=[int(pair.record["label"]) for pair in pairs],
        targets=[int(pair.record["target"]) for pair in pairs] if manifest["settings"]["targeted"] else None,
        distances=distances,
        batches=size_batches(sizes, batch_size),
        batch_size=batch_size,
        clean=lambda rows: reader.clean([pairs[row] for row in rows]),
        adv=lambda rows: reader.adv([pairs[row] for row in rows]),
        classes=None if trust_labels else manifest.get("classes"),
        trust_labels=trust_labels,
        trust_victim=trust_victim,
        manifest=manifest,
        records=[pair.record for pair in pairs],
        victim_labels=victim_labels,
    )
    # One victim at a time, so that memory holds one network.
    evaluations: list[Evaluation] = []
    asked: list[str] = []
    faults: list[LabelsError] = []
    facts, names = run_facts(device or "cpu", command), [v if isinstance(v, str) else name_of(v) for v in victims]

    def so_far() -> FolderEvaluation:
        named = distinguished(evaluations)
        return FolderEvaluation(
            folder=store.path,
            manifest=manifest,
            expected=expected,
            evaluations=named,
            missing=tuple(name for name in names if name not in asked),
            victim_input=chosen,
            selection=select_every_victim(named) if chosen_select == "every-victim" else None,
            run=facts,
            notes=(*gone, *manifest.get("notes", ()), *same_networks(named)),
        )

    for name, victim in zip(names, victims, strict=True):
        network = load_victim(victim, device)
        preprocessing = preprocessing_for(network, manifest, chosen)
        try:
            found = ask(network, questions, preprocessing, functools.partial(tell, network.name))
        except LabelsError as fault:  # the labels may be another victim's
            faults.append(fault)
            continue
        evaluations.append(found)
        asked.append(name)
        if on_victim is not None:
            on_victim(so_far())
    if faults:
        raise SuiteError.of(faults)
    return so_far()


def _resolve_select(manifest: Mapping[str, Any], select: Select | None) -> Select:
    if select is None:
        protocol = manifest.get("protocol") or {}
        return "every-victim" if protocol.get("selection") == "every-victim" else "none"
    if select not in get_args(Select):
        raise ImageError(f"There is no selection {select!r}.", f"Use one of: {', '.join(get_args(Select))}.")
    return select


def _refuse_twice(victims: Sequence[Classifier | str]) -> None:
    """Refuse a victim that is named or given twice."""
    for row, victim in enumerate(victims):
        same = (other == victim if isinstance(other, str) else other is victim for other in victims[:row])
        if any(same):
            name = victim if isinstance(victim, str) else name_of(victim)
            raise ModelError(f"The victim {name} is given twice.", "Name each network once.")
