"""Headers whose values come from the environment, and texts in which those values must not appear."""

from __future__ import annotations

import os
from collections.abc import Mapping

from linbp.errors import ModelError

__all__ = ["TOKEN", "Headers"]

TOKEN = "LINBP_VICTIM_TOKEN"
"""The environment variable whose value is sent as `Authorization: Bearer ...`, where no sidecar names others."""

SHORT = 4
"""A shorter value is no secret, and taking it out of messages would garble them."""


class Headers:
    """The headers of every request.

    Args:
        variables: for each header the environment variable that holds its value; None for the default, `TOKEN`.

    Raises:
        ModelError: a variable is not set, or its value is no value of a header. Neither is repeated.
    """

    def __init__(self, variables: Mapping[str, str] | None) -> None:
        self._values: dict[str, str] = {}
        if variables is None and (token := os.environ.get(TOKEN, "").strip()):
            self._values["Authorization"] = token if " " in token else f"Bearer {token}"
        for header, variable in (variables or {}).items():
            value = os.environ.get(variable, "").strip()
            if not value:
                raise ModelError(
                    f"The environment variable that headers_env names for the header {header} is not set.",
                    f"Set it to the header's whole value, such as export NAME='Bearer ...', and write "
                    f'{{"headers_env": {{"{header}": "NAME"}}}}.',
                )
            self._values[header] = value
        for header, value in self._values.items():
            if not value.isascii() or not value.isprintable():
                raise ModelError(
                    f"The value for the header {header} has a line break or a letter that is not ASCII.",
                    "Set the environment variable again, to the header's value alone.",
                )

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._values)})"

    def values(self) -> dict[str, str]:
        """The headers with their values, to be sent and nothing else."""
        return dict(self._values)

    def censored(self, text: str) -> str:
        """A text without the values: a server may say in a message what it was sent."""
        words = {word for value in self._values.values() for word in (value, value.split()[-1]) if len(word) >= SHORT}
        for word in sorted(words, key=len, reverse=True):
            text = text.replace(word, "***")
        return text
