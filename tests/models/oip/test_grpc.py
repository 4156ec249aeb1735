"""Over gRPC: faults, headers and messages, against a server of a few lines (MLServer's answers are tested apart)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from linbp.errors import ModelError
from linbp.models import load_model
from linbp.models.oip import faults

grpc = pytest.importorskip("grpc")

TOKEN = "s3cr3t-w0rd"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first repetition comes after a few milliseconds."""
    monkeypatch.setattr(faults, "FIRST", 0.005)


@contextmanager
def serve(fault: Callable[[int], Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The name of a model that answers with the mean of each channel, and the headers of each request.

    Args:
        fault: status and words that the request of a number, counted from 0, is refused with; None: none.
    """
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    asked: list[dict[str, str]] = []

    class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc,name-defined,unused-ignore]
        def ServerMetadata(self, request: Any, context: Any) -> Any:
            return service_pb2.ServerMetadataResponse(name="test", version="1")

        def ModelMetadata(self, request: Any, context: Any) -> Any:
            if request.name != "mean":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
            found = service_pb2.ModelMetadataResponse(name="mean", versions=["1"], platform="test")
            found.inputs.add(name="images", datatype="FP32", shape=[-1, 3, 4, 4])
            found.outputs.add(name="scores", datatype="FP32", shape=[-1, 3])
            return found

        def ModelInfer(self, request: Any, context: Any) -> Any:
            number = len(asked)
            asked.append(dict(context.invocation_metadata()))
            if (found := fault(number)) is not None:
                context.abort(*found)
            shape = list(request.inputs[0].shape)
            images = np.frombuffer(request.raw_input_contents[0], dtype=np.float32).reshape(shape)
            means = images.mean((2, 3), dtype=np.float64).astype(np.float32)
            answer = service_pb2.ModelInferResponse(model_name="mean", raw_output_contents=[means.tobytes()])
            answer.outputs.add(name="scores", datatype="FP32", shape=means.shape)
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"oip:grpc://127.0.0.1:{port}/mean", asked
    finally:
        server.stop(None).wait()


IMAGES = torch.from_numpy(np.random.default_rng(0).random((3, 3, 4, 4), dtype=np.float32))


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED"])
def test_what_may_pass_is_asked_again(status: str) -> None:
    with serve(lambda number: (grpc.StatusCode[status], "busy") if number < 2 else None) as (name, asked):
        found = load_model(name).logits(IMAGES)
        torch.testing.assert_close(found, IMAGES.mean((2, 3)))
        assert len(asked) == 3


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "UNIMPLEMENTED"])
def test_what_cannot_pass_is_asked_once_and_a_token_is_not_repeated(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINBP_VICTIM_TOKEN", TOKEN)
    words = f"not with {TOKEN}"
    with serve(lambda number: (grpc.StatusCode[status], words)) as (name, asked):
        with pytest.raises(ModelError, match=rf"{status}: not with \*\*\*") as error:
            load_model(name).logits(IMAGES)
        assert [one["authorization"] for one in asked] == [f"Bearer {TOKEN}"]
    assert TOKEN not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.hint


def test_a_hang_ends(tmp_path: Path) -> None:
    import threading

    released = threading.Event()

    def wait(number: int) -> None:
        released.wait(20)

    file = tmp_path / "side.json"
    file.write_text(json.dumps({"timeout": 0.3, "retries": 1}))
    with serve(wait) as (name, asked):
        model = load_model(f"{name}@{file}")
        with pytest.raises(ModelError, match=r"2 times in vain.*DEADLINE_EXCEEDED"):
            model.logits(IMAGES)
        released.set()
        assert len(asked) == 2


def test_no_such_model_and_no_such_server(tmp_path: Path) -> None:
    with serve(lambda number: None) as (name, _):
        with pytest.raises(ModelError, match="NOT_FOUND") as error:
            load_model(name.replace("mean", "other"))
        assert "oip:grpc" in error.value.hint
    file = tmp_path / "side.json"
    file.write_text(json.dumps({"retries": 1, "timeout": 2}))
    with pytest.raises(ModelError, match="2 times in vain"):
        load_model(f"{name}@{file}")
