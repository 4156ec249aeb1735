"""Where networks can run here."""

from __future__ import annotations

from typing import TypeVar

import torch

from linbp.errors import ModelError

__all__ = ["usable_device"]

Device = TypeVar("Device", bound=str | torch.device)


def usable_device(name: Device) -> Device:
    """`name` if networks can run there.

    Raises:
        ModelError: PyTorch has no such device here.
    """
    try:
        torch.zeros(1, device=name).item()
    # Each back end of PyTorch has exceptions of its own.
    except Exception as error:
        raise ModelError(
            f"There is no device {str(name)!r} here: {str(error).splitlines()[0]}",
            f"Use one that this machine and this build of PyTorch have: {', '.join(_devices())}.",
        ) from error
    return name


def _devices() -> list[str]:
    """The kinds of devices that networks can run on here."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return ["cpu", *([] if found is None else [found.type])]
