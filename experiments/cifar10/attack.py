"""The paper's experiments on CIFAR-10, on networks of this project's zoo.

Seven parts: `transfer` (every attack at three radii), `distance` (how far adversarial images go, and where),
`rebalancing` (what the ratio and gamma buy on residual nets), `skips` (what SGM's decay does beside identities and
projections), `position` (success against LinBP's and LinS's position), `gradients` (success against the gradients
spent) and `linear` (LinS against LinBP, and both). Interrupted and started again, it goes on where it was; every line
of the results file is one attack on 250 images.

    python experiments/cifar10/attack.py --data cifar10              # computes what is missing, then writes the tables
    python experiments/cifar10/attack.py --data cifar10 --share 1/2  # every second piece; another takes 2/2
    python experiments/cifar10/attack.py --data cifar10 --part transfer --surrogate vgg19_bn --pieces 1
    python experiments/cifar10/attack.py --tables                    # writes tables and pictures from what there is

The networks are those that ship with linbp, or with `--zoo DIR` those that `linbp zoo train --all --out DIR` made; the
first start binds the results file to them, so that networks which come later do not change its images. `--results FILE`
keeps what is found on other networks apart; the page and its tables are of this script's own file. For the question
whether training matters, `DIR` may hold variants, moved there from another --out: `resnet18-short`, a ResNet-18 of few
epochs (`linbp zoo train resnet18 --epochs 5`), `vgg19_bn-early`, a source that fits its training images less closely
(`linbp zoo train vgg19_bn --epochs 40 --unshifted 0`), and `resnet50-smooth`, a ResNet-50 with smoothed labels
(`linbp zoo train resnet50 --label-smoothing 0.1`), all with `--preset cpu`. LinS keeps its networks in `--work`.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from common.lines import add_line, is_mine, read_lines, share_of
from common.moved_on import moved_on

import linbp
from cifar10.jobs import BASIC, BOTTLENECK, EARLY, PARTS, RADIUS, RESULTS, SHORT, SITES, SMOOTH, SOURCE, Job
from cifar10.networks import COUNT, asked, is_victim, linearised, networks, own_smoothing, select, sha256_of
from cifar10.spread import spread
from linbp.data.cifar10 import Cifar10, load_cifar10
from linbp.errors import ModelError, StoreError
from linbp.jobs.provenance import device_name

WORK = Path("cifar10-work")
SURROGATES = (SOURCE, EARLY, BASIC, BOTTLENECK, SMOOTH, SHORT)
PIECE = 250
"""Images of one line."""
PROXIES = ("mobilenet_v2",)
"""Whom start=auto asks. In the part about positions it is no victim."""


Place = tuple[str, int | None, float | None, bool]


def place_of(job: Job) -> Place:
    """The network that a job attacks: a surrogate, or what LinS or the spreading of gradients made of it, and how."""
    return job.surrogate, job.removed, job.smoothing, job.spread


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What one line is the result of."""
    return Job.of(line), line["piece"]


def agreed(results: Path, models: dict[str, linbp.Model], data: Cifar10) -> dict[str, Any]:
    """The selection of images, made anew or that of the results file.

    Raises:
        StoreError: the results file is about other networks.
    """
    lines = read_lines(results)
    if not any("selection" in line for line in lines):
        made = select(models, data)
        add_line(results, {"selection": made})
        print(f"{made['right_on_all']} of {len(data.test_images)} test images are right on all networks", flush=True)
    # The first one: another process may have been faster.
    found = next(line["selection"] for line in read_lines(results) if "selection" in line)
    hashes = {name: sha256_of(model) for name, model in models.items()}
    wrong = [name for name, known in found["networks"].items() if hashes.get(name) != known]
    wrong += [name for name in hashes if is_victim(name) and name not in found["networks"]]
    for line in lines:
        # A variant that is not there now attacks nothing, and its lines stay.
        if "piece" in line and line["surrogate_sha256"] != hashes.get(line["surrogate"], line["surrogate_sha256"]):
            wrong.append(line["surrogate"])
    if wrong:
        raise StoreError(
            f"{results} was made with another {', '.join(dict.fromkeys(wrong))}.",
            "Move it away, or give --zoo the networks it was made with.",
        )
    return found


def run(jobs: list[Job], share: tuple[int, int], data: Cifar10, models: dict[str, linbp.Model], options: Any) -> bool:
    """Fill in the missing lines of some jobs; whether all could be run."""
    results = options.results
    selection = agreed(results, models, data)
    rows = torch.tensor(selection["images"])
    images, labels = data.test_images[rows].permute(0, 3, 1, 2).contiguous(), data.test_labels[rows]
    lines = read_lines(results)
    done = {key(line) for line in lines if "piece" in line}
    tuned = {place_of(Job.of(line)): line["lins"]["file_sha256"] for line in lines if "lins" in line}
    facts = {"torch": torch.__version__, "linbp": linbp.__version__}
    known: dict[Place, tuple[linbp.Surrogate, linbp.Model, dict[str, Any]]] = {}
    refused: set[Job] = set()
    number_of_pieces = min(options.pieces, (len(rows) + PIECE - 1) // PIECE)
    pieces = [(piece, job) for piece in range(number_of_pieces) for job in jobs]
    places = list(dict.fromkeys(place_of(job) for job in jobs if job.removed is not None))
    for number, (piece, job) in enumerate(pieces):
        # Each network of LinS goes to one process with all that attacks it: only one can tune it.
        turn = number if job.removed is None else places.index(place_of(job))
        if not is_mine(turn, share) or job in refused:
            continue
        line = {**job.fields(), "piece": piece}
        if key(line) in done:
            continue
        mine, started, place = slice(piece * PIECE, (piece + 1) * PIECE), time.time(), place_of(job)
        recipe = linbp.Recipe.parse(job.recipe)
        try:
            if place not in known:
                known[place] = prepared(job, data, models, options)
            surrogate, own, about = known[place]
            made_by = about.get("lins", {}).get("file_sha256")
            if tuned.setdefault(place, made_by) != made_by:
                raise StoreError(
                    f"{results} was made with another network of LinS on {job.surrogate} from site {job.removed}.",
                    "Give --work the folder it was made with.",
                )
            adv = linbp.craft(
                surrogate,
                images[mine],
                labels[mine],
                recipe,
                eps=job.eps,
                steps=None if recipe.single_step else job.steps,
                step_size=None if recipe.single_step else job.step_size,
                ids=[f"{row:05}" for row in rows[mine].tolist()],
                batch_size=options.batch,
            )
            if job.filled:
                adv = moved_on(adv, images[mine], math.floor(255 * Fraction(job.eps)))
        except StoreError:
            raise
        except linbp.LinbpError as fault:
            refused.add(job)
            print(f"left out: {job}: {fault}", flush=True)
            continue
        pixels = (adv * 255).round().to(torch.uint8)
        everyone = {name: model for name, model in models.items() if is_victim(name)} | {"itself": own}
        answers = {name: asked(model, pixels, labels[mine]) for name, model in everyone.items()}
        found = {
            "predictions": {name: "".join(map(str, classes)) for name, (classes, _) in answers.items()},
            "loss": {name: loss for name, (_, loss) in answers.items()},
            "levels": round(float((pixels.int() - images[mine].int()).abs().float().mean()), 3),
            "sha256": hashlib.sha256(pixels.numpy().tobytes()).hexdigest(),
            "gradients": recipe.gradients(job.steps),
            "device": device_name(surrogate.device),
        }
        add_line(results, {**line, **about, **facts, **found, "seconds": round(time.time() - started, 1)})
        print(f"{line}: {time.time() - started:.0f} s", flush=True)
    return not refused


def prepared(
    job: Job, data: Cifar10, models: dict[str, linbp.Model], options: Any
) -> tuple[linbp.Surrogate, linbp.Model, dict[str, Any]]:
    """The surrogate of a job, the network it is of, and what is to be recorded of that."""
    model = models[job.surrogate]
    about: dict[str, Any] = {"surrogate_sha256": sha256_of(model)}
    if job.removed is not None:
        smoothing = own_smoothing(model) if job.smoothing is None else job.smoothing
        model, about["lins"] = linearised(model, job.removed, smoothing, data, options.work, options.device)
    return linbp.Surrogate(spread(model) if job.spread else model).to(options.device), model, about


def choose_starts(results: Path, data: Cifar10, models: dict[str, linbp.Model]) -> None:
    """The starts that start=auto chooses for LinBP, on images that are not among the 1,000."""
    selection = agreed(results, models, data)
    rows = torch.tensor(selection["others"])
    known = {line["surrogate"] for line in read_lines(results) if "choice" in line}
    for surrogate in SITES:
        if surrogate not in known:
            choice = linbp.choose_start(
                models[surrogate],
                data.test_images[rows].permute(0, 3, 1, 2).contiguous(),
                data.test_labels[rows],
                "linbp(start=auto)",
                proxies=[models[name] for name in PROXIES],
                eps=RADIUS,
                steps=50,
            )
            add_line(results, {"surrogate": surrogate, "choice": choice.to_dict()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="default: all")
    parser.add_argument("--surrogate", action="append", choices=SURROGATES, help="attacks on this one; default: all")
    parser.add_argument("--data", type=Path, default=Path("cifar10"), help="folder of CIFAR-10, as for linbp zoo train")
    parser.add_argument("--zoo", type=Path, help="folder of trained networks; default: those that ship with linbp")
    parser.add_argument("--network", action="append", help="which networks, the first time; default: all there are")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the networks of LinS")
    parser.add_argument("--share", type=share_of, default=(1, 1), help="which of how many processes this is: 1/2")
    parser.add_argument("--pieces", type=int, default=COUNT // PIECE, help="only the first ones, of 250 images each")
    parser.add_argument("--no-lins", action="store_true", help="leave out what needs networks that LinS must tune")
    parser.add_argument("--batch", type=int, default=32, help="images at a time; on a GPU, 250 are faster")
    parser.add_argument("--device", default="cpu", help="where everything runs")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="another file, for networks other than the page's"
    )
    parser.add_argument("--tables", action="store_true", help="write tables and pictures only")
    options = parser.parse_args()
    own = options.results.resolve() == RESULTS.resolve()
    if options.tables and not own:
        parser.error("--tables writes the page of this script's own results: leave --results out")
    complete = True
    try:
        if not options.tables:
            recorded = [line["selection"]["networks"] for line in read_lines(options.results) if "selection" in line]
            wanted = (*recorded[0],) if recorded else tuple(options.network or ())
            data, models = load_cifar10(options.data), networks(options.zoo, wanted, options.device)
            attacked = set(options.surrogate or models) & set(models)
            if missing := [name for name in options.surrogate or () if name not in attacked]:
                raise ModelError(f"{', '.join(missing)} is not there.", f"There are: {', '.join(models)}.")
            jobs = [job for name in options.part or PARTS for job in PARTS[name]() if job.surrogate in attacked]
            if options.no_lins:
                jobs = [job for job in jobs if job.removed is None]
            complete = run(list(dict.fromkeys(jobs)), options.share, data, models, options)
            if options.share[0] == 1 and "position" in (options.part or PARTS):
                choose_starts(options.results, data, models)
        if options.share[0] == 1 and own:
            from cifar10.tables import write

            write(read_lines(RESULTS))
    except linbp.LinbpError as fault:
        print(f"Error: {fault.message}\nHint: {fault.hint}", file=sys.stderr)
        return 2
    except OSError as fault:
        print(
            f"Error: {fault.filename or options.results}: {fault.strerror}.",
            "Hint: start again; finished lines are kept.",
            sep="\n",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on; finished lines are kept.", file=sys.stderr)
        return 130
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
