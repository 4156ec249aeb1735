"""The scripts of the CIFAR-10 experiments, on made-up results and untrained networks."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module as script
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import linbp
from linbp.data.cifar10 import Cifar10
from linbp.data.images import read_image
from linbp.errors import LinbpError, ModelError, StoreError
from linbp.models.checkpoint import file_sha256
from linbp.zoo import PRESETS
from linbp.zoo.architectures import build

COUNT = 40
pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]


def answer(draw: np.random.Generator, labels: list[int], wrong: float) -> str:
    """Predictions of which about that share is wrong."""
    return "".join(str((label + int(draw.random() < wrong)) % 10) for label in labels)


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    """Results of all jobs in two pieces, but for one job that has the first piece only and one that has none."""
    jobs = script("cifar10.jobs")
    names = [*PRESETS["cpu"]]
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, COUNT).tolist()
    selection = {
        "networks": dict.fromkeys(names, "hash"),
        "accuracy": dict.fromkeys(names, 0.9),
        "loss": dict.fromkeys(names, 0.25),
        "images": list(range(COUNT)),
        "labels": labels,
        "others": [],
        "right_on_all": 5000,
    }
    found: list[dict[str, Any]] = [{"selection": selection}, {"surrogate": "resnet18", "choice": {"start": 8}}]
    every = list(dict.fromkeys(job for part in jobs.PARTS.values() for job in part()))
    late = jobs.Job("resnet50", "pgd", "0.1", 100)
    never = jobs.Job("vgg19_bn", "pgd", "0.1", 100)
    for job in every:
        for piece in range(2):
            if job == never or (job == late and piece == 1):
                continue
            mine = labels[piece * COUNT // 2 : (piece + 1) * COUNT // 2]
            share = 0.8 if "linbp" in job.recipe else 0.3
            line = {
                **job.fields(),
                "piece": piece,
                "surrogate_sha256": "hash",
                "gradients": job.steps,
                "levels": 9.5 if job.filled else 4.25,
                "predictions": {name: answer(draw, mine, share) for name in (*names, "itself")},
                "loss": dict.fromkeys((*names, "itself"), 1.25 + piece),
            }
            if job.removed is not None:
                line["lins"] = {"right": 8000, "n": 10_000, "file_sha256": "hash"}
            found.append(line)
    return found


@pytest.mark.slow
def test_tables_and_pictures_of_made_up_results(
    lines: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, pictures = script("cifar10.tables"), script("cifar10.pictures")
    monkeypatch.setattr(tables, "PAGE", tmp_path / "cifar10.md")
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    monkeypatch.setattr(script("cifar10.outcomes"), "FLIPS", 499)
    tables.write(lines)
    page = (tmp_path / "cifar10.md").read_text()
    assert {path.suffix for path in tmp_path.glob("cifar10-*")} == {".svg", ".png"}
    drawn = {f"cifar10-{part}" for part in script("cifar10.jobs").PARTS} - {"cifar10-skips"}
    assert {path.stem for path in tmp_path.glob("cifar10-*.svg")} == drawn
    assert "cifar10-skips" not in page
    assert "| `sgm(gamma=0.2)`, projections spread |" in page
    # An unfinished job shortens the tables of its surrogate in its part, and no others.
    assert f"`vgg19_bn`, eps 0.1, n = {COUNT}" in page
    assert f"`resnet50`, eps 0.1, n = {COUNT // 2}" in page
    assert f"`resnet50`, eps 0.05, n = {COUNT}" in page.partition("rebalancing: begin")[2]
    assert "Not run on `vgg19_bn` yet: `pgd` (eps 0.1, 100 steps)." in page
    assert "site 8" in page

    part = page.partition("<!-- transfer: begin -->")[2].partition("#### `vgg19_bn`, eps 0.03")[2]
    row = next(text for text in part.splitlines() if text.startswith("| `mifgsm`")).split(" | ")
    mine = [line for line in lines if line.get("recipe") == "mifgsm" and line["eps"] == "0.03"]
    mine = [line for line in mine if line["surrogate"] == "vgg19_bn" and line["steps"] == 100]
    labels = lines[0]["selection"]["labels"]
    victims = [name for name in PRESETS["cpu"] if name != "vgg19_bn"]
    wrong = []
    for name in victims:
        text = "".join(line["predictions"][name] for line in sorted(mine, key=lambda line: line["piece"]))
        wrong.append(np.mean([int(digit) != label for digit, label in zip(text, labels, strict=True)]))
    assert row[2].startswith(f"**{100 * np.mean(wrong):.1f}**")
    assert row[-1] == "+1.50 |"  # losses of 1.25 and 2.25 against 0.25

    again = page
    tables.write(lines)
    assert (tmp_path / "cifar10.md").read_text() == again


@pytest.mark.slow
def test_the_page_of_wide_networks_has_every_source(
    lines: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = script("cifar10.wide")
    monkeypatch.setattr(wide, "FOLDER", tmp_path)
    monkeypatch.setattr(wide, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(script("cifar10.outcomes"), "FLIPS", 499)
    monkeypatch.setattr(wide, "NARROW", tmp_path / "seed0.jsonl")
    (tmp_path / "networks").mkdir()
    (tmp_path / "collapsed").mkdir()
    settings = {"learning_rate": 0.03, "batch_size": 512, "unshifted": 0.25, "epochs": 60, "label_smoothing": 0.0}
    card = {"seed": 7, "settings": settings, "accuracy": {"right": 9308, "n": 10_000, "share": 0.9308}}
    (tmp_path / "networks" / "vgg19_bn-seed7.json").write_text(json.dumps(card))
    for number, name in enumerate(wide.SOURCES):
        kept = [line for line in lines if number == 0 or line.get("piece", 0) < 1]
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in kept))
    for number, name in enumerate(("seed0", "seed1")):
        epochs = [
            {"epoch": n + 1, "learning_rate": 0.1 * n, "test": {"share": 0.5 + 0.1 * number}} for n in range(3 - number)
        ]
        (tmp_path / "collapsed" / f"{name}.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in epochs))
    parts = ("networks", "beside", "sources", "differences", "residual", "collapse")
    wide.PAGE.write_text(
        "before\n" + "".join(f"<!-- {part}: begin --><!-- {part}: end -->\n" for part in parts) + "after"
    )

    wide.write()
    page = wide.PAGE.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after")
    assert "| `vgg19_bn-seed7` | 7 | 60 | 15 | 0.0 | 0.12 | 93.08 [92.6, 93.6] |" in page
    assert "| 2 | 0.1 | 50.0 | 60.0 |\n| 3 | 0.2 | 50.0 |  |" in page
    assert f"#### `resnet18`, eps 0.03, n = {COUNT}" in page
    assert "#### Differences on `resnet18`" in page
    heads = [
        f"{what}<br><small>n = {COUNT // (1 + (number > 0))}</small>"
        for number, what in enumerate(wide.SOURCES.values())
    ]
    assert f"| recipe | gradients | {' | '.join(heads)} |" in page

    labels = lines[0]["selection"]["labels"]
    victims = [name for name in PRESETS["cpu"] if name != "vgg19_bn"]
    mine = {
        (line["recipe"], line["piece"]): line["predictions"]
        for line in lines
        if line.get("surrogate") == "vgg19_bn" and line["eps"] == "0.03" and line["steps"] == 100 and not line["leaps"]
    }

    def mean(recipe: str, pieces: int, without: tuple[str, ...] = ()) -> float:
        asked = [name for name in victims if name not in without]
        texts = ["".join(mine[recipe, piece][name] for piece in range(pieces)) for name in asked]
        return 100 * float(
            np.mean([[int(d) != label for d, label in zip(text, labels, strict=False)] for text in texts])
        )

    part = page.partition("#### `vgg19_bn`, eps 0.03")[2].partition("<!-- sources: end -->")[0]
    row = next(text for text in part.splitlines() if text.startswith("| `mifgsm`")).split(" | ")
    assert [cell.split("**")[1] for cell in row[2:]] == [f"{mean('mifgsm', n):.1f}" for n in (2, 1, 1, 1)]
    own = "linbp(start=features.23)"
    row = next(text for text in page.splitlines() if text.startswith(f"| 0.03 | `{own}` | `mifgsm` |")).split(" | ")
    gaps = [mean(own, n) - mean("mifgsm", n) for n in (2, 1, 1, 1)]
    assert [cell.partition(" ")[0].strip("*") for cell in row[3:]] == [f"{gap:+.1f}" for gap in gaps]
    row = next(text for text in page.splitlines() if text.startswith("| `vgg19_bn` | 0.03 |")).split(" | ")
    fewer = [f"{mean(recipe, 2, ('plain', 'resnet18')):.1f}" for recipe in ("ifgsm", "ifgsm", own, own)]
    assert [cell.partition(" ")[0] for cell in row[3:]] == fewer

    (tmp_path / "shifted.jsonl").unlink()
    for least, bold in ((1.1, True), (-1, False)):
        monkeypatch.setattr(wide, "SIGNIFICANT", least)
        wide.write()
        page = wide.PAGE.read_text()
        assert f"| recipe | gradients | {' | '.join(heads[:3])} |\n" in page
        row = next(text for text in page.splitlines() if text.startswith(f"| 0.03 | `{own}` | `mifgsm` |")).split(" | ")
        assert [cell.startswith("**") for cell in row[3:]] == [bold] * 3
    for name in wide.SOURCES:
        (tmp_path / f"{name}.jsonl").unlink(missing_ok=True)
    with pytest.raises(SystemExit, match="holds no source"):
        wide.write()
    assert wide.PAGE.read_text() == page


def test_differences_are_those_of_the_means(lines: list[dict[str, Any]]) -> None:
    jobs = script("cifar10.jobs")
    found = script("cifar10.outcomes").by_surrogate(lines, jobs.PARTS["linear"]())
    for surrogate, outcomes in found.items():
        pairs = [pair for pair in script("cifar10.comparisons").COMPARED["linear"]() if pair[0].surrogate == surrogate]
        assert pairs
        for one, other in pairs[:3]:
            gap = outcomes.gap(one, other)
            assert gap.value == pytest.approx(outcomes.mean(one).value - outcomes.mean(other).value)
            assert gap.low <= gap.value <= gap.high
            assert 0 < gap.p <= 1


def test_every_planned_comparison_is_of_jobs_of_its_part() -> None:
    jobs = script("cifar10.jobs")
    for part, pairs in script("cifar10.comparisons").COMPARED.items():
        assert {job for pair in pairs() for job in pair} <= set(jobs.PARTS[part]())


def test_leaps_are_two_radii_long_and_another_job_than_steps() -> None:
    jobs, tables = script("cifar10.jobs"), script("cifar10.tables")
    leaps = jobs.Job("resnet18", "ifgsm", "0.03", 10, leaps=True)
    assert float(leaps.step_size) == 2 * 0.03
    assert float(jobs.Job("resnet18", "ifgsm", "0.03", 10).step_size) == pytest.approx(1 / 255)
    stored = leaps.fields()
    assert jobs.Job.of(stored) == leaps
    del stored["leaps"]
    assert jobs.Job.of(stored) == dataclasses.replace(leaps, leaps=False)
    assert tables.words(leaps) == "`ifgsm`, 10 leaps of two radii"


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Narrow untrained networks in the folders of a zoo, with cards of trained ones."""
    for number, name in enumerate(PRESETS["cpu"]):
        path = tmp_path / "zoo" / name / f"{name}.safetensors"
        path.parent.mkdir(parents=True)
        torch.manual_seed(number)
        weights = {key: value.clone() for key, value in build(name, 0.0625).state_dict().items()}
        safetensors.torch.save_file(weights, path)
        card = {"architecture": name, "width": 0.0625, "data": "CIFAR-10", "file_sha256": file_sha256(path)}
        card["settings"] = {"label_smoothing": 0.0 if name == "vgg19_bn" else 0.1}
        path.with_suffix(".json").write_text(json.dumps(card))
    return tmp_path / "zoo"


@pytest.mark.slow
def test_every_recipe_runs_and_the_results_belong_to_their_networks(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, networks, jobs = script("cifar10.attack"), script("cifar10.networks"), script("cifar10.jobs")
    monkeypatch.setattr(main, "RESULTS", tmp_path / "results" / "cifar10.jsonl")
    monkeypatch.setattr(networks, "COUNT", 2)
    models = networks.networks(zoo, (), "cpu")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8))
    data = Cifar10(images[:0], torch.zeros(0, dtype=torch.int64), images, torch.arange(6))
    monkeypatch.setattr(networks, "select", select := lambda found, data: made_up(found, data, networks))
    monkeypatch.setattr(main, "select", select)
    every = [job for part in jobs.PARTS.values() for job in part() if job.removed is None and job.eps == "0.05"]
    shortened = [dataclasses.replace(job, steps=min(job.steps, 2)) for job in every]
    chosen = [job for job in dict.fromkeys(shortened) if job.surrogate in models]
    options = argparse.Namespace(device="cpu", batch=32, work=tmp_path / "work", pieces=4, results=main.RESULTS)
    assert main.run(chosen, (1, 2), data, models, options)
    assert main.run(chosen, (2, 2), data, models, options)
    lines = [line for line in script("common.lines").read_lines(main.RESULTS) if "piece" in line]
    assert {main.key(line) for line in lines} == {(job, 0) for job in chosen}
    assert len(lines) == len(chosen)
    before = main.RESULTS.read_bytes()
    assert main.run(chosen, (1, 1), data, models, options)
    assert main.RESULTS.read_bytes() == before

    script("common.lines").add_line(
        main.RESULTS, {**lines[0], "surrogate": jobs.EARLY, "surrogate_sha256": "of a variant that is not there"}
    )
    assert main.run(chosen, (1, 1), data, models, options)

    models["plain"].source["file_sha256"] = "another"
    with pytest.raises(StoreError, match="another plain"):
        main.run(chosen, (1, 1), data, models, options)


def test_what_is_found_on_other_networks_is_kept_apart(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, jobs, tables = script("cifar10.attack"), script("cifar10.jobs"), script("cifar10.tables")
    models, data = few_images(zoo, tmp_path, monkeypatch)
    written: list[Any] = []
    monkeypatch.setattr(tables, "write", written.append)
    other = tmp_path / "in" / "folders" / "other.jsonl"
    options = argparse.Namespace(device="cpu", batch=32, work=tmp_path / "work", pieces=4, results=other)
    assert main.run([jobs.Job("plain", "ifgsm", "0.05", 1)], (1, 1), data, models, options)
    assert len(script("common.lines").read_lines(other)) == 2  # the images, and one attack
    assert not main.RESULTS.exists()

    monkeypatch.setattr(main, "load_cifar10", lambda folder: data)
    arguments = ["attack.py", "--zoo", str(zoo), "--part", "skips", "--surrogate", "vgg19_bn"]  # no attack
    monkeypatch.setattr(sys, "argv", [*arguments, "--results", str(other)])
    assert main.main() == 0
    assert not written
    monkeypatch.chdir(main.RESULTS.parent)
    monkeypatch.setattr(sys, "argv", [*arguments, "--results", main.RESULTS.name])
    assert main.main() == 0
    assert len(written) == 1
    monkeypatch.setattr(sys, "argv", ["attack.py", "--tables", "--results", str(other)])
    with pytest.raises(SystemExit):
        main.main()
    assert len(written) == 1


def test_each_network_of_lins_is_tuned_by_one_process_with_the_labels_of_its_job(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, jobs = script("cifar10.attack"), script("cifar10.jobs")
    models, data = few_images(zoo, tmp_path, monkeypatch)
    tuned: list[tuple[str, int, float]] = []

    def linearised(model: linbp.Model, site: int, smoothing: float, *rest: Any) -> tuple[linbp.Model, dict[str, Any]]:
        name = next(name for name, other in models.items() if other is model)
        tuned.append((name, site, smoothing))
        return model, {"right": 1, "n": 2, "file_sha256": f"{name} {site} {smoothing}"}

    monkeypatch.setattr(main, "linearised", linearised)
    removed = [job for job in jobs.linear() if job.removed is not None]
    chosen = [dataclasses.replace(job, recipe=recipe, steps=1) for job in removed for recipe in ("ifgsm", "fgsm")]
    chosen = list(dict.fromkeys(chosen))  # two attacks on each network
    options = argparse.Namespace(device="cpu", batch=32, work=tmp_path / "work", pieces=4, results=main.RESULTS)
    by_process = []
    for process in (1, 2, 3):
        assert main.run(chosen, (process, 3), data, models, options)
        by_process.append(len(tuned))
    expected = {
        (
            job.surrogate,
            job.removed,
            (0.0 if job.surrogate == "vgg19_bn" else 0.1) if job.smoothing is None else job.smoothing,
        )
        for job in chosen
    }
    assert len(tuned) == len(set(tuned))
    assert set(tuned) == expected
    assert 0 < by_process[0] < by_process[1] < by_process[2]
    lines = [line for line in script("common.lines").read_lines(main.RESULTS) if "piece" in line]
    assert {main.key(line) for line in lines} == {(job, 0) for job in chosen}
    for line in lines:
        _, site, smoothing = line["lins"]["file_sha256"].split()
        assert int(site) == line["removed"]
        assert line["smoothing"] in (None, float(smoothing))


def test_projections_are_spread_for_the_jobs_that_say_so(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, jobs = script("cifar10.attack"), script("cifar10.jobs")
    models, data = few_images(zoo, tmp_path, monkeypatch)
    chosen = [jobs.Job("resnet18", "ifgsm", "0.05", 3, spread=spread) for spread in (False, True)]
    options = argparse.Namespace(device="cpu", batch=32, work=tmp_path / "work", pieces=4, results=main.RESULTS)
    assert main.run(chosen, (1, 1), data, models, options)
    lines = [line for line in script("common.lines").read_lines(main.RESULTS) if "piece" in line]
    model = models["resnet18"]
    rows = torch.tensor([0, 3])
    for line, network in zip(lines, (model, script("cifar10.spread").spread(model)), strict=True):
        adv = linbp.craft(
            linbp.Surrogate(network),
            data.test_images[rows].permute(0, 3, 1, 2).contiguous(),
            rows,
            "ifgsm",
            eps="0.05",
            steps=3,
            step_size=chosen[0].step_size,
            ids=["00000", "00003"],
        )
        pixels = (adv * 255).round().to(torch.uint8)
        assert line["sha256"] == hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
        assert line["predictions"]["itself"] == "".join(map(str, model.logits(adv).argmax(1).tolist()))
    assert lines[0]["sha256"] != lines[1]["sha256"]


def few_images(zoo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, linbp.Model], Cifar10]:
    """Networks and data for jobs on two images, whose results go into a folder of their own."""
    main, networks = script("cifar10.attack"), script("cifar10.networks")
    monkeypatch.setattr(main, "RESULTS", folder / "cifar10.jsonl")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8))
    monkeypatch.setattr(main, "select", lambda found, data: made_up(found, data, networks))
    data = Cifar10(images[:0], torch.zeros(0, dtype=torch.int64), images, torch.arange(6))
    return networks.networks(zoo, (), "cpu"), data


def made_up(models: dict[str, linbp.Model], data: Cifar10, networks: ModuleType) -> dict[str, Any]:
    """A selection of images that no network need have right."""
    return {
        "networks": {name: networks.sha256_of(model) for name, model in models.items()},
        "images": [0, 3],
        "labels": [0, 3],
        "right_on_all": 2,
    }


def test_adversarial_images_are_moved_on_to_the_radius() -> None:
    draw = np.random.default_rng(0)
    clean = draw.integers(0, 256, (5, 3, 4, 4))
    adv = np.clip(clean + draw.integers(-7, 8, clean.shape), 0, 255)
    moved = script("common.moved_on").moved_on(torch.from_numpy(adv) / 255, torch.from_numpy(clean.astype(np.uint8)), 7)
    assert not torch.equal(moved, torch.from_numpy(adv) / 255)
    for before, after, now in zip(clean.flat, adv.flat, (moved * 255).round().int().flatten().tolist(), strict=True):
        if after > before:
            assert now == min(before + 7, 255)
        elif after < before:
            assert now == max(before - 7, 0)
        else:
            assert now == before


def test_an_incomplete_zoo_is_refused_and_nothing_written(zoo: Path) -> None:
    networks = script("cifar10.networks")
    recorded = tuple(networks.networks(zoo, (), "cpu"))
    assert set(recorded) == set(PRESETS["cpu"])
    (zoo / "mixer" / "mixer.safetensors").unlink()
    assert set(networks.networks(zoo, (), "cpu")) == set(recorded) - {"mixer"}
    with pytest.raises(ModelError, match="lacks mixer") as caught:
        networks.networks(zoo, recorded, "cpu")
    assert "linbp zoo train mixer" in caught.value.hint
    (zoo / "plain").rename(zoo / "mixer2")
    for end in ("safetensors", "json"):
        (zoo / "mixer" / f"mixer.{end}").write_bytes((zoo / "mixer2" / f"plain.{end}").read_bytes())
    (zoo / "mixer2").rename(zoo / "plain")
    with pytest.raises(LinbpError, match="is plain trained on CIFAR-10"):
        networks.networks(zoo, (), "cpu")
    (zoo / "vgg19_bn" / "vgg19_bn.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks vgg19_bn"):
        networks.networks(zoo, (), "cpu")


def test_bad_arguments_give_two_lines(tmp_path: Path, scripts: Path) -> None:
    command = [sys.executable, str(scripts / "cifar10" / "attack.py"), "--data", str(tmp_path / "nothing")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == ["Error", "Hint"]


def test_several_processes_add_whole_lines(tmp_path: Path, scripts: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"torn": ')
    program = (
        f"import sys; sys.path.insert(0, {str(scripts)!r})\n"
        "from pathlib import Path\nfrom common.lines import add_line\n"
        f"for number in range(50): add_line(Path({str(path)!r}), {{'of': sys.argv[1], 'n': number, 'x': 'y' * 9000}})"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "ab"]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    found = script("common.lines").read_lines(path)
    assert sorted((line["of"], line["n"]) for line in found) == [(name, n) for name in "ab" for n in range(50)]


def test_training_files_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that ask at once, each with a lock of its own as two processes have."""
    networks = script("cifar10.networks")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8))
    data = Cifar10(images, torch.arange(30) % 10, images[:0], torch.zeros(0, dtype=torch.int64))
    written: list[Path] = []
    write = networks.write_png

    def slowly(path: Path, pixels: np.ndarray[Any, Any]) -> None:
        written.append(path)
        write(path, pixels)
        threading.Event().wait(0.001)

    monkeypatch.setattr(networks, "write_png", slowly)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda folder: networks.training_files(data, folder), [tmp_path / "training"] * 2))
    assert found[0] == found[1]
    assert [record.label for record in found[0]] == data.train_labels.tolist()
    assert len(written) == len(set(written)) == 30
    for record, pixels in zip(found[0], images, strict=True):
        assert np.array_equal(read_image(record.path), pixels.numpy())
