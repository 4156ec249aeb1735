"""The figures of docs/suites.md, computed again from the answers that are stored, and the suites that came out."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from linbp.audit.audit_suite import read_audit_suite

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "exposure"
TITLES = {"CIFAR-10, eps 4/255": "cifar10", "photographs, eps 8/255": "imagenet"}
OTHERS = {
    "cifar10": {"vgg19_bn", "resnet18", "resnet50", "wrn16_8"},
    "imagenet": {"mobilenetv1_tf1", "mobilenetv1_075_tf1", "mobilenet_edgetpu"},
}
PILOT = {
    "cifar10": {"plain", "mobilenet_v2", "cct2_3x2"},
    "imagenet": {"mobilenetv2_tf1", "squeezenet1_0_dc", "efficientnet_lite2"},
}
PILOT["imagenet-4"] = PILOT["imagenet"]
OTHERS["imagenet-4"] = OTHERS["imagenet"]
SURROGATES = {
    "cifar10": {
        "VGG-19-BN": "vgg19_bn",
        "ResNet-18": "resnet18",
        "ResNet-50": "resnet50",
        "WRN-16-8": "wrn16_8",
        "MobileNet v2": "mobilenet_v2",
        "plain": "plain",
        "CCT-2": "cct2_3x2",
    },
    "imagenet": {
        "SqueezeNet 1.1": "squeezenet1_1",
        "EfficientNet-Lite0": "efficientnet_lite0",
        "MobileNet v2": "mobilenetv2_tf1",
        "MobileNet EdgeTPU": "mobilenet_edgetpu",
    },
}
SURROGATES["imagenet-4"] = SURROGATES["imagenet"]

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="the results are not in the source distribution")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def answers() -> dict[str, Rows]:
    """Those that count: of victims that had the clean image right, and that the attack was not made on."""
    found = {}
    for data in OTHERS:
        rows = pq.read_table(RESULTS / f"{data}.parquet").to_pylist()
        found[data] = [row for row in rows if row["selected"] and not row["white_box"] and row["success"] is not None]
    return found


def table(name: str) -> list[list[str]]:
    """The cells of one table of the page, without its head."""
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    lines = text.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]


def number(cell: str) -> float:
    return float(re.sub(r"<.*|\*", "", cell))


def mean_over_victims(rows: Rows) -> float:
    """In per cent; an image counts once for a victim, as fooled if any of the rows says so."""
    fooled: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        fooled[row["victim"]][row["image_id"]] = fooled[row["victim"]].get(row["image_id"], False) or row["success"]
    return 100 * sum(sum(one.values()) / len(one) for one in fooled.values()) / len(fooled)


def test_every_mean_by_leak(answers: dict[str, Rows]) -> None:
    shown = table("leaks")
    assert [row[1] for row in shown] == [*SURROGATES["cifar10"], *SURROGATES["imagenet"]]
    for title, surrogate, _, *cells in shown:
        data = TITLES[title]
        mine = [row for row in answers[data] if row["surrogate"] == SURROGATES[data][surrogate]]
        recipes = ["di-mi", *(f"leak-{leak}" for leak in (0.05, 0.1, 0.2, 0.3, 0.5))][: len([c for c in cells if c])]
        found = [mean_over_victims([row for row in mine if row["recipe"] == recipe]) for recipe in recipes]
        assert [number(cell) for cell in cells if cell] == pytest.approx(found, abs=0.0501)


def test_what_constant_leaks_lose(answers: dict[str, Rows]) -> None:
    shown = {row[0]: row[2:] for row in table("rules")}
    for constant in ("0.1", "0.2"):
        lost = []
        for data in TITLES.values():
            names = SURROGATES[data]
            for name in names.values():
                by_leak = defaultdict(list)
                for row in answers[data]:
                    if row["surrogate"] == name and re.fullmatch(r"leak-[\d.]+", row["recipe"]):
                        by_leak[row["recipe"]].append(row)
                means = {recipe: mean_over_victims(rows) for recipe, rows in by_leak.items()}
                lost.append(max(means.values()) - means[f"leak-{constant}"])
        assert [number(cell) for cell in shown[constant]] == pytest.approx(lost, abs=0.0501)


def steps(data: str) -> list[tuple[tuple[str, str], float, float]]:
    """Surrogate and recipe, exposure on the pilot, exposure on the others, in the order in which they were picked."""
    return [
        ((SURROGATES[data][one], recipe), number(pilot), number(there))
        for _, one, recipe, pilot, there in table(f"{data}-steps")
    ]


@pytest.mark.parametrize("data", sorted(OTHERS))
def test_every_exposure_of_the_chosen_and_of_one_of_their_cost(answers: dict[str, Rows], data: str) -> None:
    kept = pq.read_table(RESULTS / f"{data}.parquet", columns=["image_id"])["image_id"].to_pylist()
    images = list(dict.fromkeys(kept))
    half, rest = set(images[: len(images) // 2]), set(images[len(images) // 2 :])
    others = [row for row in answers[data] if row["victim"] in OTHERS[data] and row["image_id"] in rest]
    mine = [row for row in answers[data] if row["victim"] in PILOT[data] and row["image_id"] in half]
    chosen: Rows = []
    pilots: Rows = []
    for pair, pilot, there in steps(data):
        chosen += [row for row in others if (row["surrogate"], row["recipe"]) == pair]
        pilots += [row for row in mine if (row["surrogate"], row["recipe"]) == pair]
        assert pilot == pytest.approx(mean_over_victims(pilots), abs=0.0501)
        assert there == pytest.approx(mean_over_victims(chosen), abs=0.0501)
    five, one = table(f"{data}-worth")
    assert number(five[1]) == pytest.approx(mean_over_victims(chosen), abs=0.0501)
    long = [row for row in others if row["gradients"] == 100]
    assert number(one[1]) == pytest.approx(mean_over_victims(long), abs=0.0501)


@pytest.mark.parametrize(("name", "data", "least"), [("cifar10", "cifar10", 0.0), ("imagenet", "imagenet-4", 2.0)])
def test_a_suite_has_the_attacks_that_add_enough(answers: dict[str, Rows], name: str, data: str, least: float) -> None:
    before, wanted = 0.0, []
    for pair, pilot, _ in steps(data):
        if pilot - before >= least:
            wanted.append(pair)
        before = pilot
    texts = {(row["surrogate"], row["recipe"]): row["recipe_text"] for row in answers[data]}
    suite = read_audit_suite(f"exposure-{name}-1")
    found = [(one.surrogates[0].removeprefix("demo:").removeprefix("cifar10/"), one.recipe) for one in suite.attacks]
    assert found == [(pair[0], texts[pair]) for pair in wanted]
