"""The folder of a job: whole files, a lock, layouts, and nothing of anybody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from linbp.errors import StoreError
from linbp.jobs.folder import JobFolder, serialized


class Bakery(JobFolder):
    """A kind of job."""

    COMMAND, LAYOUT = "linbp bake", "bread 2"


def test_a_manifest_comes_back_and_says_its_layout(tmp_path: Path) -> None:
    folder = Bakery(tmp_path)
    assert folder.read_manifest() is None
    folder.write_manifest({"flour": "spelt", "file": "\udce4.png"})
    assert folder.read_manifest() == {"flour": "spelt", "file": "\udce4.png"}
    assert json.loads((tmp_path / "manifest.json").read_bytes())["format"] == "bread 2"


@pytest.mark.parametrize(
    ("content", "works"),
    [('{"format": "bread 2"}', True), ('{"format": "bread 3"}', False), ("{}", False), ("[]", False), ("{", False)],
)
def test_only_known_layouts_are_read(tmp_path: Path, content: str, works: bool) -> None:
    (tmp_path / "manifest.json").write_text(content)
    if works:
        assert Bakery(tmp_path).read_manifest() == {}
        return
    with pytest.raises(StoreError) as refused:
        Bakery(tmp_path).read_manifest()
    assert refused.value.hint


def test_a_checkpoint_comes_back_and_goes(tmp_path: Path) -> None:
    folder = Bakery(tmp_path)
    assert folder.read_checkpoint() is None
    folder.write_checkpoint({"step": 3, "weights": torch.arange(4.0)})
    found = folder.read_checkpoint()
    assert found is not None
    assert (found.keys(), found["step"]) == ({"step", "weights"}, 3)
    assert torch.equal(found["weights"], torch.arange(4.0))
    folder.drop_checkpoint()
    folder.drop_checkpoint()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    """Those of linearize that were written before it had a layout are such."""
    torch.save({"tuner": {}, "step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(StoreError, match="linbp bake") as refused:
        Bakery(tmp_path).read_checkpoint()
    assert "Delete it" in refused.value.hint
    assert "\n" not in refused.value.message


def test_a_job_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:

    def fail() -> None:
        with Bakery(tmp_path / "new" / "deep").locked():
            assert (tmp_path / "new" / "deep").is_dir()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with Bakery(tmp_path / "mine").locked():
        pass
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_job_that_wrote_something_keeps_it_and_loses_what_is_half_written(tmp_path: Path) -> None:
    folder = Bakery(tmp_path / "out")
    with folder.locked():
        folder.write_manifest({})
    (tmp_path / "out" / ".bread.png.7.tmp").write_bytes(b"half")
    with folder.locked():
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "manifest.json"]


def test_files_of_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".x.tmp").write_text("mine too")
    with pytest.raises(StoreError, match=r"manifest\.json.*notes\.txt"), Bakery(tmp_path).locked():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x.tmp", "notes.txt"]


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(StoreError, match="empty"):
        Bakery("")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no files so")
def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Bakery(tmp_path).locked():
        code = (
            "from pathlib import Path\nfrom linbp.errors import StoreError\nfrom linbp.jobs.lock import locked\n"
            f"try:\n    with locked(Path({str(tmp_path)!r})):\n        print('in')\n"
            "except StoreError as refused:\n    print('out')"
        )
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "out\n"


def test_ctrl_c_in_a_saver_is_ctrl_c() -> None:
    def save(thing: object, _: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise RuntimeError("unexpected pos 64 vs 0") from stop

    with pytest.raises(KeyboardInterrupt):
        serialized(save, {})
    with pytest.raises(ZeroDivisionError):
        serialized(lambda thing, buffer: 1 / 0, {})  # type: ignore[arg-type, return-value]


def test_the_folder_as_a_path_like(tmp_path: Path) -> None:
    assert Bakery(os.fspath(tmp_path)).path == tmp_path
