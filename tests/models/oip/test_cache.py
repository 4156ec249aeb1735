"""Kept answers under several processes and under a kill: no image is asked about twice."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from oip_server import Fault, OipServer, serve

from linbp.models import load_model
from linbp.models.oip.cache import AnswerCache

ASK = """
import sys
import numpy as np
import torch
from linbp.models import load_model
images = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
load_model(sys.argv[1]).logits(torch.from_numpy(images).float() / 255)
"""
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)).float() / 255


def start(server: OipServer, folder: Path) -> subprocess.Popen[bytes]:
    """A process that asks about the images, one in a request."""
    (folder / "side.json").write_text(json.dumps({"batch": 1}))
    words = [sys.executable, "-c", ASK, f"{server.name}@{folder / 'side.json'}"]
    return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder)


def wait_for(server: OipServer, process: subprocess.Popen[bytes], images: int) -> None:
    """Until the process has sent so many."""
    while server.images < images:
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_ask_about_each_image_once(tmp_path: Path) -> None:
    """The second one finds all images taken, waits, and gets the first one's answers."""
    with serve(fault=lambda number: Fault(pause=0.1)) as server:
        first = start(server, tmp_path)
        wait_for(server, first, 1)
        found = load_model(f"{server.name}@{tmp_path / 'side.json'}").logits(IMAGES.flip(0))
        torch.testing.assert_close(found, IMAGES.flip(0).mean((2, 3)))
        assert first.wait(120) == 0
        assert server.images == 12


@pytest.mark.slow
def test_after_a_kill_only_the_rest_is_asked(tmp_path: Path, cache: Path) -> None:
    """The killed process had one request under way, which is asked again; its claims do not keep others waiting."""
    with serve(fault=lambda number: Fault(pause=0.2)) as server:
        killed = start(server, tmp_path)
        wait_for(server, killed, 5)
        killed.kill()
        killed.wait()
        before = server.images
        (file,) = (cache / "answers").glob("*.sqlite")
        with contextlib.closing(sqlite3.connect(file)) as connection:
            (kept,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        assert before - 1 <= kept <= before < 12
        server.fault = lambda number: None
        load_model(f"{server.name}@{tmp_path / 'side.json'}").logits(IMAGES)
        assert server.images == before + 12 - kept


def test_claims_end(cache: Path) -> None:
    """They end when they are given back, and when their time is over."""
    kept = AnswerCache("model", "0" * 64, {})
    one, two = b"1" * 32, b"2" * 32
    assert kept.claim([one, two], "first", 60) == [one, two]
    assert kept.claim([one, two], "second", 60) == []
    kept.put({one: np.zeros(3)})
    kept.release("first")
    assert kept.claim([one, two], "second", -1) == [two]
    assert kept.claim([one, two], "third", 60) == [two]
