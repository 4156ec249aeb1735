"""Why some attacks do on photographs what nobody would have expected: one controlled experiment for each surprise.

The surrogates, photographs, victims and passes are those of `imagenet_transfer.py`. Eight questions: `radius` (why does
a single FGSM step transfer better than twenty steps of I-FGSM?), `units` (why do BPA and ConBP do nothing on some
networks?), `leak` (how much of the gradient should an inactive unit pass?), `objective` (why does lowering the label's
logit transfer worse than raising the cross-entropy?), `features` (why is FDA weak on inverted residuals?), `second`
(why does ILA behind LinBP help on one network and harm on the other?), `ahead` (why is Nesterov's momentum better than
momentum in few steps and worse in many?) and `diverse` (why do diverse inputs harm LinBP in few steps?).
Interrupted and started again, it goes on where it was; every line of the results file is one attack on one pass.

    python experiments/imagenet_causes.py --passes 2     # computes what is missing, then writes the tables
    python experiments/imagenet_causes.py --question radius --surrogate squeezenet1_1 --compile
    python experiments/imagenet_causes.py --tables       # writes the tables from what there is
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagenet_transfer as engine
import numpy as np
import torch
from moved_on import moved_on
from result_lines import add_line, read_lines
from torch import nn

import linbp

RESULTS = Path(__file__).parent / "results" / "imagenet_causes.jsonl"
EPS, LEVELS = "16/255", 16
STARTS = {"squeezenet1_1": 3, "mobilenet_edgetpu": 20}
LEADERS = ("linbp(start={start})", "linbp(start=0, rebalance=none, leak=0.3)", "mi", "di(scale=8/7) + mi")
"""Whose adversarial images are also moved on to the radius."""
LEAKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1)
SLOPES = {"squeezenet1_1": (1, 0.1, 0.01, 0.001, 0.0001), "mobilenet_edgetpu": (4, 1, 0.25, 0.0625)}
"""Factors of the published slopes and temperature."""
BEST = {
    "squeezenet1_1": ("conbp(start=3, slope=0.005)", "bpa(start=3, slope=0.001, temperature=0.01)"),
    "mobilenet_edgetpu": ("conbp(start=20, slope=0.5)", "bpa(start=20, slope=0.25)"),
}
"""The best of each kind, whose adversarial images are also moved on to the radius."""
ONE_OF_TWO = {"squeezenet1_1": ("bpa(start=3, slope=0.001)", "bpa(start=3, temperature=0.01)")}
"""Slope alone and temperature alone, where there are max-pools."""
OBJECTIVES, MANY = ("ifgsm", "margin", "logit"), 100
"""Objectives, and how many steps: as many as in the table of recipes at equal gradients."""
RECTIFIED = {
    "mobilenet_edgetpu": "[network.bn1, network.blocks.1.3.bn1.act, network.blocks.3.0.bn1.act, "
    "network.blocks.5.0.bn1.act, network.bn2]"
}
"""Feature maps behind a ReLU, the last one of every size, where the blocks' own results are signed."""
NODES = {
    "squeezenet1_1": ("network.features.4", "network.features.7", "network.features.10", "network.features.12"),
    "mobilenet_edgetpu": ("network.blocks.2", "network.blocks.3", "network.blocks.4", "network.blocks.5"),
}
"""Feature maps that ILA reads; the second one is that of the table of recipes."""
QUESTIONS = ("radius", "units", "leak", "objective", "features", "second", "ahead", "diverse")
Logits = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Attack:
    """A recipe, and what is done to its adversarial images afterwards.

    Attributes:
        question: that it belongs to.
        recipe: as text.
        then: `filled`: every pixel that moved is moved on to the radius, in its direction. `shrunk`: the recipe is one
            step, of the mean distance (in whole levels) that the adversarial images of I-FGSM have from their image.
        steps: how many, of 1/255.

    Neither makes distances quite equal: a pixel that did not move stays, and at the same mean distance steps of one
    length everywhere have the smaller L2.
    """

    question: str
    recipe: str
    then: Literal["filled", "shrunk"] | None = None
    steps: int = engine.STEPS

    @property
    def label(self) -> str:
        """Its name in results and tables, in Markdown."""
        words = {
            None: "",
            "filled": ", moved on to the radius",
            "shrunk": ", at the mean distance of I-FGSM",
        }
        steps = "" if self.steps == engine.STEPS else f", {self.steps} steps"
        return f"`{self.recipe}`{steps}{words[self.then]}"


def attacks(surrogate: str) -> Iterator[Attack]:
    """All attacks on one surrogate."""
    yield from (Attack("radius", "fgsm"), Attack("radius", "ifgsm"))
    yield from (Attack("radius", "ifgsm", "filled"), Attack("radius", "fgsm", "shrunk"))
    start = STARTS[surrogate]
    for recipe in LEADERS:
        for then in (None, "filled"):
            yield Attack("radius", recipe.format(start=start), then)
    yield Attack("units", "ifgsm")
    for factor in SLOPES[surrogate]:
        yield Attack("units", f"conbp(start={start}, slope={0.5 * factor:g})")
        temperature = f", temperature={10 * factor:g}" if surrogate == "squeezenet1_1" else ""  # the other has no pool
        yield Attack("units", f"bpa(start={start}, slope={factor:g}{temperature})")
    yield from (Attack("units", recipe) for recipe in ONE_OF_TWO.get(surrogate, ()))
    yield from (Attack("units", recipe, "filled") for recipe in ("ifgsm", *BEST[surrogate]))
    for rest in ("", " + di(scale=8/7) + mi"):
        yield Attack("leak", rest.removeprefix(" + ") or "ifgsm")
        yield from (Attack("leak", f"linbp(start=0, rebalance=none, leak={leak:g}){rest}") for leak in LEAKS)
    yield from (Attack("objective", recipe, steps=MANY) for recipe in OBJECTIVES)
    if surrogate in RECTIFIED:
        yield from (Attack("features", recipe) for recipe in ("ifgsm", "fdafgsm"))
        yield Attack("features", f"fdafgsm(at={RECTIFIED[surrogate]})")
    own, node = f"linbp(start={start})", NODES[surrogate][1]
    yield Attack("second", f"{own} + mi")
    yield from (Attack("second", f"{own} + mi >> ila(at={at})") for at in NODES[surrogate])
    yield Attack("second", f"{own} + mi >> ila(at={node}) + mi")
    yield from (Attack("second", f"{own} + mi{rest}", "filled") for rest in ("", f" >> ila(at={node})"))
    for steps in (engine.STEPS, MANY):
        yield from (Attack("ahead", recipe, steps=steps) for recipe in ("mi", "ni", "ni(scale=l1)", "ni(decay=0.9)"))
        for then in (None, "filled"):
            yield from (Attack("diverse", f"{own}{rest}", then, steps) for rest in ("", " + di(scale=8/7)"))


Made = dict[tuple[str, int], torch.Tensor]
"""Adversarial images by recipe and number of steps."""


def craft(surrogate: linbp.Surrogate, attack: Attack, rows: slice, known: Made) -> torch.Tensor:
    """The adversarial images of some photographs, in [0, 1]; those of whole recipes are kept in `known`."""
    _, images, _ = engine.photographs()

    def made(recipe: str) -> torch.Tensor:
        key = recipe, attack.steps
        if key not in known:
            known[key] = fresh(recipe, EPS)
        return known[key]

    def fresh(recipe: str, eps: Any) -> torch.Tensor:
        single = linbp.Recipe.parse(recipe).single_step
        lengths = {"steps": None, "step_size": None} if single else {"steps": attack.steps, "step_size": "1/255"}
        return engine.craft(surrogate, rows, recipe, eps, **lengths)

    clean = images[rows].float() / 255
    if attack.then == "shrunk":
        levels = ((made("ifgsm") - clean).abs() * 255).flatten(1).mean(1).round()
        return fresh(attack.recipe, (levels / 255).tolist())
    adv = made(attack.recipe)
    if attack.then == "filled":
        return moved_on(adv, images[rows], LEVELS)
    return adv


@torch.no_grad()
def standing(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> list[float]:
    """The label's logit and the largest other one, means over the images that the network has right."""
    found, labels = logits[known].double(), labels[known, None]
    other = found.scatter(1, labels, -torch.inf).amax(1)
    return [float(found.gather(1, labels).mean()), float(other.mean())]


@torch.no_grad()
def standings(
    victims: dict[str, Logits], clean: torch.Tensor, adv: torch.Tensor, labels: torch.Tensor
) -> dict[str, dict[str, Any]]:
    """For each network, its `standing` on clean images and adversarial images, over how many, and its clean logits'
    spread.

    The spread is the mean over images of the standard deviation over classes, a unit in which networks are comparable.
    """
    found = {}
    for name, logits in victims.items():
        before = logits(clean)
        known = before.argmax(1) == labels
        shown = [standing(before, labels, known), standing(logits(adv), labels, known)]
        spread = float(before[known].double().std(1).mean())
        found[name] = {"clean": shown[0], "adv": shown[1], "n": int(known.sum()), "spread": spread}
    return found


@torch.no_grad()
def middle_input(module: nn.Module, images: torch.Tensor, start: int) -> float:
    """The median of |z| over the inputs of ReLUs from a site on: in what units the network counts."""
    found: list[torch.Tensor] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].abs().flatten()))
        for part in module.modules()
        if isinstance(part, nn.ReLU | nn.ReLU6)
    ]
    module(images)
    for hook in hooks:
        hook.remove()
    return float(np.median(torch.cat(found[start:]).numpy()))


def compute(name: str, passes: range, questions: list[str], compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    done = {(line["surrogate"], line["question"], line["recipe"], line["pass"]) for line in read_lines(RESULTS)}
    _, images, labels = engine.photographs()
    victims = engine.victims_on("cpu", compiled)
    model = engine.network(name)
    surrogate = linbp.Surrogate(model)
    if (name, None, "median input of a ReLU", 0) not in done:
        spread = middle_input(model.module, images[: engine.PASS].float() / 255, STARTS[name])
        add_line(
            RESULTS,
            {
                "surrogate": name,
                "question": None,
                "recipe": "median input of a ReLU",
                "pass": 0,
                "start": STARTS[name],
                "value": spread,
            },
        )
    for number in passes:
        rows = slice(number * engine.PASS, (number + 1) * engine.PASS)
        clean, known = images[rows].float() / 255, Made()
        if (None, None, "clean", number) not in done:
            line = {"surrogate": None, "question": None, "recipe": "clean", "pass": number}
            found = engine.predictions(victims, clean)
            add_line(RESULTS, {**line, "labels": labels[rows].tolist(), "predictions": found})
            done.add((None, None, "clean", number))
        for attack in attacks(name):
            if attack.question not in questions or (name, attack.question, attack.label, number) in done:
                continue
            begin = time.time()
            adv = craft(surrogate, attack, rows, known)
            pixels = (adv * 255).round().to(torch.uint8)
            moved = (pixels.int() - images[rows].int()).abs()
            assert int(moved.max()) <= LEVELS
            line = {"surrogate": name, "question": attack.question, "recipe": attack.label, "pass": number, "eps": EPS}
            line["steps"] = attack.steps
            if attack.question == "objective":
                line["standing"] = standings(victims, clean, adv, labels[rows])
            add_line(
                RESULTS,
                {
                    **line,
                    "mean_levels": round(float(moved.float().mean()), 3),
                    **engine.answers(victims, adv),
                    "seconds": round(time.time() - begin, 1),
                    "torch": torch.__version__,
                    "linbp": linbp.__version__,
                },
            )
            print(f"pass {number}, {name}, {attack.question}, {attack.label}: {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--surrogate", action="append", choices=list(STARTS), help="default: all")
    parser.add_argument("--question", action="append", choices=QUESTIONS, help="default: all")
    parser.add_argument("--passes", type=int, default=13, help="how many times 24 photographs")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    options = parser.parse_args()
    if not options.tables:
        for name in options.surrogate or STARTS:
            compute(name, range(options.passes), options.question or list(QUESTIONS), options.compile)
    from imagenet_causes_tables import write

    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
