"""Does a leak turn the surrogate's gradient towards the victims'? For `docs/equal-cost.md`: why it harms from ViT-C.

For each image: the cosine of the victim's gradient with the surrogate's, with a leak of 0.1 and without. Both are taken
at the image, and at what five steps with momentum have made of it, without a leak; on their own, and as SIA's mean over
five copies. An image counts where surrogate and victim have it right.

    python experiments/directions.py cifar10    # a folder with CIFAR-10; a quarter of an hour on one core
    python experiments/directions.py            # the table alone, from experiments/results/directions.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pages import markdown, small, write_page

import linbp
from linbp.attack import Budget, Context, Goal, Recipe, prepare
from linbp.attack.gradients import StageGradients
from linbp.data.cifar10 import load_cifar10
from linbp.evaluation.statistics import mean_over_victims
from linbp.randomness import Draws

RESULTS = Path(__file__).parent / "results" / "directions.parquet"
IMAGES = range(300, 600)
"""Of the test images. Seen before, on the first 64: a leak turns the gradients of ResNet-18 and VGG-19-BN towards those
of every victim, hardly turns CCT-2's, and turns ViT-C's a little away. That is what is expected here.
"""
SURROGATES = {"resnet18": "ResNet-18", "vgg19_bn": "VGG-19-BN", "cct2_3x2": "CCT-2", "vit_c": "ViT-C"}
OTHERS = ("resnet50", "wrn16_8", "mobilenet_v2", "plain")
TRANSFORMS = {"": "alone", "sia(copies=5) + ": "SIA"}
EPS, STEP, STEPS = 4 / 255, 1 / 255, (0, 5)
HEADS = ["surrogate", "gradient", "at the image", "with a leak", "gain", "after 5 steps", "with a leak", "gain"]


def measured(folder: str) -> Iterator[dict[str, Any]]:
    """Columns for each surrogate, transform, place and victim, one value an image."""
    data, rows = load_cifar10(folder), list(IMAGES)
    clean, labels = data.test_images[rows].permute(0, 3, 1, 2).float() / 255, data.test_labels[rows]
    networks = {name: linbp.Surrogate(linbp.load_model(f"demo:cifar10/{name}")) for name in (*SURROGATES, *OTHERS)}
    right = {name: (network.logits(clean).argmax(1) == labels).numpy() for name, network in networks.items()}
    draws = Draws(0, [str(image) for image in IMAGES], 0)
    context = Context(
        budget=Budget(clean, [EPS] * len(clean), norm="linf", rounding="inward"),
        goal=Goal(labels=labels),
        step_size=torch.full((len(clean), 1, 1, 1), STEP),
        steps=max(STEPS) + 1,
    )
    for name in SURROGATES:
        for transform, called in TRANSFORMS.items():
            plain, leak = (
                StageGradients(prepare(networks[name], Recipe.parse(f"{rule}{transform}mi")).stages[0], context, draws)
                for rule in ("", "leaky-linbp + ")
            )
            images, momentum = clean, torch.zeros_like(clean)
            for step in range(max(STEPS) + 1):
                found = [one.at(step, draws, images).gradient(images) for one in (plain, leak)[: 1 + (step in STEPS)]]
                for victim in sorted(networks.keys() - {name}) if step in STEPS else ():
                    wanted = networks[victim].gradient(images, labels)
                    cosines = [torch.cosine_similarity(one.flatten(1), wanted.flatten(1)).numpy() for one in found]
                    about = {"surrogate": name, "transform": called, "step": step, "victim": victim}
                    values = zip(IMAGES, right[name] & right[victim], *cosines, strict=True)
                    yield from (
                        about | dict(zip(("image", "counted", "plain", "leak"), v, strict=True)) for v in values
                    )
                momentum = momentum + found[0] / found[0].abs().mean((1, 2, 3), keepdim=True)
                images = context.budget.project(images + STEP * momentum.sign())
                print(name, called, step, flush=True)


def table() -> list[list[str]]:
    """Means over victims in hundredths, with 95% intervals of a bootstrap over images."""
    body = []
    for name, called in SURROGATES.items():
        for transform in TRANSFORMS.values():
            cells = []
            for step in STEPS:
                query = f"""select plain, leak, counted from '{RESULTS}' where surrogate = '{name}'
                    and transform = '{transform}' and step = {step} order by victim, image"""
                found = duckdb.sql(query).fetchnumpy()
                plain, leak, counted = (found[key].reshape(-1, len(IMAGES)) for key in ("plain", "leak", "counted"))
                for values, form in ((plain, ".1f"), (leak, ".1f"), (leak - plain, "+.2f")):
                    cells.append(small(mean_over_victims(values, counted, unit=100), form, " to "))
            body.append([called, transform, *cells])
    return body


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        rows = list(measured(folder))
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        floats = {key: np.array(columns[key], np.float32) for key in ("plain", "leak")}
        pq.write_table(pa.table(columns | floats), RESULTS, compression="zstd")
    write_page("equal-cost.md", {"directions": markdown(HEADS, table(), left=2)})
