"""Choose the attacks of a suite on pilot victims and pilot images, and say what the choice is worth on the others.

    python experiments/exposure/choose.py cifar10
    python experiments/exposure/choose.py imagenet
"""

from __future__ import annotations

import argparse

import numpy as np
from answers import RESULTS, Answers, Pair, Run, mean_rate, worst_case

from linbp.evaluation.statistics import difference_by_image, mean_over_victims, paired_test

PILOT = {
    "cifar10": ("plain", "mobilenet_v2", "cct2_3x2"),
    "imagenet": ("mobilenetv2_tf1", "squeezenet1_0_dc", "efficientnet_lite2"),
}
OTHERS = {
    "cifar10": ("vgg19_bn", "resnet18", "resnet50", "wrn16_8"),
    "imagenet": ("mobilenetv1_tf1", "mobilenetv1_075_tf1", "mobilenet_edgetpu"),
}
SURROGATES = {
    "cifar10": ("vgg19_bn", "resnet18", "resnet50", "wrn16_8", "mobilenet_v2", "plain", "cct2_3x2"),
    "imagenet": ("squeezenet1_1", "efficientnet_lite0"),
}
"""Those that ship or that pip installs."""
SIZE = 5


def greedy(run: Run, candidates: list[Pair], victims: tuple[str, ...], images: slice) -> list[tuple[Pair, float]]:
    """The pairs that add most to the exposure, one after the other, and the exposure with each. All cost the same."""
    rows = run.rows(victims)
    left, taken, found = list(candidates), [], []
    for _ in range(SIZE):

        def exposure(pair: Pair) -> float:
            return mean_rate(worst_case([run.answers[one][rows][:, images] for one in (*taken, pair)]))

        best = max(left, key=exposure)
        found.append((best, exposure(best)))
        taken.append(best)
        left.remove(best)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(PILOT))
    data = parser.parse_args().data
    run = Run(RESULTS / f"{data}.parquet")
    half = len(run.images) // 2
    pilot, rest = slice(half), slice(half, None)
    candidates = [pair for pair in run.answers if pair[0] in SURROGATES[data] and run.gradients[pair] == 20]
    print(f"{len(candidates)} candidates, {half} pilot images, {len(run.images) - half} others")
    chosen = greedy(run, candidates, PILOT[data], pilot)
    rows = run.rows(OTHERS[data])
    for count, (pair, exposure) in enumerate(chosen, 1):
        there = worst_case([run.answers[one][rows][:, rest] for one, _ in chosen[:count]])
        print(f"{count} {pair[0]:20s} {pair[1]:20s} pilot {exposure:5.1f}   others {mean_rate(there):5.1f}")
    five = worst_case([run.answers[pair][rows][:, rest] for pair, _ in chosen])
    print("five:", said(five))
    (long,) = [pair for pair in run.answers if run.gradients[pair] == SIZE * 20]
    one = run.answers[long][rows][:, rest]
    print("one, of the same cost:", long, said(one))
    both = (five >= 0) & (one >= 0)
    print("difference:", paired_test(difference_by_image(five == 1, one == 1, both), unit=100, flips=9_999))


def said(answers: Answers) -> str:
    """A mean over victims with its interval, and every victim."""
    shown = [row for row in answers if (row >= 0).any()]
    success, counted = np.stack(shown) == 1, np.stack(shown) >= 0
    each = " ".join(f"{100 * (row == 1).sum() / (row >= 0).sum():.0f}/{(row >= 0).sum()}" for row in shown)
    return f"{mean_over_victims(success, counted, unit=100)}; by victim {each}"


if __name__ == "__main__":
    main()
