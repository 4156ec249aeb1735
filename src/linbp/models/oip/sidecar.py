"""The JSON file that says of a served model what its server does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from linbp.errors import ModelError, nearest_name
from linbp.models.centre_crop import read_crop
from linbp.models.preprocessing import read_preprocessing

__all__ = ["DTYPES", "Sidecar", "read_sidecar"]

DTYPES = ("FP32", "FP16", "FP64", "UINT8")
"""What an input may be, in the protocol's words."""

Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


def _upper(given: Any) -> Any:
    return given.upper() if isinstance(given, str) else given


class Sidecar(BaseModel):
    """What the file may say; the server's metadata and these defaults stand for what it leaves out.

    Attributes:
        input: name of the input that takes the images.
        output: name of the output that answers; for top-k answers two, that of the classes and that of their scores.
        dtype: of the input, one of `DTYPES`; UINT8 gets levels of 0 to 255.
        layout: `NCHW` or `NHWC`.
        input_size: (channels, height, width), or the side of a square.
        mean: of each channel, on the scale of [0, 1], or one number for all.
        std: likewise.
        interpolation: `bilinear`, `bicubic` or `nearest`.
        resize: what images are resized to before the middle is kept; see `Model`.
        crop: likewise.
        classes: the names of the classes in their order, or how many there are.
        answers: `scores` of all classes, `labels` (the best class alone), or `top-k` (a few classes with their scores).
        top: how many classes a server is asked for that has Triton's classification extension.
        headers_env: for each header of a request, the environment variable that holds its value.
        batch: most images in a request.
        timeout: seconds that a request may take.
        rate: most requests a second, of one process.
        retries: how often a request is repeated after a fault that may pass.
        budget: most images that are ever sent, over all runs.
        concurrency: how many requests are under way at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input: Text | None = None
    output: Text | Annotated[list[Text], Field(min_length=2, max_length=2)] | None = None
    dtype: Annotated[Literal["FP32", "FP16", "FP64", "UINT8"] | None, BeforeValidator(_upper)] = None
    layout: Annotated[Literal["NCHW", "NHWC"] | None, BeforeValidator(_upper)] = None
    input_size: Any = None
    mean: Any = None
    std: Any = None
    interpolation: str = "bilinear"
    resize: Any = None
    crop: Any = None
    classes: Annotated[list[str], Field(min_length=2)] | Annotated[int, Field(ge=2)] | None = None
    answers: Literal["scores", "labels", "top-k"] = "scores"
    top: Count | None = None
    headers_env: dict[Text, Text] | None = None
    batch: Count | None = None
    timeout: Annotated[float, Field(gt=0, le=86400)] = 60.0
    rate: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    budget: Annotated[int, Field(ge=0)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="after")
    def _together(self) -> Sidecar:
        if isinstance(self.output, list) != (self.answers == "top-k" and self.top is None):
            raise ValueError(
                'top-k answers are either two outputs, "output": ["classes", "scores"], or "top": 5, which Triton '
                "makes of one output; other answers are one output"
            )
        if self.top is not None and self.answers != "top-k":
            raise ValueError('"top" goes with "answers": "top-k"')
        if self.answers != "scores" and self.classes is None:
            raise ValueError(
                f'"answers": "{self.answers}" needs "classes": their names in order, or how many there are'
            )
        if self.dtype == "UINT8" and (self.mean is not None or self.std is not None):
            raise ValueError("UINT8 gets levels of 0 to 255, so that nothing can be normalised: leave mean and std out")
        return self

    @property
    def count(self) -> int | None:
        """How many classes there are, where the file says it."""
        return len(self.classes) if isinstance(self.classes, list) else self.classes

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, where the file says them."""
        return tuple(self.classes) if isinstance(self.classes, list) else ()


def read_sidecar(place: str) -> Sidecar:
    """The content of a file; the defaults where there is none.

    Raises:
        ModelError: no such file, no JSON object, an unknown field, or a value of another kind.
    """
    if not place:
        return Sidecar()
    path = Path(place)
    try:
        content = json.loads(path.read_bytes())  # of any encoding of Unicode, with a byte order mark or without
    except OSError as error:
        raise ModelError(f"{place} cannot be read: {error.strerror or error}.", EXAMPLE) from None
    except ValueError as error:
        raise ModelError(f"{path.name} is not readable as JSON: {error}.", EXAMPLE) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} holds a {type(content).__name__}, not an object.", EXAMPLE)
    known = Sidecar.model_fields
    if unknown := next((field for field in content if field not in known), None):
        raise ModelError(f"{path.name} has an unknown field {unknown!r}.", nearest_name(unknown, known))
    try:
        found = Sidecar.model_validate(content)
        size, *_ = read_preprocessing(
            3 if found.input_size is None else found.input_size,
            0.0 if found.mean is None else found.mean,
            1.0 if found.std is None else found.std,
            found.interpolation,
        )
        if found.input_size is not None or found.crop is not None:
            read_crop(None if found.input_size is None else size[1:], found.resize, found.crop)
    except ValidationError as error:
        raise ModelError(f"{path.name}: {_first(error)}.", EXAMPLE) from None
    except ModelError as error:
        raise ModelError(f"{path.name}: {error.message}", error.hint) from None
    return found if found.input_size is None else found.model_copy(update={"input_size": size})


def _first(error: ValidationError) -> str:
    """The first fault in words."""
    fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        return str(fault["msg"]).removeprefix("Value error, ")
    field, why = str(fault["loc"][0]), f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    # Who mistakes what headers_env is for writes a password there.
    return f"{field}: {why}" if field == "headers_env" else f"{field} is {str(fault['input'])[:60]}: {why}"


EXAMPLE = (
    'Write an object such as {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
    "; docs/http.md lists its fields."
)
