"""Every command in this process, as a user types it: output, exit status, and the two lines of an error."""

from __future__ import annotations

import csv
import inspect
import itertools
import json
import os
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run, two_lines

from linbp.cli.app import main
from linbp.cli.output import progress_bars
from linbp.data.images import read_image, write_png

NETWORKS = '''
import torch
from torch import nn
import linbp


def network(seed, classes=6, scale=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)]
        module = nn.Sequential(*layers).double()
    module[4].weight.data *= scale
    return linbp.Model(module, input_size=(3, 8, 8), name=f"tiny{seed}")


class Knowing(nn.Module):
    """Its class is the first red level."""

    def forward(self, x):
        return -(255 * x[:, 0, 0, :1] - torch.arange(40)).abs()


def net(): return network(0)
def victim(): return network(1)
def small(): return network(0, classes=3)
def nan(): return network(0, scale=float("nan"))
class Fragile(nn.Module):
    """Answers NaN where the first red level is 255."""

    def __init__(self):
        super().__init__()
        self.inner = network(0).module

    def forward(self, x):
        return torch.where(x[:, 0, 0, :1] > 0.999, float("nan"), self.inner(x))


def infinite(): return network(0, scale=float("inf"))
def fragile(): return linbp.Model(Fragile(), input_size=(3, 8, 8), name="fragile")
def certain(): return network(0, scale=1e9)
def more(): return linbp.Model(network(0, classes=7).module, input_size=(3, 8, 8), name="more")
def knowing(): return linbp.Model(Knowing(), input_size=(3, 8, 8), name="knowing")
def broken(): return undefined_name
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: networks, and six images with labels and targets in `photos`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path / "cache"))
    Path("networks.py").write_text(NETWORKS)
    Path("photos").mkdir()
    lines = ["file,label,target"]
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_png(f"photos/i{number}.png", pixels)
        lines.append(f"i{number}.png,{number},{(number + 1) % 6}")
    Path("photos/images.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def linbp(folder: Path, run: Run) -> Run:
    """Runs the command line in that folder."""
    return run


CRAFT = (
    "craft",
    "--surrogate",
    "file:networks.py:net",
    "--recipe",
    "mi",
    "--data",
    "photos",
    "--out",
    "out",
    "--steps",
    "3",
)


def changed(**options: str) -> tuple[str, ...]:
    """The craft command with other values, or with further options."""
    arguments = dict(zip(CRAFT[1::2], CRAFT[2::2], strict=True))
    arguments.update({f"--{name.replace('_', '-')}": value for name, value in options.items()})
    return ("craft", *(word for pair in arguments.items() for word in pair))


def test_the_main_job(linbp: Run, folder: Path) -> None:
    crafted = linbp(*CRAFT)
    assert crafted.status == 0, crafted.err
    for words in ("in out", "6 made now", "0 kept", "3 gradients per image"):
        assert words in crafted.text
    assert crafted.err == ""
    assert sorted(path.name for path in Path("out").glob("*.png")) == [f"i{number}.png" for number in range(6)]
    assert "0 made now, 6 kept" in linbp(*CRAFT).text
    found = linbp("evaluate", "out", "--victim", "file:networks.py:net", "--victim", "file:networks.py:victim")
    assert found.status == 0, found.err
    assert "mi on tiny0, eps 8/255 (linf), 3 steps, seed 0, 6 images" in found.text
    for word in ("tiny0", "tiny1", "fooled", "95% interval", "1 - accuracy", "L-inf"):
        assert word in found.text


def test_json_is_all_that_is_on_standard_output(linbp: Run) -> None:
    crafted = linbp(*CRAFT, "--json", "--targets", "target").facts
    assert (crafted["images"], crafted["made"], crafted["gradients_per_image"]) == (6, 6, 3)
    assert crafted["linf_max"] <= 8
    found = linbp("evaluate", "out", "--victim", "file:networks.py:victim", "--json", "--csv", "records.csv")
    result = found.facts
    victim = result["victims"][0]
    with Path("records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["clean_prediction"] == row["label"]]
    assert len(rows) == victim["images"] == 6
    assert len(known) == victim["right_on_clean"] == victim["fooled"]["n"]
    assert sum(row["fooled"] == "True" for row in rows) == victim["fooled"]["successes"]
    assert victim["hit"]["n"] == len([row for row in rows if row["hit"]])
    assert result["finished"] is True
    assert result["manifest"]["settings"]["targeted"] is True
    table = linbp("evaluate", "out", "--victim", "file:networks.py:victim").text
    assert "hit the target" in table
    assert "fooled" in table


def test_inspect_lists_sites_and_looks_at_an_image(linbp: Run) -> None:
    answer = linbp("inspect", "file:networks.py:net", "--image", "photos/i0.png")
    assert answer.status == 0, answer.err
    for word in ("tiny0: 6 classes", "1 sites, 0 junctions", "relu", "4x6x6", "predicted class", "L2 norm"):
        assert word in answer.out
    assert "Feature maps" not in answer.out
    wider = linbp("inspect", "file:networks.py:net", "--feature-maps")
    assert wider.status == 0, wider.err
    assert "Feature maps" in wider.out
    listed = linbp("inspect", "file:networks.py:net", "--feature-maps", "--json").facts["feature_maps"]
    assert {"module_path": "1", "shape": [4, 6, 6]} in listed
    facts = linbp("inspect", "file:networks.py:net", "--image", "photos/i0.png", "--json").facts
    assert facts["sites"] == [
        {
            "index": 0,
            "fraction": 0.0,
            "op": "relu",
            "module_path": "1",
            "shape": [4, 6, 6],
            "kind": "plain",
            "junction": None,
        }
    ]
    assert sum(entry["probability"] for entry in facts["image"]["top"]) < 1
    assert facts["image"]["gradient_l2"] > 0


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("recipes", "mdi2fgsm"),
        ("rules", "linbp"),
        ("transforms", "di"),
        ("objectives", "ce"),
        ("estimators", "plain"),
        ("updates", "mi"),
        ("starts", "random-start"),
        ("models", "torchvision"),
    ],
)
def test_every_topic_is_listed_and_every_name_shown(linbp: Run, topic: str, name: str) -> None:
    listed = linbp("list", topic, "--json").facts[topic]
    assert name in [entry["name"] for entry in listed]
    assert all(entry["summary"] for entry in listed)
    assert name in linbp("list", topic).out
    if topic != "models":
        for entry in listed:
            shown = linbp("show", entry["name"], "--json").facts
            assert topic in [f"{one['kind']}s" for one in shown]
            text = linbp("show", entry["name"]).out
            for one in shown:
                assert all(parameter["name"] in text for parameter in one["parameters"])


def test_the_suites_that_ship_are_listed_with_their_files(linbp: Run) -> None:
    listed = {
        entry["name"]: entry["summary"].splitlines() for entry in linbp("list", "suites", "--json").facts["suites"]
    }
    assert {"demo", "cifar10", "exposure-imagenet-1"} <= listed.keys()
    assert all(Path(path).is_file() and about for about, path in listed.values())
    assert "demo" in linbp("list", "suites").out


def test_show_tells_formula_and_defaults(linbp: Run) -> None:
    text = linbp("show", "linbp").out
    for words in ("linbp(start=none, rebalance=branch, gamma=1.0", "alpha = |v| / |u|", "arXiv 2012.03528"):
        assert words in text


def test_show_of_a_sum_names_its_parts(linbp: Run) -> None:
    two_lines(
        linbp("show", "linbp(start=layer3.1) + di >> ila(at=x)"),
        "linbp show linbp",
        "linbp show di",
        "linbp show ila",
    )


@pytest.mark.parametrize("command", ["inspect", "craft", "evaluate", "list", "show", "demo", "zoo"])
def test_every_help_teaches_by_example(linbp: Run, command: str) -> None:
    answer = linbp(command, "--help")
    assert answer.status == 0
    assert f"linbp {command}" in answer.out
    assert "Examples" in answer.out
    assert "[bold]" not in answer.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "mifgms"}, ("'mifgms'", "'mifgsm'")),
        ({"recipe": "mi(decya=2)"}, ("'decya'", "'decay'")),
        ({"recipe": "mi + mi"}, ("mi",)),
        ({"recipe": "linbp(start=99)"}, ("99", "linbp inspect")),
        ({"recipe": "fgsm"}, ("one step",)),
        ({"recipe": "targeted-margin"}, ("targeted-margin", "--target-rule")),
        ({"eps": "-8/255"}, ("-8/255",)),
        ({"eps": "nan"}, ("nan",)),
        ({"eps": "eight"}, ("eight", "8/255")),
        ({"eps": "8"}, ("8/255",)),
        ({"step_size": "0"}, ("step-size",)),
        ({"steps": "0"}, ("0",)),
        ({"device": "gpu7"}, ("'gpu7'", "cpu")),
        ({"data": "gone"}, ("gone does not exist",)),
        ({"data": "empty"}, ("empty holds no images",)),
        ({"data": "photos/i0.png"}, ("photos/i0.png", "image")),
        ({"targets": "aim"}, ("'aim'",)),
        ({"first_label": "1"}, ("line 2 of", "is 0")),
        ({"surrogate": "resnet50"}, ("'resnet50'", "torchvision:")),
        ({"surrogate": "file:networks.py:nte"}, ("'nte'", "'net'")),
        ({"surrogate": "file:networks.py:broken"}, ("networks.py", "undefined_name")),
        ({"surrogate": "file:networks.py:small"}, ("'i3' is 3", "--first-label 1")),
        ({"surrogate": "file:networks.py:nan"}, ("NaN",)),
        ({"out": "photos"}, ("not empty",)),
        ({"out": "networks.py"}, ("networks.py",)),
        ({"out": "networks.py/out"}, ("networks.py",)),
    ],
)
def test_bad_input_of_craft_gives_two_lines(linbp: Run, options: dict[str, str], words: tuple[str, ...]) -> None:
    Path("empty").mkdir()
    two_lines(linbp(*changed(**options)), *words)
    assert not list(Path().glob("out/*.png"))


def test_bad_images_give_two_lines(linbp: Run) -> None:
    content = Path("photos/i4.png").read_bytes()
    Path("photos/i4.png").write_bytes(content[: len(content) // 2])
    two_lines(linbp(*CRAFT), "i4.png", "cannot be read")
    Path("photos/i4.png").unlink()
    two_lines(linbp(*CRAFT), "i4.png", "line 6", "does not exist")
    Path("photos/images.csv").unlink()
    two_lines(linbp(*CRAFT), "'i0' has no label", "--labels predicted")
    assert linbp(*CRAFT, "--labels", "predicted").status == 0


def test_labels_counted_from_one_are_suspected(linbp: Run) -> None:
    lines = ["file,label"]
    for label in range(1, 21):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[0, 0, 0] = label - 1
        write_png(f"photos/k{label}.png", pixels)
        lines.append(f"k{label}.png,{label}")
    Path("list.csv").write_text("\n".join(lines).replace("\nk", "\nphotos/k"))
    command = changed(surrogate="file:networks.py:knowing", data="list.csv", recipe="ifgsm")
    two_lines(linbp(*command), "count from 1", "--first-label 1", "--trust-labels")
    assert linbp(*command, "--first-label", "1").status == 0
    trusted = changed(surrogate="file:networks.py:knowing", data="list.csv", recipe="ifgsm", out="two")
    assert "knows none of the images" in linbp(*trusted, "--trust-labels").text
    two_lines(linbp(*trusted, "--first-label", "1"), "other settings", "labels")


def test_a_changed_setting_is_named(linbp: Run) -> None:
    linbp(*CRAFT)
    two_lines(linbp(*changed(eps="16/255", seed="3")), "eps: 0.0313", "-> 0.0627", "seed: 0 -> 3", "--out")
    assert linbp(*changed(batch_size="2", threads="1", device="cpu")).status == 0


def test_bad_input_of_evaluate_gives_two_lines(linbp: Run) -> None:
    linbp(*CRAFT)
    two_lines(linbp("evaluate", "gone", "--victim", "file:networks.py:net"), "gone", "does not exist")
    two_lines(linbp("evaluate", "out", "--victim", "file:networks.py:small"), "3 classes")
    two_lines(linbp("evaluate", "out", "--victim", "file:networks.py:nan"), "NaN")
    two_lines(linbp("evaluate", "out", "--victim", "gone.onnx"), "gone.onnx")
    for place, words in (("gone/x.csv", "folder does not exist"), ("out", "is a folder")):
        answer = linbp("evaluate", "out", "--victim", "file:networks.py:net", "--csv", place)
        two_lines(answer, place, words)
        assert not answer.out  # said before any victim was asked
    pixels = read_image("out/i1.png")
    write_png("out/i1.png", 255 - pixels)
    two_lines(linbp("evaluate", "out", "--victim", "file:networks.py:net"), "i1.png", "recorded")
    Path("out/i1.png").unlink()
    two_lines(linbp("evaluate", "out", "--victim", "file:networks.py:net"), "i1.png", "missing")


def test_victims_that_were_asked_are_not_lost_when_a_later_one_fails(
    linbp: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    linbp(*CRAFT)
    command = ["evaluate", "out"]
    for name in ("net", "victim", "nan", "knowing"):
        command += ["--victim", f"file:networks.py:{name}"]
    answer = linbp(*command, "--csv", "some.csv")
    assert answer.status == 2
    assert [line.split(":")[0] for line in answer.err.splitlines()] == ["Error", "Hint"]
    assert "NaN" in answer.err
    assert "tiny0" in answer.out
    assert "tiny1" in answer.out
    assert "file:networks.py:nan, file:networks.py:knowing" in answer.text  # those that were not asked
    with open("some.csv", newline="") as file:
        assert {row["victim"] for row in csv.DictReader(file)} == {"tiny0", "tiny1"}
    result = linbp(*command, "--json").facts
    assert [victim["victim"]["name"] for victim in result["victims"]] == ["tiny0", "tiny1"]
    assert result["missing"] == ["file:networks.py:nan", "file:networks.py:knowing"]
    assert result["run"]["device"] == "cpu"
    assert {"torch", "onnxruntime"} <= result["run"]["versions"].keys()

    from linbp.evaluation import folder

    ask = folder.ask

    def interrupted(victim: Any, *arguments: Any) -> Any:
        if victim.name == "tiny1":
            raise KeyboardInterrupt
        return ask(victim, *arguments)

    monkeypatch.setattr(folder, "ask", interrupted)
    answer = linbp(*command, "--csv", "some.csv")
    assert answer.status == 130
    assert "1 of 4 victims" in answer.err
    assert "another file than some.csv" in answer.err  # the same one would lose the lines of the first
    assert "tiny0" in answer.out
    monkeypatch.setattr(folder, "ask", lambda victim, *arguments: interrupted(Namespace(name="tiny1")))
    assert "No victim had answered yet" in linbp(*command).err


def test_other_bad_input_gives_two_lines(linbp: Run) -> None:
    two_lines(linbp("show", "mo"), "'mo'")
    two_lines(linbp("show", "torchvision"), "torchvision", "linbp list models")
    two_lines(linbp(*changed(eps="16")), "16/255")
    two_lines(linbp(*changed(eps="300/255")), "at most 1", "8/255")
    two_lines(linbp("inspect", "file:networks.py:net", "--image", "gone.png"), "gone.png")
    two_lines(linbp("inspect", "timm:resnet81.x"), "resnet81")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("craft",), ("Missing option '--surrogate'", "linbp craft --help")),
        (("evaluate", "out"), ("Missing option '--victim'", "linbp evaluate --help")),
        (("list", "nothing"), ("'nothing' is not one of 'recipes'", "linbp list --help")),
        (("nothing",), ("No such command 'nothing'", "linbp --help")),
        (("craft", "--stps", "3"), ("No such option: --stps", "--steps", "linbp craft --help")),
        (("craft", "--steps", "many"), ("'--steps'", "integer", "linbp craft --help")),
        ((*CRAFT, "--group-size", "3"), ("group_size is 3", "1, 4, 8, 16, 32")),
        (("craft", "--batch-size", "0"), ("'--batch-size'", "1", "linbp craft --help")),
        (("zoo", "train", "plain"), ("Missing option '--data'", "linbp zoo train --help")),
    ],
)
def test_wrong_usage_gives_two_lines(linbp: Run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    two_lines(linbp(*arguments), *words)


@pytest.mark.parametrize("arguments", [(), ("zoo",)])
def test_no_arguments_show_the_help(linbp: Run, arguments: tuple[str, ...]) -> None:
    answer = linbp(*arguments)
    assert answer.status == 2
    assert "Usage:" in answer.out + answer.err
    assert "Error" not in answer.err


def test_a_csv_file_is_written_through_links_and_into_pipes(linbp: Run, folder: Path) -> None:
    assert linbp(*CRAFT).status == 0
    command = ("evaluate", "out", "--victim", "file:networks.py:victim", "--csv")
    assert linbp(*command, "plain.csv").status == 0
    expected = Path("plain.csv").read_text()
    Path("target.csv").write_text("old")
    Path("link.csv").symlink_to("target.csv")
    assert linbp(*command, "link.csv").status == 0
    assert Path("link.csv").is_symlink()
    assert Path("target.csv").read_text() == expected
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    assert linbp(*command, "pipe").status == 0
    reader.join(timeout=30)
    assert read == [expected]
    assert Path("pipe").is_fifo()
    answer = linbp(*command, "photos")
    assert (answer.status, len(answer.err.splitlines())) == (2, 2)
    assert "photos is a folder" in answer.err


def test_victims_with_other_classes_are_refused(linbp: Run) -> None:
    assert linbp(*CRAFT).status == 0
    command = ("evaluate", "out", "--victim", "file:networks.py:more")
    two_lines(linbp(*command), "more", "7 classes", "6", "--trust-labels")
    answer = linbp(*command, "--trust-labels")
    assert (answer.status, answer.err) == (0, "")


def test_a_full_disk_gives_two_lines_and_loses_nothing(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced, replace = 0, os.replace

    def full(source: Any, target: Any) -> None:
        nonlocal replaced
        replaced += str(target).endswith(".png")
        if replaced > 4:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        two_lines(linbp(*CRAFT), "No space left on device", "kept")
    assert "2 made now, 4 kept" in linbp(*CRAFT).text


def test_debug_shows_the_traceback(linbp: Run) -> None:
    answer = linbp(*changed(eps="-1"), "--debug")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-2].startswith("Error: ")


def test_an_unexpected_error_gives_one_line_and_status_1(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("linbp.attack.named_surrogates.load_surrogate", fail)
    answer = linbp("inspect", "file:networks.py:net")
    assert (answer.status, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    for words in ("RuntimeError", "first line", "--debug"):
        assert words in line
    assert "second line" not in line


def test_used_up_memory_hints_at_the_batch_size(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("linbp.attack.job.resume.craft_batch", fail)
    two_lines(linbp(*CRAFT), "memory", "--batch-size")


def test_ctrl_c_says_what_is_kept(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from linbp.attack.job import resume as job

    calls, work = 0, job.craft_batch

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(job, "craft_batch", interrupted)
        answer = linbp(*CRAFT, "--batch-size", "4")
    assert answer.status == 130
    (line,) = answer.err.splitlines()
    assert line.startswith("Interrupted: 4 of 6 adversarial images")
    assert "kept in out" in line
    assert "2 made now, 4 kept" in linbp(*CRAFT).text


def test_bars_are_drawn_for_people_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    for quiet in (True, False):
        with progress_bars(quiet) as tell:
            tell("crafting", 1, 2)
            tell("crafting", 2, 2)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("crafting" in err) is not quiet


def test_infinite_logits_give_two_lines(linbp: Run) -> None:
    two_lines(linbp(*changed(surrogate="file:networks.py:infinite")), "NaN or infinite")
    assert not Path("out").exists()
    linbp(*CRAFT)
    two_lines(linbp("evaluate", "out", "--victim", "file:networks.py:infinite"), "NaN or infinite")


def test_adversarial_images_are_kept_when_a_later_image_gives_nan(linbp: Run) -> None:
    for number in range(6):
        pixels = read_image(f"photos/i{number}.png").copy()
        pixels[0, 0, 0] = 255 if number == 4 else 10
        write_png(f"photos/i{number}.png", pixels)
    command = changed(surrogate="file:networks.py:fragile", batch_size="1")
    two_lines(linbp(*command, "--trust-labels"), "NaN", "i4")
    kept = {path.name: path.read_bytes() for path in Path("out").glob("*.png")}
    assert sorted(kept) == [f"i{number}.png" for number in range(4)]
    two_lines(linbp(*command, "--trust-labels"), "NaN", "i4")
    assert {path.name: path.read_bytes() for path in Path("out").glob("*.png")} == kept


def test_adversarial_images_that_did_not_change_are_told(linbp: Run) -> None:
    answer = linbp(*changed(surrogate="file:networks.py:certain"), "--trust-labels", "--labels", "predicted", "--json")
    assert json.loads(answer.out)["unchanged"] == 6
    answer = linbp(*changed(surrogate="file:networks.py:certain"), "--trust-labels", "--labels", "predicted")
    assert "Note: 6 adversarial images are their clean images" in answer.text
    assert "are their clean images" not in linbp(*changed(out="other")).text


def test_tables_are_as_wide_as_columns_says(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    widest = {}
    for columns in ("60", "120"):
        monkeypatch.setenv("COLUMNS", columns)
        widest[columns] = max(map(len, linbp("list", "recipes").out.splitlines()))
    assert widest["60"] <= 60 < widest["120"] <= 120


def test_the_demonstration_ends_with_its_table(linbp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from linbp import bench
    from linbp.bench.demo import DemoResult, RecipeResult
    from linbp.evaluation import evaluate

    clean, adv_image = (np.full((1, 3, 8, 8), level, np.uint8) for level in (5, 6))
    knowing = evaluate("file:networks.py:knowing", clean, adv_image, [5])
    line = RecipeResult(recipe="ifgsm", folder=Path("demo/ifgsm"), white_box=knowing, victims=(knowing, knowing))

    def run_demo(out: Path, demonstration: bench.Demonstration, **_: Any) -> DemoResult:
        asked.append(demonstration)
        return DemoResult(
            surrogate="knowing",
            victims=("knowing", "knowing"),
            eps="16/255",
            steps=50,
            images=1,
            recipes=(line,),
            picture=out / "demo.png",
            seconds=2.0,
            words={},
            run={},
            remark="These images are few.",
        )

    asked: list[bench.Demonstration] = []
    monkeypatch.setattr(bench, "run_demo", run_demo)
    answer = linbp("demo", "--out", "here")
    assert answer.status == 0, answer.err
    for words in ("(surrogate)", "(victim)", "ifgsm", "100.0% (1/1)", "21% to 100%", "images are few", "here/demo.png"):
        assert words in answer.text
    assert linbp("demo", "--json").facts["recipes"][0]["victims"][0]["fooled"]["n"] == 1
    assert linbp("demo", "--cifar10").status == 0
    assert asked == [bench.IMAGENET, bench.IMAGENET, bench.CIFAR10]

    def interrupted(out: Path, demonstration: bench.Demonstration, **_: Any) -> DemoResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run_demo", interrupted)
    answer = linbp("demo", "--out", "here")
    assert (answer.status, answer.out) == (130, "")
    assert "kept in here" in answer.err


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (changed(data=""), "--data"),
        (changed(out=""), "--out"),
        (("craft", "--recipe="), "--recipe"),
        (("evaluate", ""), "evaluate"),
        (("",), "first argument"),
    ],
)
def test_an_unset_variable_of_the_shell_is_noticed(linbp: Run, arguments: tuple[str, ...], place: str) -> None:
    before = sorted(Path().iterdir())
    two_lines(linbp(*arguments), place, "empty", "variable")
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("word", "name"), [("momentum", "mi (momentum)"), ("diverse", "di (diverse inputs)"), ("variance", "vt (")]
)
def test_what_a_part_is_called_in_words_finds_it(linbp: Run, word: str, name: str) -> None:
    two_lines(linbp("show", word), repr(word), name)


@pytest.mark.parametrize("columns", [80, 110])
def test_show_fills_the_lines_of_a_terminal(linbp: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = linbp("show", "linbp").out
    formula = "u = W1' W2' W3' g,    v = W1' M1 W2' M2 W3' g,    alpha = |v| / |u|  (L2, one ratio an image),"
    assert f"    {formula}\n" in text
    prose = [line for line in text.splitlines()[1:] if "W1" not in line]  # what can be copied stays one line
    assert all(len(line) <= columns for line in prose)
    start = text[text.index("    start: ") :].partition("    rebalance: ")[0].splitlines()
    assert all(line.startswith("        ") for line in start[1:])
    # Every line but the last is as full as the next word allows.
    for line, following in itertools.pairwise(start):
        assert len(line) + 1 + len(following.split()[0]) > columns


def test_filling_keeps_every_word_and_list() -> None:
    from linbp.attack import Recipe
    from linbp.cli.paragraphs import filled
    from linbp.data.image_list import list_images

    for thing in (Recipe, Recipe.parse, list_images, main):
        text = inspect.getdoc(thing) or ""
        for width in (40, 72, 200):
            assert filled(text, width).split() == text.split()
    listed = filled(inspect.getdoc(list_images) or "", 200).splitlines()
    assert sum(line.startswith("- ") for line in listed) == 4


def test_a_victim_without_a_sidecar_is_noted(linbp: Run) -> None:
    from torch import nn

    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 6)).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, "plain.pt2")
    assert linbp(*CRAFT).status == 0
    answer = linbp("evaluate", "out", "--victim", "plain.pt2")
    assert "Note: plain.pt2 gets RGB in [0, 1]" in answer.text
    assert "plain.json" in answer.text
    Path("plain.json").write_text('{"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}')
    assert "gets RGB" not in linbp("evaluate", "out", "--victim", "plain.pt2").out


def test_inspect_writes_paths_as_the_grammar_reads_them(linbp: Run) -> None:
    Path("nested.py").write_text(
        "import linbp\nfrom torch import nn\n\ndef net():\n"
        "    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
        "    outer = nn.Sequential(inner, nn.Flatten(), nn.Linear(144, 6))\n"
        "    return linbp.Model(outer, input_size=(3, 8, 8))\n"
    )
    answer = linbp("inspect", "file:nested.py:net")
    assert "linbp(start='0.1')" in answer.text
    crafted = linbp(*changed(surrogate="file:nested.py:net", recipe="linbp(start='0.1')"))
    assert crafted.status == 0, crafted.err


def test_the_devices_that_there_are_are_named(linbp: Run) -> None:
    two_lines(linbp(*changed(device="cuad")), "'cuad'", "have: cpu")
