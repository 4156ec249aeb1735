"""The paper's experiments on CIFAR-10, on networks of this project's zoo.

Five parts: `transfer` (every attack at three radii), `rebalancing` (what the ratio and gamma buy on residual nets),
`position` (success against LinBP's and LinS's position), `gradients` (success against the gradients spent) and
`linear` (LinS against LinBP, and both). Interrupted and started again, it goes on where it was; every line of the
results file is one attack on 250 images.

    python experiments/cifar10.py --data cifar10                  # computes what is missing, then writes the tables
    python experiments/cifar10.py --data cifar10 --share 1/2      # every second piece; another takes 2/2
    python experiments/cifar10.py --data cifar10 --part transfer
    python experiments/cifar10.py --tables                        # writes tables and pictures from what there is

The networks are those that ship with linbp, or with `--zoo DIR` those that `linbp zoo train --out DIR` made. LinS
keeps its networks in `--work`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import torch
from cifar10_jobs import PARTS, RADIUS, SITES, Job
from cifar10_networks import is_victim, linearised, networks, predictions, select
from result_lines import add_line, read_lines

import linbp
from linbp.zoo import Cifar10, load_cifar10

RESULTS = Path(__file__).parent / "results" / "cifar10.jsonl"
PIECE = 250
"""Images of one line."""
BATCH = 32
"""Images at a time; nothing depends on it."""
PROXIES = ("mobilenet_v2",)
"""Whom start=auto asks. In the part about positions it is no victim."""


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What one line is the result of."""
    return tuple(line.get(name) for name in ("surrogate", "recipe", "eps", "steps", "removed", "piece"))


def agreed(models: dict[str, linbp.Model], data: Cifar10) -> dict[str, Any]:
    """The selection of images, made anew or that of the results file."""
    hashes = {name: model.source["file_sha256"] for name, model in models.items()}
    for line in read_lines(RESULTS):
        if "selection" in line:
            if line["selection"]["networks"] != hashes:
                sys.exit(
                    f"{RESULTS} is about other networks. Move it away, or give --zoo the networks it was made with."
                )
            return line["selection"]
    found = select(models, data)
    add_line(RESULTS, {"selection": found})
    print(f"{found['right_on_all']} of {len(data.test_images)} test images are right on all networks", flush=True)
    return found


def run(jobs: list[Job], share: tuple[int, int], data: Cifar10, models: dict[str, linbp.Model], options: Any) -> None:
    """Fill in the missing lines of some jobs."""
    selection = agreed(models, data)
    rows = torch.tensor(selection["images"])
    images, labels = data.test_images[rows].permute(0, 3, 1, 2).contiguous(), data.test_labels[rows]
    done = {key(line) for line in read_lines(RESULTS)}
    facts = {"torch": torch.__version__, "linbp": linbp.__version__}
    known: dict[tuple[str, int | None], tuple[linbp.Surrogate, linbp.Model, dict[str, Any]]] = {}
    refused: set[Job] = set()
    pieces = [(piece, job) for piece in range((len(rows) + PIECE - 1) // PIECE) for job in jobs]
    for number, (piece, job) in enumerate(pieces):
        # All pieces on one network of LinS go to one process: only one can tune it.
        if (number if job.removed is None else job.removed // 2) % share[1] != share[0] - 1 or job in refused:
            continue
        line = {**job.fields(), "piece": piece}
        if key(line) in done:
            continue
        mine, begin, place = slice(piece * PIECE, (piece + 1) * PIECE), time.time(), (job.surrogate, job.removed)
        recipe = linbp.Recipe.parse(job.recipe)
        try:
            if place not in known:
                known[place] = prepared(job, data, models, options)
            surrogate, own, about = known[place]
            twins = linbp.craft(
                surrogate,
                images[mine],
                labels[mine],
                recipe,
                eps=job.eps,
                steps=None if recipe.single_step else job.steps,
                step_size=None if recipe.single_step else job.step_size,
                ids=[f"{row:05}" for row in rows[mine].tolist()],
                batch_size=BATCH,
            )
        except linbp.LinbpError as fault:
            refused.add(job)
            print(f"left out: {job}: {fault}", flush=True)
            continue
        pixels = (twins * 255).round().to(torch.uint8)
        asked = {name: model for name, model in models.items() if is_victim(name)} | {"itself": own}
        found = {name: "".join(map(str, predictions(model, pixels))) for name, model in asked.items()}
        about = {**about, **facts, "device": str(surrogate.device), "gradients": recipe.gradients(job.steps)}
        made = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
        add_line(
            RESULTS, {**line, **about, "predictions": found, "sha256": made, "seconds": round(time.time() - begin, 1)}
        )
        print(f"{line}: {time.time() - begin:.0f} s", flush=True)


def prepared(
    job: Job, data: Cifar10, models: dict[str, linbp.Model], options: Any
) -> tuple[linbp.Surrogate, linbp.Model, dict[str, Any]]:
    """The surrogate of a job, the network it is of, and what is to be recorded of that."""
    model, about = models[job.surrogate], {}
    if job.removed is not None:
        model, found = linearised(model, job.removed, data, options.work, options.device)
        about = {"lins": found}
    return linbp.Surrogate(model).to(options.device), model, about


def choose(data: Cifar10, models: dict[str, linbp.Model]) -> None:
    """Where start=auto would let LinBP begin, chosen on images that are not among the 1,000."""
    selection = agreed(models, data)
    rows = torch.tensor(selection["others"])
    known = {line["surrogate"] for line in read_lines(RESULTS) if "choice" in line}
    proxies = [models[name] for name in PROXIES if name in models]
    for surrogate in SITES if proxies else ():
        if surrogate not in known and surrogate in models:
            choice = linbp.choose_start(
                models[surrogate],
                data.test_images[rows].permute(0, 3, 1, 2).contiguous(),
                data.test_labels[rows],
                "linbp(start=auto)",
                proxies=proxies,
                eps=RADIUS,
                steps=50,
            )
            add_line(RESULTS, {"surrogate": surrogate, "choice": choice.to_dict()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="default: all")
    parser.add_argument("--data", type=Path, default=Path("cifar10"), help="folder of CIFAR-10, as for linbp zoo train")
    parser.add_argument("--zoo", type=Path, help="folder of trained networks; default: those that ship with linbp")
    parser.add_argument("--work", type=Path, default=Path("cifar10-work"), help="folder for the networks of LinS")
    parser.add_argument("--share", default="1/1", help="which of how many processes this is")
    parser.add_argument("--device", default="cpu", help="where the surrogates run")
    parser.add_argument("--tables", action="store_true", help="write tables and pictures only")
    options = parser.parse_args()
    if not options.tables:
        data, models = load_cifar10(options.data), networks(options.zoo)
        part, parts = (int(number) for number in options.share.split("/"))
        jobs = [job for name in options.part or PARTS for job in PARTS[name]() if job.surrogate in models]
        run(list(dict.fromkeys(jobs)), (part, parts), data, models, options)
        if part == 1 and "position" in (options.part or PARTS):
            choose(data, models)
    from cifar10_tables import write

    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
