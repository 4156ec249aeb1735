"""Rates and intervals against statsmodels, the formula on paper, and a plain loop."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from linbp.evaluation import Record, rate, summarise


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson (1927) as printed in textbooks, with the normal quantile 1.959963984540054."""
    z, share = 1.959963984540054, successes / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def test_an_interval_that_was_computed_by_hand() -> None:
    # n = 10, no success: the interval is [0, z^2 / (n + z^2)] = [0, 3.8415 / 13.8415].
    found = rate(0, 10)
    assert found.value == 0
    assert found.low == pytest.approx(0, abs=1e-12)
    assert found.high == pytest.approx(0.27753, abs=1e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_wilsons(counts: tuple[int, int]) -> None:
    found = rate(*counts)
    assert (found.low, found.high) == pytest.approx(wilson(*counts), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)
    assert found.value is not None
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 2e-12


def test_without_images_nothing_is_claimed() -> None:
    nothing = rate(0, 0)
    assert nothing.value is None
    assert (nothing.low, nothing.high) == (0, 1)


def some_records(targeted: bool) -> list[Record]:
    draw = random.Random(3)
    return [
        Record(
            image_id=str(number),
            label=draw.randrange(3),
            target=draw.randrange(3) if targeted else None,
            clean_prediction=draw.randrange(3),
            adv_prediction=draw.randrange(3),
            linf=draw.randrange(9),
            l2=draw.random(),
        )
        for number in range(200)
    ]


@pytest.mark.parametrize("targeted", [False, True])
def test_statistics_are_those_of_a_plain_loop(targeted: bool) -> None:
    records = some_records(targeted)
    known = fooled = can_hit = hit = wrong = most = 0
    changes = norms = 0.0
    for record in records:
        changes += record.linf
        norms += record.l2
        most = max(most, record.linf)
        if record.adv_prediction != record.label:
            wrong += 1
        if record.clean_prediction == record.label:
            known += 1
            if record.adv_prediction != record.label:
                fooled += 1
            if targeted and record.target != record.label:
                can_hit += 1
                if record.adv_prediction == record.target:
                    hit += 1
    found = summarise(records)
    assert (found.images, found.right_on_clean) == (200, known)
    assert (found.fooled.successes, found.fooled.n) == (fooled, known)
    assert (found.wrong.successes, found.wrong.n) == (wrong, 200)
    assert (found.wrong_on_clean.successes, found.wrong_on_clean.n) == (200 - known, 200)
    assert (found.linf_mean, found.linf_max, found.l2_mean) == pytest.approx((changes / 200, most, norms / 200))
    if targeted:
        assert found.hit is not None
        assert (found.hit.successes, found.hit.n) == (hit, can_hit)
        assert found.success is found.hit
        assert 0 < can_hit < known
    else:
        assert found.hit is None
        assert found.success is found.fooled


def test_a_victim_that_knows_no_image_gives_valid_json() -> None:
    record = Record(image_id="a", label=0, target=None, clean_prediction=1, adv_prediction=1, linf=0, l2=0.0)
    text = json.dumps(summarise([record]).to_dict(), allow_nan=False)
    assert json.loads(text)["fooled"] == {"successes": 0, "n": 0, "value": None, "low": 0.0, "high": 1.0}
