"""`evaluate`, `bench` and `audit` with a victim behind HTTP, from the command line, and where its token must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run, two_lines
from fitted_networks import fitted, write_networks, write_patterned
from oip_server import Fault, OipServer, serve

from linbp.models.oip import faults

TOKEN = "s3cr3t-w0rd-of-mine"


def scores(images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What the network `second` of `nets.py` answers."""
    return {"scores": fitted(1).logits(torch.from_numpy(images.astype(np.float64))).numpy()}


def labels(images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Its best class alone."""
    return {"scores": scores(images)["scores"].argmax(1)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with photographs, networks and a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LINBP_VICTIM_TOKEN", TOKEN)
    monkeypatch.setattr(faults, "FIRST", 0.005)
    write_patterned(tmp_path / "photos", 24)
    write_networks(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[OipServer]:
    with serve(shape=[-1, 3, 16, 16], extensions=["binary_tensor_data"], answer=scores) as running:
        yield running


def without_token(place: Path, *texts: str) -> None:
    """Assert that the token stands in no text and no file."""
    for text in texts:
        assert TOKEN not in text
    files = [file for file in place.rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        assert TOKEN.encode() not in file.read_bytes(), file


CRAFT = ("craft", "--surrogate", "file:nets.py:first", "--recipe", "ifgsm", "--eps", "16/255", "--steps", "5")


def crafted(run: Run) -> None:
    made = run(*CRAFT, "--data", "photos", "--out", "adv")
    assert made.status == 0, made.err


def test_evaluate_counts_what_it_asks_and_asks_it_once(place: Path, server: OipServer, run: Run) -> None:
    """The same rates as from the network in this process; of 24 pairs, 48 images, and 20 for the doubts each time."""
    crafted(run)
    wanted = run("evaluate", "adv", "--victim", "file:nets.py:second", "--json").facts["victims"][0]
    table = run("evaluate", "adv", "--victim", server.name, "--csv", "answers.csv")
    assert table.status == 0, table.err
    assert "was sent 68 images in" in table.text
    assert server.images == 68
    assert {one.headers["Authorization"] for one in server.asked} == {f"Bearer {TOKEN}"}
    again = run("evaluate", "adv", "--victim", server.name, "--json")
    (found,) = again.facts["victims"]
    assert server.images == 88
    assert found["queries"] == {"images": 20, "requests": found["queries"]["requests"], "kept": 48, "ever": 88}
    assert found["fooled"] == wanted["fooled"]
    assert wanted["fooled"]["successes"] > 0
    assert found["victim"]["spec"] == server.name
    without_token(place, table.out, table.err, again.out, again.err)


def test_labels_alone_give_the_same_rates(place: Path, server: OipServer, run: Run) -> None:
    crafted(run)
    wanted = run("evaluate", "adv", "--victim", "file:nets.py:second", "--json").facts["victims"][0]
    server.answer = labels
    refused = run("evaluate", "adv", "--victim", server.name)
    two_lines(refused, '"answers": "labels"')
    Path("side.json").write_text(json.dumps({"answers": "labels", "classes": 4}))
    answer = run("evaluate", "adv", "--victim", f"{server.name}@side.json", "--json")
    assert answer.status == 0, answer.err
    assert answer.facts["victims"][0]["fooled"] == wanted["fooled"]


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_repeats_the_token_gives_it_away_to_nobody(
    place: Path, server: OipServer, run: Run, status: int
) -> None:
    crafted(run)
    body = json.dumps({"error": f"Bearer {TOKEN} is not allowed", "outputs": [{"name": TOKEN}]}).encode()
    server.fault = lambda number: Fault(status=status, body=body)
    server.metadata["platform"] = TOKEN
    found = []
    for more in ((), ("--debug",), ("--json",)):
        found.append(run("evaluate", "adv", "--victim", server.name, *more))
        assert found[-1].status == 2
        assert "***" in found[-1].err or status == 200
    without_token(place, *(text for answer in found for text in (answer.out, answer.err)))


def test_headers_come_from_variables_that_the_file_names(
    place: Path, server: OipServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    crafted(run)
    Path("side.json").write_text(json.dumps({"headers_env": {"X-Api-Key": "MY_KEY"}}))
    name = f"{server.name}@side.json"
    two_lines(run("evaluate", "adv", "--victim", name), "X-Api-Key", "not set")
    monkeypatch.setenv("MY_KEY", TOKEN)
    assert run("evaluate", "adv", "--victim", name).status == 0
    assert server.asked[0].headers["X-Api-Key"] == TOKEN
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "url", ["http://me:{}@127.0.0.1:1/mean", "http://127.0.0.1:1/mean?key={}", "https://{}@h/mean"]
)
def test_a_password_in_the_name_is_refused_and_not_repeated(place: Path, run: Run, url: str) -> None:
    crafted(run)
    name = "oip:" + url.format(TOKEN)
    suite = f"""
name = "small"
eps = ["8/255"]
surrogates = ["file:nets.py:first"]
recipes = ["ifgsm"]
victims = ["{name}"]
data = "photos"
"""
    (place.parent / f"{place.name}.toml").write_text(suite)
    for command in (
        ("evaluate", "adv", "--victim", "file:nets.py:second", "--victim", name, "--debug"),
        ("evaluate", "adv", "--victim", name, "--json"),
        ("audit", name, "--data", "photos", "--out", "audited"),
        ("audit", "file:nets.py:second", "--data", "photos", "--out", "audited", "--surrogate", name),
        ("bench", str(place.parent / f"{place.name}.toml"), "--out", "run"),
        ("craft", "--surrogate", name, "--recipe", "ifgsm", "--data", "photos", "--out", "other"),
        ("evaluate", "adv", "--victim", name.removeprefix("oip:") if "@" in url else name),
    ):
        answer = run(*command)
        assert answer.status == 2, answer
        assert "LINBP_VICTIM_TOKEN" in answer.err
        without_token(place, answer.out, answer.err)


def test_bench_and_audit_ask_a_served_victim(place: Path, server: OipServer, run: Run) -> None:
    """Both tables agree with those of the network in this process, and nothing is asked again by a second run."""
    server.answer = labels
    Path("side.json").write_text(json.dumps({"answers": "labels", "classes": 4, "concurrency": 2, "batch": 8}))
    name = f"{server.name}@side.json"
    options = ("--data", "photos", "--surrogate", "file:nets.py:first", "--eps", "16/255")
    answer = run("audit", name, *options, "--out", "audited", "--json")
    assert answer.status == 0, answer.err
    local = run("audit", "file:nets.py:second", *options, "--out", "local", "--json")
    assert answer.facts["exposure"][0]["worst_case"] == local.facts["exposure"][0]["worst_case"]
    assert not answer.facts["flags"] or all(flag["kind"] != "unsteady" for flag in answer.facts["flags"])
    suite = """
name = "small"
eps = ["16/255"]
surrogates = ["file:nets.py:first"]
recipes = ["ifgsm", "mifgsm"]
cost = {steps = 5}
[data]
kind = "folder"
path = "photos"
[victims]
local = "file:nets.py:second"
served = "NAME"
"""
    Path("suite.toml").write_text(suite.replace("NAME", name))
    answer = run("bench", "suite.toml", "--out", "run", "--json")
    assert answer.status == 0, answer.err
    rates = [{key: value for key, value in row.items() if key != "victim"} for row in answer.facts["rates"]]
    assert len(rates) == 4
    assert [rates.count(rate) for rate in rates] == [2] * 4
    asked = server.images
    assert run("bench", "suite.toml", "--out", "other").status == 0
    assert server.images == asked
    without_token(place, answer.out, answer.err)


def test_a_substitute_of_a_served_victim_and_an_audit_on_it(place: Path, server: OipServer, run: Run) -> None:
    """From answers over HTTP to exposure: as from the network in this process, and no image is asked about twice."""
    server.answer = labels
    write_patterned(place / "own", 24, seed=7)
    Path("side.json").write_text(json.dumps({"answers": "labels", "classes": 4, "batch": 8}))
    found, asked = [], []
    for victim, out in ((f"{server.name}@side.json", "served"), ("file:nets.py:second", "local")):
        options = ("--backbone", "file:nets.py:first", "--data", "photos", "--epochs", "3", "--batch-size", "8")
        made = run("substitute", "--victim", victim, *options, "--out", f"sub-{out}", "--json")
        assert made.status == 0, made.err
        asked.append(server.images)
        answer = run(
            "audit", victim, "--data", "own", "--surrogate", f"sub-{out}", "--eps", "16/255", "--out", out, "--json"
        )
        assert answer.status == 0, answer.err
        (surrogate,) = answer.facts["threat_model"]["surrogates"]
        assert surrogate["queries"] == made.facts["queries"] == 24
        found.append((made.facts["agreement"], answer.facts["exposure"][0]["worst_case"]))
    assert found[0] == found[1]
    assert found[0][1]["successes"] > 0
    assert asked[0] == 24
    without_token(place, answer.out, answer.err)
