"""Controls: what noise of the same size does, and what is left of the attack after a JPEG or a change of size."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image

from linbp.audit.first_answers import clean_pixels
from linbp.bench.answers import Answers
from linbp.bench.keys import content_key, slug
from linbp.bench.networks import Networks
from linbp.bench.plan import Plan, PlannedAttack
from linbp.bench.store import Store
from linbp.bench.table import parquet_bytes
from linbp.data.images import Pixels, pixel_sha256, read_ahead, size_batches
from linbp.data.jpeg import as_jpeg
from linbp.errors import ModelError
from linbp.evaluation.predict import predict
from linbp.evaluation.statistics import JPEG_QUALITIES
from linbp.randomness import generator

__all__ = ["CHANGES", "CONTROLS", "NOISE", "ask_controls", "noisy", "read_controls", "resized"]

CONTROLS = "controls.parquet"
"""In the folder of a run: the victim's answers to noise, and to images that were changed after the attack."""

NOISE = "noise"

SMALLER = 0.8
"""The share of its sides that an image is reduced to, and enlarged from again."""

Ints = npt.NDArray[np.int64]


def noisy(pixels: Pixels, eps: float, image_id: str, seed: int) -> Pixels:
    """An image (H, W, 3) of levels with noise of the largest size that L-inf allows: each channel of each pixel goes up
    or down by floor(255 eps) levels, by chance, and is then cut off at 0 and 255."""
    levels = math.floor(255 * eps + 1e-9)
    signs = generator(seed, image_id, 0, "audit.noise").integers(0, 2, pixels.shape, dtype=np.int16) * 2 - 1
    found: Pixels = np.clip(pixels + levels * signs, 0, 255).astype(np.uint8)
    return found


def resized(pixels: Pixels) -> Pixels:
    """An image (H, W, 3) of levels, reduced to four fifths of its sides and enlarged again, both bilinearly."""
    image = Image.fromarray(pixels)
    small = [max(1, round(SMALLER * side)) for side in image.size]
    return np.asarray(
        image.resize((small[0], small[1]), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR)
    )


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    **{f"jpeg-{quality}": lambda pixels, quality=quality: as_jpeg(pixels, quality) for quality in JPEG_QUALITIES},  # type: ignore[misc]
    "resized": resized,
}
"""What may happen to an image on its way to the model, by name."""


@dataclasses.dataclass(frozen=True)
class _Question:
    """Images that the victim is asked about.

    Attributes:
        control: `noise`, or the name of a change.
        eps_text: the radius; empty for clean images.
        attack: whose adversarial images are changed; None for clean ones.
        eps: of the noise.
    """

    control: str
    eps_text: str
    attack: PlannedAttack | None = None
    eps: float = 0.0


def questions(plan: Plan, changed: Sequence[PlannedAttack]) -> list[_Question]:
    """Everything that is asked: noise at every radius, and each change of the clean images and of some attacks'.

    Args:
        plan: of the run.
        changed: attacks whose adversarial images are changed.
    """
    radii = {one.eps_text: one.config.eps[0] for one in plan.attacks}
    found = [_Question(NOISE, text, None, eps) for text, eps in radii.items()]
    for name in CHANGES:
        found.append(_Question(name, ""))
        found += [_Question(name, one.eps_text, one) for one in changed]
    return found


def ask_controls(
    plan: Plan,
    store: Store,
    networks: Networks,
    changed: Sequence[PlannedAttack],
    tell: Callable[[str, int, int], None],
) -> None:
    """Ask the victim, and write its answers into the run; what was answered before is kept.

    Args:
        plan: of the run.
        store: of the run.
        networks: that loads the victim.
        changed: attacks whose adversarial images are changed.
        tell: told how far it is.

    Raises:
        ModelError: the victim fails; what it has answered is kept.
    """
    asked = questions(plan, changed)
    rows: list[tuple[str, str, str, Ints]] = []
    total, done = len(asked) * len(plan.images.records), 0
    try:
        for one in asked:
            parts = []
            for shard in range(len(plan.shards)):
                tell("asking about controls", done, total)
                parts.append(_answers(plan, store, networks, one, shard))
                done += len(plan.shards[shard])
            attack = "" if one.attack is None else one.attack.name
            rows.append((one.control, one.eps_text, attack, np.concatenate(parts)))
        tell("asking about controls", total, total)
    finally:
        store.write(CONTROLS, _table(plan, rows))


def _answers(plan: Plan, store: Store, networks: Networks, one: _Question, shard: int) -> Ints:
    rows, victim, first = plan.shards[shard], plan.victims[0], plan.attacks[0]
    key = content_key(
        plan.victim_key(0, first),
        plan.shard_key(0 if one.attack is None else plan.attacks.index(one.attack), shard),
        one.control,
        one.eps_text,
        one.attack is None,
        plan.suite.seed,
    )
    name = f"controls/{slug(one.control)}-{key[:24]}.parquet"
    found = Answers.read(store.read(name), name, None)
    if found is not None:
        return found.predictions
    levels = list(_images(plan, store, one, rows))
    batches = size_batches([pixels.shape[:2] for pixels in levels], plan.suite.victim_batch_size)
    predictions, classes = predict(
        networks.network(victim.victim.model),
        (np.stack([levels[row] for row in batch]) for batch in batches),
        preprocess=victim.preprocessing[first.surrogate.name].apply,
    )
    in_order = np.empty_like(predictions)
    in_order[[row for batch in batches for row in batch]] = predictions
    store.write(name, Answers(tuple(map(pixel_sha256, levels)), in_order, classes).to_bytes(name))
    return in_order


def _images(plan: Plan, store: Store, one: _Question, rows: Sequence[int]) -> Iterator[Pixels]:
    ids = [plan.images.records[row].image_id for row in rows]
    if one.control == NOISE:
        for image_id, pixels in zip(ids, clean_pixels(plan, store, rows), strict=True):
            yield noisy(pixels, one.eps, image_id, plan.suite.seed)
        return
    change = CHANGES[one.control]
    if one.attack is None:
        yield from map(change, clean_pixels(plan, store, rows))
    else:
        folder = one.attack.folder
        yield from map(change, read_ahead([store.fetch(f"{folder}/{image_id}.png") for image_id in ids]))


def _table(plan: Plan, rows: Sequence[tuple[str, str, str, Ints]]) -> bytes:
    ids = plan.images.ids
    names = ("control", "eps_text", "attack")
    columns = {name: [row[place] for row in rows for _ in ids] for place, name in enumerate(names)}
    predictions = [int(one) for row in rows for one in row[3]]
    return parquet_bytes(
        pa.table(
            {
                "image_id": pa.array(list(ids) * len(rows), pa.string()),
                **{name: pa.array(values, pa.string()) for name, values in columns.items()},
                "prediction": pa.array(predictions, pa.int32()),
            }
        )
    )


def read_controls(store: Store) -> dict[tuple[str, str, str], dict[str, int]]:
    """The victim's answers by control, radius and attack, each by image; empty where there are none.

    Raises:
        ModelError: the file cannot be read.
    """
    content = store.read(CONTROLS)
    if content is None:
        return {}
    try:
        table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise ModelError(f"{store.place(CONTROLS)} cannot be read: {error}.", "Run the audit again.") from error
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in table.to_pylist():
        found.setdefault((row["control"], row["eps_text"], row["attack"]), {})[row["image_id"]] = row["prediction"]
    return found
