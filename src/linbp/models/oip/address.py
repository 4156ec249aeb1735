"""The name of a model behind HTTP or gRPC: server, model, version, and the file that says more about it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from linbp.data.secret_names import refuse_secrets
from linbp.errors import ModelError, nearest_name

__all__ = ["Address", "read_address"]

SCHEMES = ("http", "https", "grpc", "grpcs")
FORM = (
    "Write oip:http://HOST:PORT/MODEL (https, grpc or grpcs likewise), with /versions/VERSION behind it for one "
    "version, and @FILE.json for the file that describes it."
)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model is served.

    Attributes:
        scheme: `http` or `https` for REST, `grpc` or `grpcs` (with TLS) for gRPC.
        host: and port.
        prefix: the path before `/v2`, without a slash at its end; empty for gRPC.
        model: its name on the server.
        version: or empty, for the one that the server chooses.
        sidecar: the JSON file that describes the model, or empty.
    """

    scheme: str
    host: str
    prefix: str
    model: str
    version: str
    sidecar: str

    @property
    def server(self) -> str:
        """The server's URL, without anything secret."""
        return f"{self.scheme}://{self.host}{self.prefix}"

    @property
    def path(self) -> str:
        """The model's path on the server, as the protocol has it."""
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"/v2/models/{quote(self.model, safe='')}{version}"

    def __str__(self) -> str:
        return f"{self.model}{f' (version {self.version})' if self.version else ''} at {self.server}"


def read_address(text: str) -> Address:
    """The address that stands behind `oip:`.

    The path ends with the model's name, or is that of the protocol: `/v2/models/MODEL/versions/VERSION`.

    >>> read_address("http://localhost:8000/resnet@resnet.json")
    Address(scheme='http', host='localhost:8000', prefix='', model='resnet', version='', sidecar='resnet.json')

    Raises:
        ModelError: it is no such address, or holds a password or a query, which might be a key.
    """
    refuse_secrets([f"oip:{text}"])
    url, at, file = text.rpartition("@")
    if not at or not file.lower().endswith(".json") or "://" not in url:
        url, file = text, ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ModelError("oip: is followed by no URL.", FORM) from None
    if "@" in parts.path:
        raise ModelError("What stands behind the @ of an oip: name is no JSON file.", FORM)
    if parts.scheme not in SCHEMES:
        known = nearest_name(parts.scheme, SCHEMES) if "://" in url else ""
        raise ModelError("oip: is followed by no http, https, grpc or grpcs URL.", known or FORM)
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    prefix, segments = _split(segments)
    version = ""
    if len(segments) == 3 and segments[1] == "versions":
        version = segments[2]
        segments = segments[:1]
    if not host or len(segments) != 1:
        raise ModelError(f"oip:{parts.scheme}://{host or ''}... names no model.", FORM)
    if prefix and parts.scheme.startswith("grpc"):
        raise ModelError(f"A gRPC address has no path before the model, and this one has {prefix}.", FORM)
    name = f"[{host}]" if ":" in host else host
    return Address(
        scheme=parts.scheme,
        host=name if port is None else f"{name}:{port}",
        prefix=prefix,
        model=segments[0],
        version=version,
        sidecar=file,
    )


def _split(segments: list[str]) -> tuple[str, list[str]]:
    """The path before the model, and the model with its version."""
    for place in range(len(segments) - 1):
        if segments[place : place + 2] == ["v2", "models"]:
            before, model = segments[:place], segments[place + 2 :]
            break
    else:
        length = 3 if segments[-2:-1] == ["versions"] else 1
        before, model = segments[:-length], segments[-length:]
    if model[-1:] == ["infer"] and len(model) in (2, 4):
        model = model[:-1]
    return "".join(f"/{quote(segment, safe='')}" for segment in before), model
