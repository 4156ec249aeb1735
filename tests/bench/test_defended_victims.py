"""Victims behind defences in a run and in an audit: their answers, files and words of their own."""

from __future__ import annotations

from pathlib import Path

import torch
from fitted_networks import fitted, write_patterned
from small_suites import small_suite
from tiny_networks import images_and_labels, tiny, tiny_chain

import linbp
from linbp.audit.run_audit import run_audit
from linbp.bench.run import run_bench
from linbp.data.predictions import ABSTAINED
from linbp.models.defences import behind

# At this noise some votes are clear, and some are not.
CHAINS = {"jpeg": "jpeg(40)", "vote": "smoothing(0.1, n=8, alpha=0.02)", "both": "jpeg(40) | resize-pad(1.5)"}


def test_a_run_asks_each_chain_and_counts_no_abstention_as_a_success(tmp_path: Path) -> None:
    net = f"file:{tmp_path}/nets.py:tiny_chain"
    victims = {"plain": net, **{name: f"{chain} | {net}" for name, chain in CHAINS.items()}}
    suite = small_suite(tmp_path, victims=victims, eps=["64/255"], recipes=["mifgsm"], selection="none")
    run = run_bench(suite, tmp_path / "run")
    rows = run.results.to_pylist()
    images, labels = images_and_labels(10)
    adv = linbp.craft(tiny(), images, labels, "mifgsm", eps=64 / 255, steps=3, ids=[f"i{n:03}" for n in range(10)])
    for name, chain in {"plain": None, **CHAINS}.items():
        network = tiny_chain() if chain is None else behind(chain, tiny_chain())
        before, after = (network.logits(one.to(torch.float64)) for one in (images / 255, adv))
        mine = [row for row in rows if row["victim"] == name]
        for row, clean, changed, label in zip(mine, before, after, labels.tolist(), strict=True):
            found = [ABSTAINED if name == "vote" and not one.any() else int(one.argmax()) for one in (clean, changed)]
            assert [row["clean_prediction"], row["adv_prediction"]] == found
            counted = found[0] == label
            assert row["success"] == (found[1] not in (label, ABSTAINED) if counted else None)
    predictions = [
        row[key] for row in rows if row["victim"] == "vote" for key in ("clean_prediction", "adv_prediction")
    ]
    assert ABSTAINED in predictions
    assert len(set(predictions)) > 2, "and some votes are clear"
    answers = {path.name for path in (tmp_path / "run" / "answers").iterdir()}
    assert len({name.partition("-")[0] for name in answers}) == 4
    assert len({name.rpartition("-")[2] for name in answers}) == len(answers), "no two victims share a key"


def test_an_audit_of_a_defended_model_says_what_is_done_to_images(tmp_path: Path) -> None:
    photos = write_patterned(tmp_path / "photos", 24)
    victim = behind("jpeg(60) | bits(6)", fitted(1))
    audit = run_audit(victim, photos, tmp_path / "run", surrogates=[fitted(0)], eps=["8/255"], budget=8)
    assert audit.victim.preprocessing.startswith("jpeg(60), then bits(6), then resized as a whole to ")
    assert audit.victim.name.startswith("jpeg(60) | bits(6) | ")
