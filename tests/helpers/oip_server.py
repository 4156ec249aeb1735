"""A small server of the Open Inference Protocol on loopback, which can be told to misbehave."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Asked", "Fault", "OipServer", "mean_scores", "serve"]

Array = npt.NDArray[Any]


def mean_scores(images: Array) -> Array:
    """A score for each channel: its mean."""
    found: Array = images.astype(np.float64).mean((2, 3)).astype(np.float32)
    return found


@dataclass(frozen=True)
class Fault:
    """What a server does instead of answering.

    Attributes:
        status: of the answer.
        body: of the answer; None: the right one.
        headers: of the answer.
        cut: how many bytes of the body are sent, though all are announced.
        reset: whether the connection is reset instead.
        pause: seconds before anything is sent.
    """

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    pause: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request: its images as they were sent, its headers, when it came."""

    images: Array
    headers: dict[str, str]
    time: float


@dataclass
class OipServer:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        model: its name.
        asked: every request for answers, in order; those that are answered by a fault, too.
        answer: outputs by name for a batch as it was sent.
        metadata: of the model.
        extensions: that the server says it has.
        fault: what it does with the request of that number, counted from 0; None: it answers.
    """

    port: int = 0
    model: str = "mean"
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[Array], dict[str, Array]] = lambda images: {"scores": mean_scores(images)}
    metadata: dict[str, Any] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    fault: Callable[[int], Fault | None] = lambda number: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """The model as linbp names it."""
        return f"oip:http://127.0.0.1:{self.port}/{self.model}"

    @property
    def images(self) -> int:
        """How many images were sent."""
        return sum(len(one.images) for one in self.asked)


KINDS = {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64, "UINT8": np.uint8}
NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "object": "BYTES"}


@contextmanager
def serve(*, shape: list[int] | None = None, dtype: str = "FP32", **options: Any) -> Iterator[OipServer]:
    """A server of one model with an input `images` and an output `scores`.

    Args:
        shape: of the input, as the metadata say it.
        dtype: likewise.
        options: attributes of the server.
    """
    server = OipServer(**options)
    server.metadata = {
        "name": server.model,
        "versions": ["1"],
        "platform": "test",
        "inputs": [{"name": "images", "datatype": dtype, "shape": shape or [-1, 3, 8, 8]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
        **server.metadata,
    }
    handler = type("Handler", (_Handler,), {"about": server})
    with _Server(("127.0.0.1", 0), handler) as listening:
        server.port = listening.server_port
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up early is part of a test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    about: OipServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, model = self.path.removeprefix("/prefix"), f"/v2/models/{self.about.model}"
        if path == "/v2":
            self._send({"name": "test", "version": "1.0", "extensions": self.about.extensions})
        elif path in (model, f"{model}/versions/1"):
            self._send(self.about.metadata)
        elif path == f"{model}/config":
            self._send(self.about.config)
        else:
            self._send({"error": "no such model"}, 404)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        length = self.headers.get("Inference-Header-Content-Length")
        question = json.loads(content if length is None else content[: int(length)])
        (tensor,) = question["inputs"]
        kind = KINDS[tensor["datatype"]]
        if length is None:
            array = np.array(tensor["data"], dtype=kind).reshape(tensor["shape"])
        else:
            array = np.frombuffer(content[int(length) :], dtype=kind).reshape(tensor["shape"])
        with self.about.lock:
            number = len(self.about.asked)
            self.about.asked.append(Asked(array, dict(self.headers), time.monotonic()))
        fault = self.about.fault(number) or Fault()
        time.sleep(fault.pause)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault.body is not None:
            self._write(fault.body, fault.status, fault.headers, fault.cut)
            return
        outputs = [
            {
                "name": name,
                "datatype": NAMES[value.dtype.name],
                "shape": list(value.shape),
                "data": [one.decode() if isinstance(one, bytes) else one for one in value.ravel().tolist()],
            }
            for name, value in self.about.answer(array).items()
        ]
        self._send({"model_name": self.about.model, "outputs": outputs}, fault.status, fault.headers, fault.cut)

    def _send(self, value: Any, status: int = 200, headers: Any = None, cut: int | None = None) -> None:
        self._write(json.dumps(value).encode(), status, headers or {}, cut)

    def _write(self, body: bytes, status: int, headers: dict[str, str], cut: int | None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *values: object) -> None:
        """Nothing on standard error."""
