"""Networks from the user's Python files."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from hashlib import sha256
from pathlib import Path

from torch import nn

from linbp.errors import LinbpError, ModelError, nearest_name
from linbp.models.black_box import BlackBox, Classifier
from linbp.models.checkpoint import existing_file, file_sha256
from linbp.models.model import Model

__all__ = ["load"]


def load(rest: str) -> Model | BlackBox:
    """`path/model.py:function`: runs the file and calls the function without arguments.

    The function returns a `linbp.Model`; or a module that takes RGB in [0, 1] and has an attribute `input_size`,
    (channels, height, width); or, for a victim only, a `Classifier`. The file may import modules beside it.

    Raises:
        ModelError: no such file or function, an error inside it with its line, or something else returned.
    """
    place, _, function = rest.rpartition(":")
    if not place or not place.endswith(".py"):
        raise ModelError(f"'file:{rest}' names no function.", "Write file:path/model.py:function.")
    path = existing_file(place).resolve()
    name = f"linbp_user_{sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path.name} cannot be imported.", "Write file:path/model.py:function.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        functions = {key: value for key, value in vars(module).items() if callable(value)}
        if function not in functions:
            own = [key for key, value in functions.items() if getattr(value, "__module__", "") == name]
            raise ModelError(f"{path.name} has no function {function!r}.", nearest_name(function, own))
        made = functions[function]()
    except LinbpError:
        raise
    # The user's code may raise anything; what helps is the line.
    except Exception as error:
        raise ModelError(
            f"{_place(error, path)}: {type(error).__name__}: {error}",
            "This is an error in that file, not in linbp: run it with python to see more.",
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    return _model(made, path, function)


def _place(error: Exception, path: Path) -> str:
    """The file, and its last line in the traceback, or the line that does not parse."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path.name}, line {error.lineno or '?'}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path.name}, line {lines[-1] if lines and lines[-1] is not None else '?'}"


def _model(made: object, path: Path, function: str) -> Model | BlackBox:
    if isinstance(made, Classifier) and not isinstance(made, nn.Module):
        return BlackBox(made, source={"code_sha256": file_sha256(path)}, place=lambda error: _place(error, path))
    if not isinstance(made, Model):
        size = getattr(made, "input_size", None)
        if not isinstance(made, nn.Module) or size is None:
            raise ModelError(
                f"{function} of {path.name} returned a {type(made).__name__}, not a linbp.Model.",
                "Return linbp.Model(module, input_size=(3, 224, 224), mean=(...), std=(...)).",
            )
        if not isinstance(size, (tuple, list)) or not all(isinstance(number, int) for number in size):
            raise ModelError(f"input_size of {path.name} is {size!r}.", "Make it (channels, height, width).")
        made = Model(made, input_size=size, name=f"{path.name}:{function}")
    made.source.setdefault("code_sha256", file_sha256(path))
    return made
