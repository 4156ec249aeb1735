"""Tables of results with known answers, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from linbp.bench.table import SCHEMA

CLASSES = 10


def synthetic(
    *,
    images: int = 40,
    surrogates: Sequence[str] = ("source",),
    recipes: Sequence[str] = ("mi", "linbp"),
    eps: Sequence[str] = ("4/255", "8/255"),
    victims: Sequence[str] = ("first", "second"),
    seed: int = 0,
    wrong_on_clean: float = 0.1,
    targeted: bool = False,
    steps: int = 10,
) -> pa.Table:
    """A table with the columns of `SCHEMA` whose successes are drawn.

    Later recipes and larger radii succeed more often, later victims less often; `wrong_on_clean` is the share of
    images that a victim has wrong when they are clean. The selection is `none`: every row is selected. The files do
    not exist.
    """
    shape = (len(surrogates), len(recipes), len(eps), len(victims), images)
    rows = int(np.prod(shape))
    at = dict(zip("srevi", np.indices(shape).reshape(len(shape), -1), strict=True))
    draw = np.random.default_rng(seed)
    label = draw.integers(0, CLASSES, images)[at["i"]]
    # A victim answers the same to a clean image, whatever was made of it.
    wrong = draw.random((len(victims), images)) < wrong_on_clean
    before = np.where(wrong[at["v"], at["i"]], (label + 1) % CLASSES, label)
    radius = np.array([float(text.split("/")[0]) / 255 for text in eps])
    logit = -1 + at["r"] + 20 * radius[at["e"]] - 0.5 * at["v"] + draw.normal(0, 1, images)[at["i"]]
    fooled = draw.random(rows) < 1 / (1 + np.exp(-logit))
    aim = (label + 2) % CLASSES
    after = np.where(fooled, aim, label)

    def words(values: Sequence[str], index: npt.NDArray[np.int64]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(list(values), pa.string()))

    def same(value: str | None) -> pa.Array:
        return (
            words([value or ""], np.zeros(rows, int))
            if value is not None
            else pa.nulls(rows, SCHEMA.field("notes").type)
        )

    names = [f"{one}-{two}-{three.replace('/', 'of')}" for one in surrogates for two in recipes for three in eps]
    attack = (at["s"] * len(recipes) + at["r"]) * len(eps) + at["e"]
    columns = {
        "image_id": words([f"image_{number:05}" for number in range(images)], at["i"]),
        "file": words([f"images/image_{number:05}.png" for number in range(images)], at["i"]),
        "label": label,
        "target": aim if targeted else pa.nulls(rows, pa.int32()),
        "surrogate": words(surrogates, at["s"]),
        "surrogate_model": words([f"file:{name}.py:network" for name in surrogates], at["s"]),
        "surrogate_key": words([f"{number:012x}" for number in range(len(surrogates))], at["s"]),
        "rule": same(""),
        "recipe": words(recipes, at["r"]),
        "recipe_text": words(recipes, at["r"]),
        "attack": words(names, attack),
        "attack_key": words([f"{number:016x}" for number in range(len(names))], attack),
        "protocol": same(None),
        "norm": same("linf"),
        "eps": radius[at["e"]],
        "eps_text": words(eps, at["e"]),
        "steps": np.full(rows, steps),
        "step_size": np.full(rows, 1 / 255),
        "gradients": steps * (1 + at["r"]),
        "seed": np.full(rows, seed),
        "victim": words(victims, at["v"]),
        "victim_model": words([f"file:{name}.py:network" for name in victims], at["v"]),
        "victim_key": words([f"{number + 100:012x}" for number in range(len(victims))], at["v"]),
        "preprocessing": same("its own resizing"),
        "white_box": np.zeros(rows, bool),
        "surrogate_clean": label,
        "surrogate_adv": aim,
        "clean_prediction": before,
        "adv_prediction": after,
        "selected": np.ones(rows, bool),
        "success": pa.array(fooled, mask=before != label),
        "linf": np.rint(255 * radius[at["e"]]).astype(int),
        "l2": radius[at["e"]] * 10,
        "notes": same(None),
    }
    return pa.table(
        {name: pa.array(values) if not isinstance(values, pa.Array) else values for name, values in columns.items()}
    ).cast(SCHEMA)
