"""Headers whose values come from the environment, and texts in which those values must not appear."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from linbp.errors import LinbpError, ModelError
from linbp.models.oip.faults import PassingFault

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

    @contextlib.contextmanager
    def kept_out_of_errors(self) -> Iterator[None]:
        """Inside, what is raised says none of the values, also where a traceback is shown.

        Raises:
            ModelError: for whatever is no error of linbp's.
        """
        try:
            yield
        except LinbpError as error:
            error.message, error.hint = self.censored(error.message), self.censored(error.hint)
            error.args = (error.message,)
            raise error from None
        except (PassingFault, MemoryError):
            raise
        # Packages below may raise anything, with anything in its words.
        except Exception as error:
            raise ModelError(
                f"Asking a server failed: {type(error).__name__}: {self.censored(str(error))}.",
                "See the server's log; run the same command again, which asks only for what is missing.",
            ) from None

    def censored(self, text: str) -> str:
        """A text without the values: a server may say in a message what it was sent."""
        words = {word for value in self._values.values() for word in (value, value.split()[-1]) if len(word) >= SHORT}
        for word in sorted(words, key=len, reverse=True):
            text = text.replace(word, "***")
        return text
