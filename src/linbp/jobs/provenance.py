"""What made a result: versions, device, command, time."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from linbp.version import __version__

__all__ = ["device_name", "run_facts", "versions"]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version(), "linbp": __version__}
    for package in ("torch", "torchvision", "timm", "numpy", "pillow", "onnxruntime", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def run_facts(device: str | torch.device, command: str) -> dict[str, Any]:
    """Facts of one run that may differ between runs of the same job."""
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "versions": versions(),
        "device": device_name(torch.device(device)),
        "machine": f"{platform.system()} {platform.machine()}",
        "torch_threads": torch.get_num_threads(),
        **_float32_precision(torch.device(device)),
    }


def _float32_precision(device: torch.device) -> dict[str, str]:
    """On a GPU, what torch computes float32 convolutions and matrix products in: `tf32`, or `ieee`, which is float32.

    `none` is torch's word for a setting that nobody made, which is `ieee`.
    """
    if device.type != "cuda":
        return {}
    return {
        "float32_convolutions": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        "float32_products": torch.backends.cuda.matmul.fp32_precision,
    }


def device_name(device: torch.device) -> str:
    """`cpu`, or the accelerator with the name that its driver gives it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
