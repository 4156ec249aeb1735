"""Servers that misbehave: what passes is asked again, what does not is one clear line, what was answered is kept."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oip_server import Fault, OipServer, mean_scores, serve

import linbp
from linbp.errors import LinbpError, ModelError, StoreError
from linbp.models import load_model
from linbp.models.oip import faults
from linbp.models.oip.faults import retry_after


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first repetition comes after a few milliseconds."""
    monkeypatch.setattr(faults, "FIRST", 0.005)


def pixels(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)).float() / 255


def named(server: OipServer, folder: Path, **fields: Any) -> str:
    file = folder / "side.json"
    file.write_text(json.dumps({"batch": 2, "timeout": 5, **fields}))
    return f"{server.name}@{file}"


def once(fault: Fault, number: int = 1) -> Callable[[int], Fault | None]:
    """That fault for one request."""
    return lambda asked: fault if asked == number else None


PASSING = {
    "500": Fault(status=500, body=b'{"error": "busy"}'),
    "502": Fault(status=502, body=b"<html>Bad gateway</html>"),
    "503": Fault(status=503, body=b""),
    "504": Fault(status=504, body=b"\xff\xfe"),
    "429": Fault(status=429, body=b"{}", headers={"Retry-After": "0.05"}),
    "reset": Fault(reset=True),
    "hang": Fault(pause=0.6),
    "cut short": Fault(cut=20),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(tmp_path: Path, name: str) -> None:
    images = pixels(6)
    timeout = 0.2 if name == "hang" else 5
    with serve(fault=once(PASSING[name])) as server:
        model = load_model(named(server, tmp_path, timeout=timeout))
        found = model.logits(images)
        assert torch.equal(found, torch.from_numpy(mean_scores(images.numpy())))
        assert len(server.asked) == 4
        assert model.queries.images == server.images == 8  # type: ignore[union-attr]
        if name == "429":
            assert server.asked[2].time - server.asked[1].time >= 0.05


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_ends_after_the_retries(tmp_path: Path, name: str) -> None:
    with serve(fault=lambda asked: PASSING[name]) as server:
        model = load_model(named(server, tmp_path, retries=2, timeout=0.2 if name == "hang" else 5))
        with pytest.raises(ModelError, match="3 times in vain") as error:
            model.logits(pixels(2))
        assert "kept" in error.value.hint
        assert len(error.value.message.splitlines()) == 1
        assert len(server.asked) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_what_cannot_pass_is_asked_once(tmp_path: Path, status: int) -> None:
    fault = Fault(status=status, body=b'{"error": "no, never"}', headers={"Location": "http://127.0.0.1:9/"})
    with serve(fault=lambda asked: fault) as server:
        model = load_model(named(server, tmp_path))
        with pytest.raises(ModelError, match=f"{status} .*no, never") as error:
            model.logits(pixels(2))
        assert error.value.hint
        assert len(server.asked) == 1


WRONG: dict[str, tuple[dict[str, Any] | bytes, str, str]] = {
    "truncated JSON": (b'{"model_name": "mean", "outputs": [{"name": "scores", "data": [1.0, ', "cannot be read", ""),
    "no JSON": (b"hello", "cannot be read", ""),
    "a list": (b"[1, 2]", "cannot be read", ""),
    "no outputs": (b"{}", "cannot be read", ""),
    "an error of status 200": (b'{"error": "out of memory"}', "cannot be read", ""),
    "a shape that does not fit": (
        b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": [1, 2]}]}',
        "cannot be read",
        "",
    ),
    "another output": ({"other": np.zeros((2, 3), np.float32)}, "without the output 'scores': other", "output"),
    "one row": ({"scores": np.zeros((1, 3), np.float32)}, r"2 images with shape \(1, 3\)", '{"batch": 1}'),
    "numbers of classes": ({"scores": np.array([1, 2])}, r"shape \(2,\)", '"answers": "labels"'),
    "one column of them": ({"scores": np.array([[1], [2]])}, "one whole number", '"answers": "labels"'),
    "names": ({"scores": np.array([["a", "b", "c"]] * 2, dtype=object)}, "instead of numbers", '"answers": "labels"'),
    "NaN": ({"scores": np.full((2, 3), np.nan, np.float32)}, "NaN", "trained with"),
    "other classes": ({"scores": np.zeros((2, 5), np.float32)}, "5 classes, and the JSON file has 3", '"classes"'),
    "one class": ({"scores": np.zeros((2, 1), np.float32)}, "1 column|2, 1", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    answer, message, hint = WRONG[name]
    fault = Fault(body=answer) if isinstance(answer, bytes) else None
    with serve(fault=lambda asked: fault) as server:
        if isinstance(answer, dict):
            server.answer = lambda images: answer
        fields = {"classes": 3} if name == "other classes" else {}
        model = load_model(named(server, tmp_path, **fields))
        with pytest.raises(ModelError, match=message) as error:
            model.logits(pixels(2))
        assert hint in error.value.hint
        assert len(error.value.message.splitlines()) == 1
        assert len(server.asked) == 1


def test_a_server_that_wants_to_be_left_alone_is(tmp_path: Path) -> None:
    with serve(fault=lambda asked: Fault(status=429, body=b"{}", headers={"Retry-After": "3600"})) as server:
        with pytest.raises(ModelError, match="3600 seconds"):
            load_model(named(server, tmp_path)).logits(pixels(2))
        assert len(server.asked) == 1


def test_retry_after_may_be_a_date() -> None:
    assert retry_after("7") == 7
    date = retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert date is not None
    assert 90 < date < 101
    assert retry_after(email.utils.formatdate(time.time() - 100, usegmt=True)) == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_nobody_listens() -> None:
    with serve() as server:
        pass
    with pytest.raises(ModelError, match=r"times in vain.*refused") as error:
        load_model(f"oip:http://127.0.0.1:{server.port}/mean")
    assert "running" in error.value.hint


def test_a_server_that_dies_in_the_middle_is_asked_only_for_the_rest(tmp_path: Path) -> None:
    """Of 20 pairs in requests of two, the fifteenth fails: 28 answers are kept, and 12 more are asked for."""
    clean = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    adv = clean[:, [1, 2, 0]]
    labels = clean.mean((2, 3)).argmax(1)
    with serve(fault=lambda asked: Fault(reset=True) if asked >= 14 else None) as server:
        name = named(server, tmp_path, retries=0)
        with pytest.raises(ModelError, match="once in vain"):
            linbp.evaluate(name, clean, adv, labels, trust_victim=True)
        assert server.images == 30
        server.fault = lambda asked: None
        found = linbp.evaluate(name, clean, adv, labels, trust_victim=True)
    assert server.images == 30 + 12
    assert found.queries.kept == 28
    assert found.statistics.fooled.successes == 20


def test_with_several_requests_under_way_the_others_answers_are_kept(tmp_path: Path) -> None:
    with serve(fault=lambda asked: Fault(status=400, body=b"{}") if asked == 1 else Fault(pause=0.05)) as server:
        name = named(server, tmp_path, concurrency=4, batch=1)
        with pytest.raises(ModelError, match="400"):
            load_model(name).logits(pixels(4))
        assert server.images == 4
        server.fault = lambda asked: None
        load_model(name).logits(pixels(4))
        assert server.images == 5


def test_the_budget_holds_over_runs_and_keeps_what_was_answered(tmp_path: Path) -> None:
    images = pixels(6)
    with serve() as server:
        name = named(server, tmp_path, budget=5)
        for _ in range(2):
            with pytest.raises(ModelError, match="asked about 4 images, and its budget of 5 allows no 2 more") as error:
                load_model(name).logits(images)
            assert server.images == 4
        assert "kept" in error.value.hint
        model = load_model(named(server, tmp_path, budget=6))
        assert model.left == 2  # type: ignore[union-attr]
        model.logits(images)
        assert server.images == 6


def test_repetitions_count(tmp_path: Path) -> None:
    with serve(fault=lambda asked: Fault(status=503, body=b"")) as server:
        with pytest.raises(ModelError, match="budget of 4"):
            load_model(named(server, tmp_path, budget=4)).logits(pixels(2))
        assert server.images == 4


def test_requests_keep_their_distance(tmp_path: Path) -> None:
    with serve() as server:
        load_model(named(server, tmp_path, rate=20, concurrency=4, batch=1)).logits(pixels(5))
    times = sorted(one.time for one in server.asked)
    assert times[-1] - times[0] > 4 * 0.05 - 0.02


def test_a_victim_is_asked_twice_in_spite_of_kept_answers(tmp_path: Path) -> None:
    """A server that answers at random is found out, although each of its answers is kept."""
    draw = np.random.default_rng(1)
    clean = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    labels = clean.mean((2, 3)).argmax(1)
    with serve(answer=lambda images: {"scores": 9 * draw.random((len(images), 3), dtype=np.float32)}) as server:
        name = named(server, tmp_path)
        with pytest.raises(LinbpError, match="other scores"):
            linbp.evaluate(name, clean, clean, labels, trust_labels=True)
        asked = server.images
        assert asked == 20 + 20
        with pytest.raises(LinbpError, match="other scores"):
            linbp.evaluate(name, clean, clean, labels, trust_labels=True)
        assert server.images == asked + 20


def test_a_model_that_changed_behind_its_name_is_found_out(tmp_path: Path) -> None:
    clean = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    labels = clean.mean((2, 3)).argmax(1)
    with serve() as server:
        linbp.evaluate(named(server, tmp_path), clean, clean, labels)
        server.answer = lambda images: {"scores": -mean_scores(images)}
        with pytest.raises(LinbpError) as error:
            linbp.evaluate(named(server, tmp_path), clean, clean, labels)
        assert "changed since its answers were kept" in error.value.hint
        server.metadata["versions"] = ["2"]
        found = linbp.evaluate(named(server, tmp_path), clean, clean, labels, trust_labels=True)
        # Of the new version nothing is kept but the answers to the clean images, which are the adversarial ones too.
        assert (found.queries.kept, found.queries.ever) == (20, 40)


def test_a_budget_that_does_not_last_leaves_the_doubt_out(tmp_path: Path) -> None:
    clean = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    labels = clean.mean((2, 3)).argmax(1)
    with serve() as server:
        found = linbp.evaluate(named(server, tmp_path, budget=50), clean, clean[:, [1, 2, 0]], labels)
        assert server.images == 40
    assert any("not asked twice" in note for note in found.notes)


def test_kept_answers_that_are_broken_are_told(tmp_path: Path, cache: Path) -> None:
    with serve() as server:
        load_model(server.name).logits(pixels(2))
        (file,) = (cache / "answers").glob("*.sqlite")
        file.write_bytes(b"no database" * 1000)
        with pytest.raises(StoreError, match="cannot be used") as error:
            load_model(server.name)
    assert "delete it" in error.value.hint
