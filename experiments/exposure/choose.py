"""The attacks of a suite, chosen on pilot victims and pilot images, and what the choice does to the others."""

from __future__ import annotations

from answers import Answers, Pair, Run, mean_rate, worst_case

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
PILOT["imagenet-4"], OTHERS["imagenet-4"], SURROGATES["imagenet-4"] = (
    one["imagenet"] for one in (PILOT, OTHERS, SURROGATES)
)  # the same at half the radius
SIZE, GRADIENTS = 5, 20


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


def candidates(data: str, run: Run) -> list[Pair]:
    """The pairs that a suite can have, all of one cost."""
    return [pair for pair in run.answers if pair[0] in SURROGATES[data] and run.gradients[pair] == GRADIENTS]


def halves(run: Run) -> tuple[slice, slice]:
    """The pilot images and the others."""
    half = len(run.images) // 2
    return slice(half), slice(half, None)


def compared(data: str, run: Run) -> tuple[Answers, Answers, Pair]:
    """On the other victims and images: the suite, and the best single attack of the pilot at the same total cost."""
    pilot, rest = halves(run)
    rows = run.rows(OTHERS[data])
    chosen = [pair for pair, _ in greedy(run, candidates(data, run), PILOT[data], pilot)]
    (long,) = [pair for pair in run.answers if run.gradients[pair] == SIZE * GRADIENTS]
    if (long[0], long[1].removesuffix("-long")) != chosen[0]:
        raise KeyError(f"the attack of {SIZE * GRADIENTS} gradients is {long}, and the pilot's best is {chosen[0]}")
    return worst_case([run.answers[pair][rows][:, rest] for pair in chosen]), run.answers[long][rows][:, rest], long
