"""A baseline fails only on a significant paired worsening; references are compared under attacks made on neither."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from fitted_networks import fitted, write_networks, write_patterned
from scipy.stats import binomtest

from linbp.audit.compare import compare_with_baseline, open_baseline
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit
from linbp.bench.table import read_results
from linbp.errors import LinbpError, StoreError

OPTIONS: dict[str, Any] = {"surrogates": [fitted(0)], "eps": ["8/255", "16/255"], "budget": 15}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, networks, and audits of a weak and of a strong network."""
    folder = tmp_path_factory.mktemp("compared")
    write_patterned(folder / "photos", 48)
    write_networks(folder)
    for name, seed in (("weak", 1), ("strong", 2)):
        run_audit(fitted(seed), folder / "photos", folder / name, **OPTIONS)
    return folder


def fooled(run: Path, eps: str) -> tuple[dict[str, bool], set[str]]:
    """By hand: which images any attack fools, and which count."""
    worst: dict[str, bool] = {}
    counted = set()
    for row in read_results(run).to_pylist():
        if row["eps_text"] == eps and row["clean_prediction"] == row["label"]:
            counted.add(row["image_id"])
            worst[row["image_id"]] = worst.get(row["image_id"], False) or row["adv_prediction"] != row["label"]
    return worst, counted


def test_a_weaker_model_fails_against_a_stronger_one_and_not_the_other_way(place: Path) -> None:
    weak = run_audit(fitted(1), place / "photos", place / "weak", baseline=place / "strong", **OPTIONS)
    strong = run_audit(fitted(2), place / "photos", place / "strong", baseline=place / "weak", **OPTIONS)
    assert weak.baseline is not None
    assert strong.baseline is not None
    assert weak.failed
    assert weak.judged
    assert not strong.failed
    for one, back in zip(weak.baseline.changes, strong.baseline.changes, strict=True):
        assert one.difference.value == pytest.approx(-back.difference.value)
        assert (one.won, one.lost) == (back.lost, back.won)
        (before, knew), (after, knows) = fooled(place / "strong", one.eps_text), fooled(place / "weak", one.eps_text)
        both = knew & knows
        lost = sum(after[name] and not before[name] for name in both)
        won = sum(before[name] and not after[name] for name in both)
        assert (one.lost, one.won, one.before.n) == (lost, won, len(both))
        assert one.difference.p == pytest.approx(binomtest(lost, lost + won).pvalue)
        assert one.difference.value == pytest.approx(100 * (lost - won) / len(both))
    p = sorted(one.difference.p for one in weak.baseline.changes)
    assert sorted(one.adjusted for one in weak.baseline.changes) == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_the_same_model_has_not_changed(place: Path) -> None:
    again = run_audit(fitted(2), place / "photos", place / "again", baseline=place / "strong", **OPTIONS)
    assert again.baseline is not None
    assert not again.failed
    assert again.baseline.sha256 == again.victim.sha256
    assert [(one.won, one.lost, one.difference.p) for one in again.baseline.changes] == [(0, 0, 1.0)] * 2


def test_a_worsening_that_may_be_chance_does_not_fail(place: Path) -> None:
    _, before = open_baseline(place / "strong")
    record, after = open_baseline(place / "strong")
    changed = after.answers

    def a_little_worse(number: int) -> np.ndarray[Any, Any]:
        found = changed(number).copy()
        found[np.flatnonzero(found == 0)[:3]] = 1  # three images more: p = 0.25
        return found

    after.answers = a_little_worse  # type: ignore[method-assign]
    found = compare_with_baseline("strong", record, before, after, record.images)
    assert all(one.difference.value > 0 for one in found.changes)
    assert not found.worse


def test_a_baseline_with_other_images_labels_or_attacks_is_refused(place: Path, tmp_path: Path) -> None:
    other = write_patterned(tmp_path / "photos", 48, seed=5)
    with pytest.raises(StoreError, match="other images"):
        run_audit(fitted(1), other, tmp_path / "run", baseline=place / "strong", **OPTIONS)
    assert not list((tmp_path / "run").rglob("attacks"))
    fewer = {**OPTIONS, "eps": ["4/255"]}
    with pytest.raises(StoreError, match="no attack in common"):
        run_audit(fitted(1), place / "photos", tmp_path / "radius", baseline=place / "strong", **fewer)
    assert not list((tmp_path / "radius").rglob("attacks"))
    # The same folder takes an audit without that baseline.
    assert run_audit(fitted(1), place / "photos", tmp_path / "radius", **fewer).complete
    shutil.copytree(place / "strong", tmp_path / "renamed")
    content = json.loads((tmp_path / "renamed" / "audit.json").read_text())
    content["images"] = {f"x{name}": sha256 for name, sha256 in content["images"].items()}
    (tmp_path / "renamed" / "audit.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="none has the name"):
        run_audit(fitted(1), place / "photos", tmp_path / "names", baseline=tmp_path / "renamed", **OPTIONS)
    (tmp_path / "renamed" / "audit.json").unlink()
    with pytest.raises(StoreError, match="no audit"):
        run_audit(fitted(1), place / "photos", tmp_path / "names", baseline=tmp_path / "renamed", **OPTIONS)


@pytest.fixture(scope="module")
def with_references(place: Path) -> Audit:
    """An audit by a suite of its own, whose networks lie in a file."""
    nets = f"file:{place / 'nets.py'}"
    suite = {
        "name": "mine",
        "version": "7",
        "about": "For this test.",
        "classes": 4,
        "eps": ["16/255"],
        "decisive": "16/255",
        "steps": 3,
        "references": [f"{nets}:third", f"{nets}:first", f"{nets}:second"],
        "attacks": [
            {"name": "mi", "recipe": "mifgsm", "surrogates": [f"{nets}:absent", f"{nets}:second", f"{nets}:first"]},
            {"name": "di", "recipe": "di + mi", "surrogates": [f"{nets}:third"]},
            {"name": "mi", "recipe": "mifgsm", "surrogates": [f"{nets}:third"]},
            {"name": "lost", "recipe": "mifgsm", "surrogates": [f"{nets}:absent"]},
        ],
    }
    (place / "mine.toml").write_text(tomli_w.dumps(suite))
    return run_audit(f"{nets}:second", place / "photos", place / "mine", suite=str(place / "mine.toml"))


def test_each_attack_is_made_on_the_first_network_that_can_be_used(with_references: Audit, place: Path) -> None:
    nets = f"file:{place / 'nets.py'}"
    pairs = {(one.recipe, one.surrogate) for one in with_references.headline.attacks}
    assert pairs == {("mi", f"{nets}:first"), ("di", f"{nets}:third"), ("mi", f"{nets}:third")}
    left_out = {one.network: one.why for one in with_references.left_out}
    assert left_out.keys() == {f"{nets}:absent", f"{nets}:second"}
    assert "itself" in left_out[f"{nets}:second"]
    assert not with_references.suite.draft
    assert "draft-suite" not in {flag.kind for flag in with_references.flags}


def test_references_are_compared_under_attacks_made_on_neither(with_references: Audit, place: Path) -> None:
    nets = f"file:{place / 'nets.py'}"
    rows = read_results(with_references.out).to_pylist()
    victim = with_references.victim.name
    assert {one.name for one in with_references.references} == {f"{nets}:first", f"{nets}:third"}
    for one in with_references.references:
        allowed = {row["attack"] for row in rows if row["victim"] == one.name and not row["white_box"]}
        assert one.attacks == len(allowed) == (2 if one.name.endswith("first") else 1)
        worst: dict[tuple[str, str], bool] = {}
        for row in rows:
            if row["attack"] in allowed and row["clean_prediction"] == row["label"]:
                key = (row["victim"], row["image_id"])
                worst[key] = worst.get(key, False) or row["adv_prediction"] != row["label"]
        both = [name for who, name in worst if who == victim and (one.name, name) in worst]
        assert one.victim.n == one.exposure.n == len(both)
        assert one.victim.successes == sum(worst[victim, name] for name in both)
        assert one.exposure.successes == sum(worst[one.name, name] for name in both)
        gap = 100 * (one.victim.successes - one.exposure.successes) / len(both)
        assert one.difference.value == pytest.approx(gap)
        assert one.verdict == ("alike" if one.adjusted > 0.05 else "more" if gap > 0 else "less")


def test_networks_that_do_not_know_the_classes_are_no_surrogates(place: Path, tmp_path: Path) -> None:
    write_patterned(tmp_path / "other", 48, shift=1)
    with pytest.raises(LinbpError) as caught:
        run_audit(
            f"file:{place / 'nets.py'}:second", tmp_path / "other", tmp_path / "run", suite=str(place / "mine.toml")
        )
    assert "no surrogate" in caught.value.message
    assert "0 of 32" in caught.value.message
    assert "--surrogate" in caught.value.hint
    assert not (tmp_path / "run").exists()
