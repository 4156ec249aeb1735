"""Names of networks that hold a secret: names are recorded in results and printed, so that none may."""

from __future__ import annotations

import re
from collections.abc import Iterable

from linbp.errors import ModelError

__all__ = ["refuse_secrets"]

SECRET = re.compile(r"\w+://[^/?#\s]*@|oip:\w+://[^@\s]*[?#]")
"""A URL with a user or a password; of a served model, also one with a query or a fragment."""


def refuse_secrets(names: Iterable[object]) -> None:
    """Refuse names whose URL holds a user or a password, or, for a served model, a query, which may be a key.

    Raises:
        ModelError: there is one; it is not repeated, because messages end up in logs.
    """
    for name in names:
        if isinstance(name, str) and SECRET.search(name):
            raise ModelError(
                "The URL of a model holds a user, a password or a query.",
                "Names are recorded in results. Write the URL without it, and put the secret into an environment "
                'variable: LINBP_VICTIM_TOKEN, or one that "headers_env" of the JSON file names.',
            )
