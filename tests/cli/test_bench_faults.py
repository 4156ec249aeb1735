"""`linbp bench` and what users get wrong: one line and a hint, and nothing that stands in the way afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, two_lines
from small_suites import small_suite

from linbp.bench.class_lists import check_class_lists
from linbp.bench.store import LocalStore
from linbp.errors import ModelError

NETS = "file:nets.py"
CLASSES = """

def named(names):
    network = tiny_chain()
    network.name, network.class_names = f"named {names[0]}", tuple(names)
    return network

def forward(): return named(["ant", "bee", "cat", "dog", "eel", "fox", "gnu"])
def backward(): return named(["gnu", "fox", "eel", "dog", "cat", "bee", "ant"])
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a suite into the working directory; its name."""
    monkeypatch.chdir(tmp_path)

    def write(**changes: Any) -> str:
        given = {
            "surrogates": [{"name": "tiny", "model": f"{NETS}:tiny"}],
            "victims": {"chain": f"{NETS}:tiny_chain"},
            "recipes": {"mi": "mifgsm"},
            "eps": "8/255",
        }
        path = small_suite(tmp_path, images=4, **{**given, **changes})
        (tmp_path / "nets.py").write_text((tmp_path / "nets.py").read_text() + CLASSES)
        return path.name

    return write


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"victims": {"gone": "gone.onnx"}}, ["Victim gone", "gone.onnx"]),
        ({"victims": {"gone": f"{NETS}:gone"}}, ["Victim gone", "gone"]),
        ({"victims": {"no": "nowhere:x"}}, ["Victim no", "nowhere"]),
        ({"surrogates": ["torchvision:resnet18@gone.pth"]}, ["Surrogate torchvision:resnet18", "gone.pth"]),
        ({"surrogates": ["torchvision:resnet18@V9"]}, ["V9", "IMAGENET1K_V1"]),
        ({"recipes": {"mi": "mifgsn"}}, ["Recipe mi", "mifgsn", "'mifgsm'"]),
        ({"protocol": "linbp-2020"}, ["linbp-2020"]),
        ({"data": {"kind": "folder", "path": "gone"}}, ["gone", "--data"]),
        ({"data": {"kind": "parquet", "path": "nets.py"}}, ["nets.py", "Parquet"]),
        ({"data": {"kind": "huggingface", "path": "photos"}}, ["photos", "state.json"]),
        ({"pool": "gone", "recipes": ["admix-mifgsm"]}, ["pool", "gone"]),
        ({"victims": {"other": "cifar10:vgg19_bn@random"}, "trust_labels": False}, ["classes", "7", "10"]),
        (
            {"victims": {"a": f"{NETS}:forward", "b": f"{NETS}:backward"}, "trust_labels": False},
            ["order", "'ant'", "class 0", "class 6"],
        ),
    ],
)
def test_what_a_suite_names_and_is_not_there(
    run: Run, suite: Callable[..., str], change: dict[str, Any], words: list[str]
) -> None:
    for more in (["--dry-run"], []):
        two_lines(run("bench", suite(**change), "--out", "made", *more), *words)
    assert run("bench", suite(), "--out", "made").status == 0  # the same folder takes the suite that is mended


def test_an_image_that_is_missing_and_one_that_is_broken(run: Run, suite: Callable[..., str]) -> None:
    name = suite()
    Path("photos/002.png").write_bytes(b"no image")
    two_lines(run("bench", name, "--out", "made"), "002.png")
    Path("photos/002.png").unlink()
    two_lines(run("bench", name, "--out", "made"), "002.png")
    assert not Path("made/suite.toml").exists()


def test_an_answer_that_was_cut_off_and_a_table_that_was(run: Run, suite: Callable[..., str]) -> None:
    name = suite()
    assert run("bench", name, "--out", "made", "--json").facts["rows"] == 4
    table = Path("made/results.parquet")
    whole = table.read_bytes()
    table.write_bytes(whole[:100])
    for command in (["report", "made"], ["compare", "made", "made"], ["report", str(table)]):
        two_lines(run(*command), "results.parquet", "Parquet", "linbp bench")
    next(iter(Path("made/answers").iterdir())).write_bytes(b"PAR1")
    facts = run("bench", name, "--out", "made", "--json").facts
    assert facts["tasks_done"] == 1
    assert table.read_bytes() == whole


def test_places_that_take_no_run(run: Run, suite: Callable[..., str]) -> None:
    name = suite()
    two_lines(run("bench", name, "--out", "photos"), "photos", "suite.toml")
    two_lines(run("bench", name, "--out", "nets.py"), "nets.py")
    two_lines(run("bench", name, "--out", "nowhere://x"), "nowhere")
    two_lines(run("bench", name), "--out")
    assert run("bench", name, "--out", "made").status == 0
    two_lines(run("bench", suite(name="other"), "--out", "made"), "'small'", "'other'")
    two_lines(run("report", "gone"), "gone")


def test_a_disk_that_is_too_small(run: Run, suite: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = suite()
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "free", lambda _: 1000)
        for more in (["--dry-run"], []):
            two_lines(run("bench", name, "--out", "made", *more), "made", "KiB")
    assert run("bench", name, "--out", "made").status == 0
    monkeypatch.setattr(LocalStore, "free", lambda _: 0)
    assert run("bench", name, "--out", "made").status == 0  # nothing is left to write


def test_a_cluster_that_is_not_there(run: Run, suite: Callable[..., str]) -> None:
    pytest.importorskip("ray", reason="needs pip install '.[ray]'")
    two_lines(run("bench", suite(), "--out", "made", "--ray", "127.0.0.1:9"), "127.0.0.1:9", "ray start")
    assert not Path("made").exists()


def test_a_run_that_ended_while_it_read_images_goes_on(run: Run, suite: Callable[..., str], tmp_path: Path) -> None:
    from io import BytesIO

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    images = []
    for number in range(3):
        file = BytesIO()
        Image.fromarray(np.full((12, 12, 3), 40 * number, np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2]}), "photos.parquet")
    name = suite(data={"kind": "parquet", "path": "photos.parquet"})
    assert run("bench", name, "--out", "whole").status == 0
    Path("cut").mkdir()
    shutil.copytree("whole/images", "cut/images")
    assert run("bench", name, "--out", "cut").status == 0
    assert Path("cut/results.parquet").read_bytes() == Path("whole/results.parquet").read_bytes()
    Path("mine/images").mkdir(parents=True)
    Path("mine/images/holiday.png").write_bytes(images[0])
    two_lines(run("bench", name, "--out", "mine"), "holiday.png")


@pytest.mark.parametrize(
    ("lists", "fault"),
    [
        ([["a", "b", "c", "d"], ["A", "b, bee", "C_", "d"]], False),
        ([["a", "b", "c", "d"], ["ant", "bee", "cat", "dog"]], False),
        ([["a", "b", "c", "d"], []], False),
        ([[*"abcdefgh"], [*"abdcefgh"]], True),
        ([[*"abcdefgh"], [*"bcdefgha"]], True),
        ([["crane", "b", "c", "d"], ["crane bird", "b", "crane", "d"]], False),
    ],
)
def test_class_lists_in_another_order(lists: list[list[str]], fault: bool) -> None:
    names = dict(zip(("one", "other"), lists, strict=True))
    counts = dict.fromkeys(names, len(lists[0]))
    if not fault:
        check_class_lists(counts, names)
        return
    with pytest.raises(ModelError, match="order"):
        check_class_lists(counts, names)
