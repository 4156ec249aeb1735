"""`--time`: as many images and steps as the clock allows, and what is said of the cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from fitted_networks import fitted, write_patterned
from hypothesis import given
from hypothesis import strategies as st

from linbp.audit.fit import FEWEST, KEPT, Pace, fit_time, read_duration
from linbp.audit.prepare import AuditPlan
from linbp.audit.run_audit import run_audit
from linbp.bench.clean_images import list_entries
from linbp.bench.suite_data import DemoData, FilesData
from linbp.errors import BudgetError


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("2h", 7200), ("1h30m", 5400), (" 1h 5s ", 3605), ("0.5m", 30)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "15 minutes", "-5m", "0s", "1d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BudgetError):
        read_duration(text)


@given(
    st.integers(1, 2000),
    st.integers(1, 60),
    st.floats(1e-4, 1),
    st.floats(1e-4, 5),
    st.floats(1, 1e5),
)
def test_it_fits_and_takes_no_more_than_it_must(
    images: int, steps: int, crafting: float, asking: float, allowed: float
) -> None:
    pace = Pace(images, steps, crafting, asking)
    half = -(-steps // 2)
    try:
        found = fit_time(pace, allowed)
    except BudgetError:
        assert pace.seconds(min(images, FEWEST), half) > allowed * (1 - 1e-9)
        return
    assert min(images, FEWEST) <= found.images <= images
    assert half <= found.steps <= steps
    assert pace.seconds(found.images, found.steps) <= allowed * (1 + 1e-9)
    assert bool(found.words) is (found.images < images or found.steps < steps)
    if found.images < images:  # one image more would not fit
        assert pace.seconds(found.images + 1, found.steps) > allowed * (1 - 1e-9) or found.images == KEPT
    if found.steps < steps:  # and steps go only where images are down to `KEPT`
        assert found.images <= min(images, KEPT)
        assert found.images < min(images, KEPT) or pace.seconds(found.images, found.steps + 1) > allowed * (1 - 1e-9)


def test_a_sample_is_spread_over_the_list_and_grows(tmp_path: Path) -> None:
    photos = write_patterned(tmp_path, 40)
    data = FilesData(kind="csv", path=str(photos))
    whole = [entry.record.image_id for entry in list_entries(data, Path()).entries]
    before: set[str] = set()
    for count in (1, 5, 12, 39, 40, 100):
        chosen = list_entries(data.model_copy(update={"sample": count}), Path()).entries
        names = [entry.record.image_id for entry in chosen]
        assert len(names) == min(count, 40)
        assert before <= set(names)
        assert names == [name for name in whole if name in names]  # in the list's order
        before = set(names)
    twelve = {whole.index(name) for name in before}
    assert max(twelve) - min(twelve) > 20


def test_a_sample_of_images_that_have_no_files() -> None:
    data = DemoData(kind="demo", images="cifar10", sample=7)
    found = list(list_entries(data, Path()).entries)
    assert len(found) == 7
    assert len({entry.record.label for entry in found}) > 1


def test_an_audit_in_a_little_time_says_what_it_costs_and_goes_on_as_it_began(tmp_path: Path) -> None:
    photos = write_patterned(tmp_path / "photos", 160)
    options = {"surrogates": [fitted(0)], "eps": ["8/255"]}
    with pytest.raises(BudgetError):
        run_audit(fitted(1), photos, tmp_path / "run", time=0.001, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    plans: list[AuditPlan] = []

    class Enough(Exception):
        """The plan is known."""

    def announce(plan: AuditPlan) -> None:
        plans.append(plan)
        raise Enough

    # So much time that everything fits: nothing is taken away.
    with pytest.raises(Enough):
        run_audit(fitted(1), photos, tmp_path / "run", time=1e6, announce=announce, **options)  # type: ignore[arg-type]
    assert (plans[0].images, plans[0].steps, plans[0].fitted) == (160, (20,), "")
    # What an earlier start was fitted to is kept, whatever the clock says now.
    made = run_audit(fitted(1), photos, tmp_path / "run", images=24, budget=9, **options)  # type: ignore[arg-type]
    assert made.images == 24
    again = run_audit(fitted(1), photos, tmp_path / "run", time=1e6, budget=60, **options)  # type: ignore[arg-type]
    assert again.images == 24
    assert again.headline == made.headline
    (flag,) = [flag for flag in again.flags if flag.kind == "time"]
    assert "24 of 160 images" in flag.text
    assert "3 of 20 gradients" in flag.text
