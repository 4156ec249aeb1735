"""Models that a server answers for: the Open Inference Protocol v2, over REST and gRPC.

KServe, Triton, MLServer, OpenVINO Model Server and others speak it.
"""

from __future__ import annotations

from linbp.models.black_box import BlackBox
from linbp.models.oip.address import read_address
from linbp.models.oip.secrets import Headers
from linbp.models.oip.sidecar import read_sidecar
from linbp.models.oip.victim import Client, OipVictim

__all__ = ["OipVictim", "load"]


def load(rest: str) -> BlackBox:
    """`URL/MODEL` or `URL/MODEL@FILE.json`: a victim (see `read_address` and `Sidecar`).

    Raises:
        ModelError: no such server or model, or one that takes no images; see `OipVictim`.
    """
    address = read_address(rest)
    sidecar = read_sidecar(address.sidecar)
    headers = Headers(sidecar.headers_env)
    client: Client
    if address.scheme.startswith("grpc"):
        from linbp.models.oip.grpc_client import GrpcClient

        client = GrpcClient(address, headers, sidecar.timeout)
    else:
        from linbp.models.oip.rest_client import RestClient

        client = RestClient(address, headers, sidecar.timeout, sidecar.concurrency)
    return BlackBox(OipVictim(address, sidecar, client, headers))
