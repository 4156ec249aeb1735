"""How far attacks move the label's logit and the largest other one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common.lines import Lines
from common.pages import table
from common.photographs import Logits


@torch.no_grad()
def standing(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> list[float]:
    """The label's logit and the largest other one, means over the images that the network has right."""
    found, labels = logits[known].double(), labels[known, None]
    other = found.scatter(1, labels, -torch.inf).amax(1)
    return [float(found.gather(1, labels).mean()), float(other.mean())]


@torch.no_grad()
def measure(
    victims: dict[str, Logits], clean: torch.Tensor, adv: torch.Tensor, labels: torch.Tensor
) -> dict[str, dict[str, Any]]:
    """For each network, its `standing` on clean and adversarial images, over how many, and its clean logits' spread.

    The spread is the mean over images of the standard deviation over classes, a unit in which networks are comparable.
    """
    found = {}
    for name, logits in victims.items():
        before = logits(clean)
        known = before.argmax(1) == labels
        means = [standing(before, labels, known), standing(logits(adv), labels, known)]
        spread = float(before[known].double().std(1).mean())
        found[name] = {"clean": means[0], "adv": means[1], "n": int(known.sum()), "spread": spread}
    return found


def table_of(lines: Lines, surrogate: str, victims: list[str]) -> list[str]:
    """How far attacks moved the label's logit and the largest other one, where lines say so.

    Means over images, and then over victims, in standard deviations of a network's clean logits.
    """
    lines = [line for line in lines if "standing" in line]
    rows = []
    for recipe in dict.fromkeys(line["recipe"] for line in lines):
        told = [line["standing"] for line in lines if line["recipe"] == recipe]
        moved = {name: moves([each[name] for each in told]) for name in (surrogate, *victims)}
        means = [moved[surrogate], np.mean([moved[victim] for victim in victims], axis=0)]
        rows.append([recipe, *(f"{v:+.2f}" for label, other in means for v in (label, other, label - other))])
    heads = ["recipe", "itself: label", "largest other", "gap", "victims: label", "largest other", "gap"]
    head = "How far the attacks moved logits, in standard deviations of the network's logits on clean photographs:"
    return [head, "", *table(heads, rows), ""] if lines else []


def moves(told: Lines) -> np.ndarray:
    """By how much the label's logit and the largest other one of one network moved; mean over the images it knew."""
    gone = [(np.array(each["adv"]) - np.array(each["clean"])) / each["spread"] for each in told if each["n"]]
    return np.average(gone, axis=0, weights=[each["n"] for each in told if each["n"]])
