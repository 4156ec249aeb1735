"""Audits of a model with classes of its own, attacked on a network of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from colours import COLOURS, COUNT, colours, surrogate, write_photos

from linbp.audit.prepare import AuditPlan
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit
from linbp.errors import ImageError, ModelError
from linbp.evaluation import evaluate_folder
from linbp.report.audit.write import write_audit

SETTINGS: dict[str, Any] = {"eps": ["16/255"], "budget": 48}


def audited(photos: Path, out: Path, **options: Any) -> tuple[Audit, AuditPlan]:
    plans: list[AuditPlan] = []
    found = run_audit(
        options.pop("victim", None) or colours(names=COLOURS), photos, out, announce=plans.append, **SETTINGS, **options
    )
    return found, plans[0]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def test_attacks_lead_away_from_the_surrogates_own_predictions(photos: Path, tmp_path: Path) -> None:
    found, plan = audited(photos, tmp_path / "run", surrogates=[surrogate()])
    assert "other classes than the model" in " ".join(plan.notes)
    assert found.victim.clean.successes == COUNT
    assert [one.kind for one in found.flags if one.kind == "surrogate-classes"] == ["surrogate-classes"]
    assert not any(one.serious for one in found.flags if one.kind == "surrogate-classes")
    assert [one.other_classes for one in found.surrogates] == [True]
    assert found.class_names == COLOURS
    fooled: set[str] = set()
    for attack in found.headline.attacks:
        evaluated = evaluate_folder(
            tmp_path / "run" / "attacks" / attack.attack, [colours(names=COLOURS)], labels="given"
        )
        (one,) = evaluated.evaluations
        assert attack.rate.successes == one.statistics.success.successes
        fooled |= {record.image_id for record in one.records if record.fooled}
        (home,) = evaluate_folder(tmp_path / "run" / "attacks" / attack.attack, [surrogate()]).evaluations
        assert (attack.own.successes, attack.own.n) == (home.statistics.fooled.successes, COUNT)
    assert found.exposure[16 / 255].successes == len(fooled) > 0
    assert {one.label for one in found.examples} <= set(COLOURS)
    write_audit(found)
    assert "other classes" in (tmp_path / "run" / "report.html").read_text()


def test_folders_are_sorted_where_the_model_names_no_classes(photos: Path, tmp_path: Path) -> None:
    order = [sorted(one.replace(" ", "_") for one in COLOURS).index(one.replace(" ", "_")) for one in COLOURS]
    turned = colours([order.index(at) for at in range(3)])
    found, plan = audited(photos, tmp_path / "run", victim=turned, surrogates=[surrogate()])
    assert found.victim.clean.successes == COUNT
    assert "ImageFolder" in plan.notes[0]
    assert any(one.kind == "classes" and "ImageFolder" in one.text for one in found.flags)
    with pytest.raises(ImageError, match="'rot'"):
        audited(photos, tmp_path / "other", surrogates=[surrogate()], classes=("a", "b", "c"))


def test_without_a_surrogate_the_ways_out_are_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No network that comes with linbp has the 3 classes") as caught:
        audited(photos, tmp_path / "run")
    assert "demo:squeezenet1_1" in caught.value.hint


def test_trusted_labels_are_not_suspected_of_another_order(photos: Path, tmp_path: Path) -> None:
    names = [COLOURS[at] for at in (1, 0, 2)]  # the first two are called by each other's name
    with pytest.raises(ModelError, match="different orders"):
        audited(photos, tmp_path / "run", victim=colours(names=names), surrogates=[surrogate()])
    found, _ = audited(
        photos, tmp_path / "run", victim=colours(names=names), surrogates=[surrogate()], trust_labels=True
    )
    assert found.victim.clean.successes == COUNT // 3
