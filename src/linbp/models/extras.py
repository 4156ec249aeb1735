"""Packages that only some sources of networks need, imported when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from linbp.errors import ModelError

__all__ = ["require"]


def require(package: str, extra: str, source: str) -> ModuleType:
    """Import a package that an extra of linbp installs.

    Args:
        package: the name that it is imported by.
        extra: the extra that has it.
        source: what needs it, for the message.

    Raises:
        ModelError: it is not installed, or one that it needs itself is missing.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        # Of a package that is there, the one that it lacks is what helps.
        lacks = (error.name or package).partition(".")[0]
        raise ModelError(
            f"{source} needs the package {lacks}, which is not installed.",
            f"Install the extra: pip install 'linbp[{extra}]'.",
        ) from error
