"""A real MLServer on loopback, in the environment that `make test` builds for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["MlServer", "mlserver"]

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-mlserver" / "bin" / "mlserver"
PATIENCE = 120.0
"""Seconds that a server may take to start."""


@dataclass(frozen=True)
class MlServer:
    """A running server.

    Attributes:
        http: its port for REST.
        grpc: its port for gRPC.
        log: what it wrote.
    """

    http: int
    grpc: int
    log: Path

    def name(self, model: str, scheme: str = "http") -> str:
        """A model as linbp names it."""
        port = self.grpc if scheme == "grpc" else self.http
        return f"oip:{scheme}://127.0.0.1:{port}/{model}"


@contextmanager
def mlserver(folder: Path, models: Mapping[str, Mapping[str, Any]]) -> Iterator[MlServer]:
    """A server of some models; the test is skipped where MLServer's environment was not built, unless all must run.

    Args:
        folder: new, for its settings.
        models: their settings, by name; `uri` is the ONNX file, `answers` what they answer with.
    """
    if not PROGRAM.exists():
        assert not os.environ.get("LINBP_TEST_ALL"), f"{PROGRAM} is missing: run make test."
        pytest.skip("needs MLServer in .venv-mlserver, which make test builds")
    with ExitStack() as stack:
        ports = []
        for _ in range(3):
            holder = stack.enter_context(socket.socket())
            holder.bind(("127.0.0.1", 0))
            ports.append(holder.getsockname()[1])
    settings = {
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "parallel_workers": 0,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    for name, given in models.items():
        (folder / name).mkdir()
        parameters = {"uri": str(given["uri"]), "extra": {"answers": given.get("answers", "scores")}}
        about = {
            "name": name,
            "implementation": "onnx_runtime.OnnxRuntime",
            "inputs": given.get("inputs", []),
            "outputs": given.get("outputs", []),
            "parameters": parameters,
        }
        (folder / name / "model-settings.json").write_text(json.dumps(about))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "mlserver"), "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "start", str(folder)], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, ports[0], log)
        yield MlServer(ports[0], ports[1], log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server is ready."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    raise AssertionError(f"MLServer did not start:\n{log.read_text(errors='replace')[-3000:]}")
