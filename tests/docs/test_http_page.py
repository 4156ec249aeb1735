"""The page on models behind HTTP: its command and files are used as they stand there, against a server on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from fitted_networks import write_networks, write_patterned
from oip_server import serve
from test_docs import blocks, commands
from typer.testing import CliRunner

import linbp
from linbp.cli.app import app
from linbp.models.oip.address import read_address
from linbp.models.oip.secrets import TOKEN
from linbp.models.oip.sidecar import Sidecar, read_sidecar

PAGE = "docs/http.md"
TEXT = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the page's files and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path / "cache"))
    for block in blocks(PAGE, "json"):
        Path(str(block.title)).write_text(block.text, encoding="utf-8")
    return tmp_path


def test_the_command_of_the_page(place: Path) -> None:
    write_patterned(place / "photos", 8)
    write_networks(place)
    craft = ["craft", "--surrogate", "file:nets.py:first", "--recipe", "ifgsm", "--steps", "2", "--data", "photos"]
    made = CliRunner().invoke(app, [*craft, "--out", "adv/linbp"])
    assert made.exit_code == 0, made.output
    (block,) = (one for one in blocks(PAGE, "sh") if "linbp evaluate" in one.text)
    with serve(
        model="resnet50",
        shape=[-1, 3, 224, 224],
        extensions=["binary_tensor_data"],
        answer=lambda images: {"scores": np.eye(4, dtype=np.float32)[np.arange(len(images)) % 4] + images.mean()},
    ) as server:
        (call,) = commands(block.text.replace("localhost:8000", f"127.0.0.1:{server.port}"), place)
        answer = CliRunner().invoke(app, [*call, "--trust-victim", "--trust-labels", "--json"])
        assert answer.exit_code == 0, answer.output
        assert server.images == 16
        assert {len(one.images) for one in server.asked} == {8}
        assert server.asked[0].images.shape == (8, 3, 224, 224)
    (found,) = json.loads(answer.stdout)["victims"]
    assert (found["victim"]["resize"], found["victim"]["crop"]) == (256, [224, 224])


def test_the_table_has_every_field_and_its_default() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]* \| ([^|]*)\|$", TEXT, re.MULTILINE)
    listed = {name: default.strip() for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(listed) == set(Sidecar.model_fields)
    for name in ("timeout", "retries", "concurrency"):
        assert float(listed[name]) == Sidecar.model_fields[name].default


def test_every_file_and_every_name_of_the_page_is_read() -> None:
    for block in blocks(PAGE, "json"):
        read_sidecar(str(block.title))
    names = re.findall(r"`oip:(\S+?)`", TEXT)
    assert len(names) > 6
    for name in names:
        assert read_address(name.replace(":PORT", ":1")).model == "MODEL"
    assert TOKEN in TEXT


def test_labels_and_the_best_few_as_the_page_has_them() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)
    labels = images.mean((2, 3)).argmax(1)
    names = np.array(["cat", "dog", "bird"], dtype=object)

    def best(sent: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        means = sent.mean((2, 3))
        order = np.argsort(-means, axis=1)[:, :2]
        return {"classes": order, "scores": np.take_along_axis(means, order, 1).astype(np.float32)}

    with serve(answer=lambda sent: {"scores": names[sent.mean((2, 3)).argmax(1)]}) as server:
        found = linbp.evaluate(f"{server.name}@labels.json", images, images[:, [1, 2, 0]], labels)
        assert found.statistics.fooled.successes == 9
        server.answer = best
        server.metadata["outputs"] = []
        found = linbp.evaluate(f"{server.name}@best.json", images, images[:, [1, 2, 0]], labels)
        assert found.statistics.fooled.successes == 9
