"""An audit that trains a substitute on the model's answers first, and attacks on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitted_networks import fitted, patterned, write_patterned
from jsonschema import validate

import linbp
from linbp.audit.audit_suite import read_audit_suite
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit
from linbp.errors import ImageError, StoreError
from linbp.report.audit import json as as_json
from linbp.report.audit.write import write_audit

BACKBONE = """
import torch
from torch import nn
import linbp


def seven():
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(128, 7)]
    return linbp.Model(nn.Sequential(*layers), input_size=16, mean=0.5, std=0.2, name="seven")
"""


class Service:
    """The network 1 behind a wall; it counts the images it is asked about."""

    name = "service"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(images))
        return fitted(1).logits(images)

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}


def audited(folder: Path, victim: Service, **options: Any) -> Audit:
    (folder / "net.py").write_text(BACKBONE)
    photos, more = write_patterned(folder / "photos", 40), folder / "more"
    if not more.exists():
        write_patterned(more, 120, seed=9)
    given = {"queries": 100, "backbone": f"file:{folder}/net.py:seven", "query_data": more, **options}
    return run_audit(victim, photos, folder / "run", eps=["16/255"], budget=24, **given)


def test_the_attacks_are_made_on_what_the_answers_taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linbp.audit.substitute.LEAST_STEPS", 60)
    victim = Service()
    audit = audited(tmp_path, victim)
    assert victim.asked[1:5] == [32, 32, 32, 4]  # behind the one image that says how many classes there are
    (surrogate,) = audit.surrogates
    assert (audit.queries.attacker, surrogate.queries) == (100, 100)
    assert surrogate.agreement is not None
    assert (surrogate.agreement.n, audit.named) == (20, True)

    substitute = linbp.load_model(tmp_path / "run" / "substitute")
    images, labels = patterned(40)
    ids = [f"i{number:03}" for number in range(40)]
    wrong = []
    for recipe in read_audit_suite("exposure-own-1").recipes.values():
        adv = linbp.craft(substitute, images, labels, recipe, eps="16/255", steps=8, ids=ids, batch_size=16)
        wrong.append((fitted(1).logits(adv).argmax(1) != labels).numpy())
    right = (fitted(1).logits(images / 255).argmax(1) == labels).numpy()
    assert audit.exposure[16 / 255].successes == int((np.any(wrong, axis=0) & right).sum())

    facts = as_json.to_dict(audit)
    validate(facts, as_json.schema())
    assert facts["threat_model"]["attacker_queries"] == 100
    assert "AML.T0005.001" in json.dumps(facts["threat_model"]["atlas"])
    write_audit(audit)
    assert "substitute" in (tmp_path / "run" / "report.html").read_text()

    again = Service()
    assert audited(tmp_path, again).exposure == audit.exposure
    assert 32 not in again.asked  # of those questions none is asked again


def test_what_cannot_be_is_refused_before_a_question(tmp_path: Path) -> None:
    victim = Service()
    with pytest.raises(ImageError, match="no folder"):
        audited(tmp_path, victim, query_data=tmp_path / "nowhere")
    with pytest.raises(StoreError, match="cannot be trained in s3"):
        run_audit(victim, write_patterned(tmp_path / "photos", 8), "s3://bucket/run", queries=10)
    assert not victim.asked
