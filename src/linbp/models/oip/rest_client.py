"""The Open Inference Protocol over REST.

tritonclient writes and reads the messages; urllib3 carries them, because tritonclient's own REST client neither tells
what a Retry-After header says nor may be shared by threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import urllib3

from linbp.errors import ModelError
from linbp.models.extras import require
from linbp.models.oip.address import Address
from linbp.models.oip.faults import PASSING, SOURCE, PassingFault, retry_after
from linbp.models.oip.outputs import chosen_outputs, shown_text
from linbp.models.oip.secrets import Headers
from linbp.models.oip.tensors import Tensors

__all__ = ["RestClient"]

MOST = 2**30
"""The most bytes of an answer."""

OK, NOT_FOUND = 200, 404


class RestClient:
    """Asks one model of one server; threads may share it.

    Args:
        address: of the model.
        headers: of every request.
        timeout: seconds that a request may take.
        connections: how many may be open at a time.
    """

    def __init__(self, address: Address, headers: Headers, timeout: float, connections: int) -> None:
        self.address, self.headers, self.timeout = address, headers, timeout
        require("geventhttpclient", "http", SOURCE)  # without it tritonclient raises something else
        self._http: Any = require("tritonclient.http", "http", SOURCE)
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
        self.binary = False
        """Whether the server takes and gives numbers as bytes, which JSON's digits are several times as long as."""

    def metadata(self) -> dict[str, Any]:
        """What the server says about the model, and about itself under `server`.

        Raises:
            PassingFault, ModelError: it says nothing.
        """
        server = self._json(f"{self.address.prefix}/v2", missing=True)
        extensions = server.get("extensions") or []
        self.binary = "binary_tensor_data" in extensions
        found = self._json(f"{self.address.prefix}{self.address.path}")
        if "model_configuration" in extensions:
            config = self._json(f"{self.address.prefix}{self.address.path}/config", missing=True)
            found["max_batch_size"] = config.get("max_batch_size")
        return {**found, "server": {key: server.get(key) for key in ("name", "version")}}

    def infer(self, array: npt.NDArray[Any], tensors: Tensors, top: int | None) -> list[npt.NDArray[Any]]:
        """As `Client` says."""
        body, length = self._request(array, tensors, top)
        headers = {"Content-Type": "application/json"}
        if length is not None:
            headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)}
        content, told = self._send("POST", f"{self.address.prefix}{self.address.path}/infer", body, headers)
        header_length = told.get("Inference-Header-Content-Length")
        try:
            result = self._http.InferenceServerClient.parse_response_body(
                content, header_length=None if header_length is None else int(header_length)
            )
            names = [str(entry["name"]) for entry in result.get_response()["outputs"]]
            arrays = {name: result.as_numpy(name) for name in names}
        # Of what is no answer anything may be raised: by the JSON reader, by numpy, for a key that is missing.
        except Exception as error:
            raise ModelError(
                f"{self.address.server} answers with something that cannot be read: {type(error).__name__}: "
                f"{self.headers.censored(shown_text(str(error)))}.",
                "Is it a server of the Open Inference Protocol (v2), and does nothing between it and you change "
                "answers?",
            ) from None
        return chosen_outputs(arrays, tensors.outputs, self.address.model)

    def _request(self, array: npt.NDArray[Any], tensors: Tensors, top: int | None) -> tuple[bytes, int | None]:
        given = self._http.InferInput(tensors.input, list(array.shape), tensors.dtype)
        given.set_data_from_numpy(array, binary_data=self.binary)
        outputs = [
            self._http.InferRequestedOutput(name, binary_data=self.binary, class_count=top or 0)
            for name in tensors.outputs
        ]
        if not outputs and not self.binary:  # without outputs tritonclient would ask for bytes
            tensor = {"name": tensors.input, "shape": list(array.shape), "datatype": tensors.dtype}
            return json.dumps({"inputs": [{**tensor, "data": array.ravel().tolist()}]}).encode(), None
        body, length = self._http.InferenceServerClient.generate_request_body([given], outputs=outputs or None)
        return body, length

    def _json(self, path: str, *, missing: bool = False) -> dict[str, Any]:
        """A JSON object of the server's; empty where it may be missing and is."""
        try:
            content, _ = self._send("GET", path, None, {}, missing=missing)
            found = json.loads(content) if content else {}
        except ValueError as error:
            raise ModelError(
                f"{self.address.server}{path} answers with something other than JSON: {shown_text(str(error))}.",
                "Is it a server of the Open Inference Protocol (v2)?",
            ) from None
        if not isinstance(found, dict):
            raise ModelError(
                f"{self.address.server}{path} answers with a {type(found).__name__}, and not with an object.",
                "Is it a server of the Open Inference Protocol (v2)?",
            )
        return found

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, missing: bool = False
    ) -> tuple[bytes, Mapping[str, str]]:
        """Content and headers of an answer of status 200; empty where a resource may be missing and is.

        Raises:
            PassingFault, ModelError: there is no such answer.
        """
        deadline = time.monotonic() + self.timeout
        try:
            response = self._pool.request(
                method,
                f"{self.address.scheme}://{self.address.host}{path}",
                body=body,
                headers={**headers, **self.headers.values()},
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=self.timeout, read=self.timeout),
            )
            try:
                content = self._read(response, deadline)
            finally:
                response.release_conn()
        except (urllib3.exceptions.SSLError, urllib3.exceptions.LocationValueError) as error:
            raise ModelError(
                f"{self.address.server} cannot be reached: {shown_text(str(error))}.",
                "Is it served with TLS (https), under this name, with a certificate that this machine trusts?",
            ) from None
        except urllib3.exceptions.HTTPError as error:
            words = self.headers.censored(shown_text(str(error)))
            raise PassingFault(f"{type(error).__name__}: {words}") from None
        if response.status == OK:
            return content, response.headers
        if response.status == NOT_FOUND and missing:
            return b"", {}
        words = self.headers.censored(shown_text(content.decode(errors="replace")))
        fault = f"{response.status} {response.reason or ''}".strip() + (f": {words}" if words else "")
        if response.status in PASSING:
            raise PassingFault(fault, retry_after(response.headers.get("Retry-After")))
        raise ModelError(f"{self.address} answers {fault.rstrip('.')}.", _advice(response.status, body))

    def _read(self, response: Any, deadline: float) -> bytes:
        """The content of an answer, which must come before the deadline however slowly it trickles."""
        parts, size = [], 0
        for part in response.stream(2**16):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise PassingFault(f"no whole answer in {self.timeout:g} seconds")
            if size > MOST:
                raise ModelError(f"{self.address.server} answers with more than 1 GiB.", "Ask for fewer images: batch.")
        return b"".join(parts)


def _advice(status: int, body: bytes | None) -> str:
    """What may help after a status that will not pass."""
    if status in (401, 403, 407):
        return (
            "Put the token into the environment variable LINBP_VICTIM_TOKEN, or name the header and its variable in "
            '"headers_env" of the JSON file.'
        )
    if status == NOT_FOUND:
        return "Is that the model's name on the server, and is it loaded? Write oip:http://HOST:PORT/MODEL."
    if 300 <= status < 400:
        return "The server redirects: name the address where the model really is."
    if status == 413 or body is None:
        return "Ask about fewer images at a time: batch in the JSON file." if body else "See the server's log."
    return (
        "Do input, output, size and layout fit what the model takes? If it takes fewer images at a time, write "
        '{"batch": 1} into a JSON file and name the model oip:URL@FILE.json.'
    )
