"""The Open Inference Protocol over gRPC, through tritonclient."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy.typing as npt

from linbp.errors import ModelError
from linbp.models.extras import require
from linbp.models.oip.address import Address
from linbp.models.oip.faults import SOURCE, PassingFault
from linbp.models.oip.outputs import chosen_outputs, shown_text
from linbp.models.oip.secrets import Headers
from linbp.models.oip.tensors import Tensors

__all__ = ["GrpcClient"]

PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED")
"""Statuses after which the same request may succeed."""

REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class GrpcClient:
    """Asks one model of one server; threads may share it.

    Args:
        address: of the model.
        headers: of every request.
        timeout: seconds that a request may take.
    """

    def __init__(self, address: Address, headers: Headers, timeout: float) -> None:
        self.address, self.headers, self.timeout = address, headers, timeout
        require("grpc", "http", SOURCE)  # without it tritonclient raises something else
        self._grpc: Any = require("tritonclient.grpc", "http", SOURCE)
        self._client = self._grpc.InferenceServerClient(address.host, ssl=address.scheme == "grpcs")

    def metadata(self) -> dict[str, Any]:
        """What the server says about the model, and about itself under `server`.

        Raises:
            PassingFault, ModelError: it says nothing.
        """
        server = self._call("get_server_metadata", missing=True)
        where = (self.address.model, self.address.version)
        told = self._call("get_model_metadata", *where)
        found: dict[str, Any] = {
            "name": told.name,
            "versions": list(told.versions),
            "platform": told.platform,
            "server": None if server is None else {"name": server.name, "version": server.version},
        }
        for key in ("inputs", "outputs"):
            entries = getattr(told, key)
            found[key] = [
                {"name": one.name, "datatype": one.datatype, "shape": [int(length) for length in one.shape]}
                for one in entries
            ]
        if server is not None and "model_configuration" in server.extensions:
            config = self._call("get_model_config", *where, missing=True)
            found["max_batch_size"] = None if config is None else int(config.config.max_batch_size)
        return found

    def infer(self, array: npt.NDArray[Any], tensors: Tensors, top: int | None) -> list[npt.NDArray[Any]]:
        """As `Client` says."""
        given = self._grpc.InferInput(tensors.input, list(array.shape), tensors.dtype)
        given.set_data_from_numpy(array)
        outputs = [self._grpc.InferRequestedOutput(name, class_count=top or 0) for name in tensors.outputs]
        result = self._call(
            "infer", self.address.model, [given], model_version=self.address.version, outputs=outputs or None
        )
        try:
            arrays = {one.name: result.as_numpy(one.name) for one in result.get_response().outputs}
        # Of what is no answer numpy may raise anything, such as for a shape that does not fit its bytes.
        except Exception as error:
            raise ModelError(
                f"{self.address.server} answers with something that cannot be read: {type(error).__name__}: "
                f"{self.headers.censored(shown_text(str(error)))}.",
                "See the server's log.",
            ) from None
        return chosen_outputs(arrays, tensors.outputs, self.address.model)

    def _call(self, method: str, *values: Any, missing: bool = False, **options: Any) -> Any:
        """What a method of the client returns; None where the server may lack it and does."""
        from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

        headers = {header.lower(): value for header, value in self.headers.values().items()}
        try:
            return getattr(self._client, method)(
                *values, headers=headers or None, client_timeout=self.timeout, **options
            )
        except InferenceServerException as error:
            status = str(error.status() or "").removeprefix("StatusCode.")
            if missing and status in ("UNIMPLEMENTED", "NOT_FOUND"):
                return None
            words = self.headers.censored(shown_text(str(error.message() or "")))
            fault = f"{status}: {words}" if words else status
            too_large = status == "RESOURCE_EXHAUSTED" and "larger than max" in words
            if status in PASSING and not too_large:
                raise PassingFault(fault) from None
            raise ModelError(f"{self.address} answers {fault.rstrip('.')}.", _advice(status, too_large)) from None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be ending
            self._client.close()


def _advice(status: str, too_large: bool) -> str:
    """What may help after a status that will not pass."""
    if status in REFUSED:
        return (
            "Put the token into the environment variable LINBP_VICTIM_TOKEN, or name the header and its variable in "
            '"headers_env" of the JSON file.'
        )
    if status == "NOT_FOUND":
        return "Is that the model's name on the server, and is it loaded? Write oip:grpc://HOST:PORT/MODEL."
    if too_large:
        return "Ask about fewer images at a time: batch in the JSON file."
    return (
        "Do input, output, size and layout fit what the model takes? If it takes fewer images at a time, write "
        '{"batch": 1} into a JSON file and name the model oip:URL@FILE.json.'
    )
