"""A run behind an S3 address, on a real server of this machine, has the bytes of one in a folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_suites import small_suite

from linbp.bench.run import run_bench
from linbp.bench.store import RemoteStore, open_store
from linbp.errors import StoreError

BUCKET = "runs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with one bucket, which every process finds in its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    started = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    address = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import boto3

        deadline = time.monotonic() + 60
        while True:
            try:
                boto3.client("s3").create_bucket(Bucket=BUCKET)
                break
            except Exception:
                assert started.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
        yield address
    started.send_signal(signal.SIGTERM)
    started.wait(30)
    log.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_in_a_bucket_is_that_of_a_folder_and_goes_on_where_it_was(server: str, tmp_path: Path) -> None:
    suite = small_suite(tmp_path, images=6, shard_size=2)
    run_bench(suite, tmp_path / "run")
    expected = (tmp_path / "run" / "results.parquet").read_bytes()
    url = f"s3://{BUCKET}/tonight"
    run_bench(suite, url)
    store = open_store(url)
    assert isinstance(store, RemoteStore)
    assert store.read("results.parquet") == expected
    local = open_store(tmp_path / "run")
    assert store.names() == local.names()
    answers = sorted(name for name in store.names() if name.startswith("answers/"))
    store.delete(answers[0])
    store.delete("results.parquet")
    run_bench(suite, url)
    assert store.read("results.parquet") == expected


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """In a process of its own, since a client keeps the address that it found first."""
    suite = small_suite(tmp_path, images=2, recipes=["mifgsm"], eps="8/255")
    ended = subprocess.run(
        [sys.executable, "-m", "linbp.cli", "bench", str(suite), "--out", "s3://runs/gone"],
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert [line.split()[0] for line in ended.stderr.splitlines() if line.strip()][-2:] == ["Error:", "Hint:"]
    assert "s3://runs/gone" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bucket_that_is_not_there_is_told_before_any_work(server: str, tmp_path: Path) -> None:
    suite = small_suite(tmp_path, recipes=["mifgsm"], eps="8/255")
    told: list[str] = []
    with pytest.raises(StoreError, match="s3://nowhere/run") as caught:
        run_bench(suite, "s3://nowhere/run", progress=lambda stage, done, total: told.append(stage))
    assert "\n" not in caught.value.message
    assert told == []


def test_another_protocol_needs_its_package() -> None:
    with pytest.raises(StoreError, match="nowhere"):
        open_store("nowhere://bucket/run")
