"""Networks of `hubconf.py` files: repositories on GitHub and folders, with preprocessing that the user states."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import traceback
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from linbp.errors import LinbpError, ModelError
from linbp.models.checkpoint import preserved_random_state
from linbp.models.identity import weights_sha256
from linbp.models.model import Model
from linbp.models.sidecar import PREPROCESSING, read_sidecar

__all__ = ["load"]

_REPOSITORY = re.compile(r"[\w.\-]+/[\w.\-]+(:[\w./\-]+)?")
_FORM = "torch.hub:DIR:ENTRY@FILE.json or torch.hub:OWNER/REPO:ENTRY@input_size=224,mean=0.5,std=0.5"
_TRAINED = ("weights", "pretrained", "checkpoint", "random")
"""Arguments that say which weights; with one of them nobody has to ask whether the weights are random."""


def load(rest: str) -> Model:
    """Load `REPO:ENTRY@PREPROCESSING`, where `REPO` is a folder or `OWNER/NAME` or `OWNER/NAME:BRANCH` on GitHub.

    What stands behind the `@` is a JSON file with the fields of `sidecar` and `arguments` of the entry; or
    `input_size=224,mean=0.485/0.456/0.406,...`, where other words are arguments of the entry. An entry whose weights
    depend on the random state is untrained, and refused without `random=true`. Code of a repository runs only if torch
    trusts it already.

    Raises:
        ModelError: no such repository or entry, no network, no preprocessing, untrained weights, or an error in the
            repository's code.
    """
    before, at, stated = rest.partition("@")
    repository, _, entry = before.rpartition(":")
    folder = Path(repository).expanduser()
    if not repository or not (folder.is_dir() or _REPOSITORY.fullmatch(repository)):
        raise ModelError(f"'torch.hub:{rest}' names no folder and no repository.", f"Write {_FORM}.")
    if not at:
        raise ModelError(
            f"torch.hub does not know how images are prepared for {entry}.", f"State it behind an @: {_FORM}."
        )
    fields = _stated(stated)
    options = fields.pop("arguments", {})
    classes = tuple(fields.pop("classes", ()))
    untrained = bool(options.pop("random", False))
    where = str(folder) if folder.is_dir() else repository
    with preserved_random_state():
        module = _call(where, entry, options, local=folder.is_dir())
    if not untrained and not options.keys() & set(_TRAINED):
        _refuse_random(where, entry, options, folder.is_dir(), module)
    source = {"repository": repository, "entry": entry, **({"arguments": options} if options else {})}
    model = Model(module, **fields, name=f"torch.hub:{before}", source=source)
    model.class_names = classes
    return model


def _stated(text: str) -> dict[str, Any]:
    """The preprocessing behind the `@`, with `arguments` of the entry.

    Raises:
        ModelError: no such file, a field of another kind, or no input size.
    """
    if text.lower().endswith(".json"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ModelError(
                f"The file {text!r} is not there.", "Check the path; it counts from the working directory."
            )
        found = read_sidecar(path)
    else:
        found = {"arguments": {}}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not equals:
                raise ModelError(f"{part!r} is no preprocessing.", f"Write {_FORM}.")
            known = key in (*PREPROCESSING, "input_size")
            (found if known else found["arguments"])[key] = _value(value)
    if "input_size" not in found:
        raise ModelError(f"{text} states no input_size.", 'Write input_size=224, or "input_size": [3, 224, 224].')
    return found


def _value(text: str) -> Any:
    """A number, several with / between them, true, false, or a word."""
    if text in ("true", "false"):
        return text == "true"
    try:
        numbers = [int(word) if re.fullmatch(r"-?\d+", word) else float(word) for word in text.split("/")]
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


def _call(where: str, entry: str, options: dict[str, Any], *, local: bool) -> nn.Module:
    """What an entry of a repository makes.

    Raises:
        ModelError: see `load`.
    """
    try:
        with _no_questions():
            made = torch.hub.load(  # type: ignore[no-untyped-call]
                where, entry, source="local" if local else "github", trust_repo="check", verbose=False, **options
            )
    except LinbpError:
        raise
    except EOFError as error:
        raise ModelError(
            f"torch does not trust the repository {where} yet, and loading it runs its code.",
            f"Look at github.com/{where.partition(':')[0]}; then once: "
            f"python -c \"import torch; torch.hub.list('{where}', trust_repo=True)\".",
        ) from error
    # The repository's code may raise anything.
    except Exception as error:
        raise _told(where, entry, error, local) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{entry} of {where} gives a {type(made).__name__}, and no network.", "Name an entry that gives a module."
        )
    return made


def _told(where: str, entry: str, error: Exception, local: bool) -> ModelError:
    line = (str(error).strip().splitlines() or [""])[0]
    # torch says the second where it cannot ask which branch is the main one.
    if isinstance(error, urllib.error.URLError | TimeoutError) or "no internet connection" in line:
        return ModelError(
            f"torch.hub:{where}:{entry} could not be fetched: {line}.",
            "Without a network, clone the repository and fetch its weights elsewhere, and write "
            "torch.hub:path/to/clone:ENTRY@...",
        )
    if local and not (Path(where) / "hubconf.py").is_file():
        return ModelError(f"{where} has no hubconf.py.", "Give the folder of a repository made for torch.hub.")
    if "Cannot find callable" in line:
        return ModelError(f"{where} has no entry {entry!r}.", "Its hubconf.py defines the entries.")
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "?"
    return ModelError(
        f"torch.hub:{where}:{entry} failed ({place}): {type(error).__name__}: {line}",
        "This is an error of the repository; it may need packages or arguments.",
    )


def _refuse_random(where: str, entry: str, options: dict[str, Any], local: bool, first: nn.Module) -> None:
    """Refuse an entry that gives other weights from another random state.

    Raises:
        ModelError: it does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        second = _call(where, entry, options, local=local)
    if weights_sha256(first.state_dict()) != weights_sha256(second.state_dict()):
        raise ModelError(
            f"{entry} of {where} is untrained: its weights are random.",
            "Say which weights, as its hubconf.py does: weights=NAME or pretrained=true behind the @, or arguments in "
            "the JSON file; random=true takes it as it is.",
        )


@contextlib.contextmanager
def _no_questions() -> Iterator[None]:
    """Inside, a question ends with EOFError, and what is printed goes nowhere."""
    stdin = sys.stdin
    sys.stdin = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.stdin = stdin
