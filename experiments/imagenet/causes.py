"""Why some attacks do on photographs what nobody would have expected: one controlled experiment for each surprise.

`common/photographs.py` says which photographs and networks these are, and what a pass is. Eight questions, whose
attacks are in `causes.toml`: `radius` (why does a single FGSM step transfer better than twenty steps of I-FGSM?),
`units` (why do BPA and ConBP do nothing on some networks?), `leak` (how much of the gradient should an inactive unit
pass?), `objective` (why does lowering the label's logit transfer worse than raising the cross-entropy?), `features`
(why is FDA weak on inverted residuals?), `second` (why does ILA behind LinBP help on one network and harm on the
other?), `ahead` (why is Nesterov's momentum better than momentum in few steps and worse in many?) and `diverse` (why do
diverse inputs harm LinBP in few steps?).

    python experiments/imagenet/causes.py --out FOLDER --passes 2    # computes what is missing in FOLDER/causes.jsonl

The lines are what a script in this repository's history made `results/causes.parquet` of
(`git log --diff-filter=D -p -- experiments/take_over`); `docs/causes.md` says what came out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from common import photographs as photos
from common.lines import add_line, read_lines
from torch import nn

import linbp
from linbp.bench.suite import tomllib
from linbp.jobs.provenance import device_name

EPS, LEVELS = "16/255", 16
MEDIAN = "median input of a ReLU"
ASKED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WORDS = {None: "", "filled": ", moved on to the radius", "shrunk": ", at the mean distance of I-FGSM"}


class Attack(NamedTuple):
    """A recipe, and what is done to its adversarial images afterwards; `causes.toml` says what that is."""

    question: str
    recipe: str
    then: str | None
    steps: int

    @property
    def label(self) -> str:
        """Its name in results and tables, in Markdown."""
        steps = "" if self.steps == photos.STEPS else f", {self.steps} steps"
        return f"`{self.recipe}`{steps}{WORDS[self.then]}"


def attacks(surrogate: str) -> list[Attack]:
    """All attacks on one surrogate."""
    places = ASKED["surrogates"][surrogate]
    return [
        Attack(asked["question"], recipe.format(**places), asked.get("then"), asked.get("steps", photos.STEPS))
        for asked in ASKED["attacks"]
        if asked.get("on", surrogate) == surrogate
        for recipe in asked["recipes"]
    ]


def craft(attack: Attack, clean: torch.Tensor, fresh: Any) -> torch.Tensor:
    """The adversarial images of uint8 images, in [0, 1]; `fresh(recipe, eps, steps)` runs a recipe, once."""
    if attack.then == "shrunk":
        moved = (fresh("ifgsm", EPS, attack.steps) - clean.float() / 255).abs() * 255
        return fresh(attack.recipe, tuple((moved.flatten(1).mean(1).round() / 255).tolist()), attack.steps)
    adv = fresh(attack.recipe, EPS, attack.steps)
    if attack.then == "filled":
        moved = (adv * 255).round().int() - clean.int()
        adv = (clean.int() + LEVELS * moved.sign()).clamp(0, 255) / 255
    return adv


@torch.no_grad()
def middle_input(module: nn.Module, images: torch.Tensor, start: int) -> float:
    """The median of |z| over the inputs of ReLUs from a site on: in what units the network counts; leaves hooks."""
    found: list[torch.Tensor] = []
    for part in module.modules():
        if isinstance(part, nn.ReLU | nn.ReLU6):
            part.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].abs().flatten()))
    module(images)
    return float(np.median(torch.cat(found[start:]).numpy()))


@torch.no_grad()
def standings(victims: dict[str, Any], clean: torch.Tensor, adv: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """For each network, the label's logit and the largest other one on clean and on adversarial images.

    They are means over the `n` images that the network has right. `spread` is the mean over these of the standard
    deviation of clean logits over classes, a unit in which networks are comparable.
    """
    found: dict[str, Any] = {}
    for name, victim in victims.items():
        before = victim.logits(clean)
        known = before.argmax(1) == labels
        own = labels[known, None]
        for kind, logits in (("clean", before[known].double()), ("adv", victim.logits(adv)[known].double())):
            other = logits.scatter(1, own, -torch.inf).amax(1)
            found.setdefault(name, {})[kind] = [float(logits.gather(1, own).mean()), float(other.mean())]
        found[name] |= {"n": int(known.sum()), "spread": float(before[known].double().std(1).mean())}
    return found


def compute(path: Path, name: str, passes: int) -> None:
    """Fill in the missing lines about one surrogate, pass by pass."""
    fields = ("surrogate", "question", "recipe", "pass")
    done = {tuple(line.get(field) for field in fields) for line in read_lines(path)}
    victims = {victim: photos.network(victim) for victim in photos.VICTIMS}
    _, images, labels = photos.photographs()
    surrogate = linbp.Surrogate(photos.network(name))

    def add(line: dict[str, Any]) -> None:
        add_line(path, {**dict.fromkeys(fields), **line})
        print({field: line.get(field) for field in fields}, flush=True)

    if (name, None, MEDIAN, 0) not in done:
        start = ASKED["surrogates"][name]["start"]
        middle = middle_input(photos.network(name).module, images[: photos.PASS].float() / 255, start)
        add({"surrogate": name, "recipe": MEDIAN, "pass": 0, "start": start, "value": middle})
    for number in range(passes):
        rows = slice(number * photos.PASS, (number + 1) * photos.PASS)
        clean = images[rows].float() / 255
        if (None, None, "clean", number) not in done:
            asked = {"labels": labels[rows].tolist(), "predictions": photos.predictions(victims, clean)}
            add({"recipe": "clean", "pass": number, **asked})

        @cache
        def fresh(recipe: str, eps: Any, steps: int, rows: slice = rows) -> torch.Tensor:
            single = linbp.Recipe.parse(recipe).single_step
            given = {"steps": None, "step_size": None} if single else {"steps": steps, "step_size": "1/255"}
            return photos.craft(surrogate, rows, recipe, list(eps) if isinstance(eps, tuple) else eps, **given)

        for attack in attacks(name):
            if (name, attack.question, attack.label, number) in done:
                continue
            adv = craft(attack, images[rows], fresh)
            pixels = (adv * 255).round().to(torch.uint8)
            line = {"surrogate": name, "question": attack.question, "recipe": attack.label, "pass": number, "eps": EPS}
            line |= {"steps": attack.steps, "predictions": photos.predictions(victims, adv)}
            line["mean_levels"] = round(float((pixels.int() - images[rows].int()).abs().float().mean()), 3)
            line["sha256"] = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
            line |= {"device": device_name(torch.device("cpu")), "torch": torch.__version__, "linbp": linbp.__version__}
            if attack.question == "objective":
                line["standing"] = standings(victims, clean, adv, labels[rows])
            add(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of causes.jsonl")
    parser.add_argument("--passes", type=int, default=1, help="how many times 24 photographs")
    options = parser.parse_args()
    for name in ASKED["surrogates"]:
        compute(options.out / "causes.jsonl", name, options.passes)


if __name__ == "__main__":
    main()
