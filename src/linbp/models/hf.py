"""Image classifiers of transformers, from the Hugging Face hub or from a folder."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from linbp.errors import ModelError
from linbp.models.checkpoint import preserved_random_state
from linbp.models.extras import require
from linbp.models.hf_processor import build_model
from linbp.models.hub import find_folder, quiet_hub
from linbp.models.model import Model

__all__ = ["broken_weights", "forget_folder", "load", "quiet", "read_config", "read_processor"]

_TASKS = {"regression": "a regression", "multi_label_classification": "several labels an image"}


def load(rest: str) -> Model:
    """Load `FOLDER`, or `ORG/NAME` or `ORG/NAME@REVISION` of the hub, as `AutoModelForImageClassification` does.

    Weights are computed with in float32, whatever they are stored in. The preprocessing is that of
    `preprocessor_config.json`, read by `AutoImageProcessor`, and compared with the processor's own. Code in the
    repository is not run.

    Raises:
        ModelError: no such folder or repository, no network, half a download, another kind of network, or a processor
            that does something else than a Model.
    """
    transformers = require("transformers", "hf", "hf:")
    folder, source = find_folder(rest, "hf")
    name = f"hf:{rest}"
    with quiet(), preserved_random_state():
        config = read_config(transformers, folder, name)
        _refuse_other_tasks(transformers, config, name)
        processor = read_processor(transformers, folder, name)
        network = _read_network(transformers, folder, name)
    forget_folder(network)
    model = build_model(network, processor, name, source)
    model.class_names = _class_names(config)
    return model


def read_config(transformers: Any, folder: Path, name: str) -> Any:
    """The configuration in a folder.

    Raises:
        ModelError: there is none, or none of a network that this version of transformers knows.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(
            f"{name} has no config.json, which says what the network is.",
            "Give the folder that save_pretrained wrote, or a whole copy of the repository.",
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # transformers raises whatever its parts raise.
    except Exception as error:
        raise ModelError(
            f"The config.json of {name} says no network that transformers {transformers.__version__} has: "
            f"{_line(error)}.",
            "Fetch it again; a newer transformers may know it; a folder of timm's is timm:local-dir:FOLDER.",
        ) from error


def _refuse_other_tasks(transformers: Any, config: Any, name: str) -> None:
    """Refuse what classifies no images, or gives them other things than one class each.

    Raises:
        ModelError: the configuration says so.
    """
    saved = ", ".join(config.architectures or ()) or config.model_type
    if type(config) not in transformers.AutoModelForImageClassification._model_mapping:
        hint = f"Is it {name.replace('hf:', 'hf-clip:', 1)}?" if "clip" in config.model_type else ""
        raise ModelError(
            f"{name} is {saved}, and no image classifier.",
            hint or "Name a network that transformers loads with AutoModelForImageClassification.",
        )
    if config.problem_type in _TASKS:
        raise ModelError(
            f"{name} is trained for {_TASKS[config.problem_type]}, and not for one class an image.",
            "Name a network whose classes exclude each other.",
        )


def read_processor(transformers: Any, folder: Path, name: str) -> Any:
    """The image processor in a folder.

    Raises:
        ModelError: there is none that can be read.
    """
    try:
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # As above.
    except Exception as error:
        raise ModelError(
            f"{name} does not say how its images are prepared: {_line(error)}.",
            "Fetch its preprocessor_config.json too, or save it there: processor.save_pretrained(FOLDER).",
        ) from error


def _read_network(transformers: Any, folder: Path, name: str) -> Any:
    try:
        network, found = transformers.AutoModelForImageClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    # As above.
    except Exception as error:
        raise broken_weights(error, name) from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{name} holds no weights for {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}: they would be "
            "random.",
            "Name a network that was fine-tuned as a classifier; of CLIP, hf-clip: makes one out of class names.",
        )
    return network.eval()


def broken_weights(error: Exception, name: str) -> ModelError:
    """What is told of weights that cannot be read."""
    if isinstance(error, SafetensorError):
        return ModelError(
            f"The weights of {name} are no whole safetensors file: {_line(error)}.",
            "The download was perhaps broken off: delete the file and fetch it again.",
        )
    return ModelError(
        f"The weights of {name} cannot be read: {_line(error)}.",
        "Fetch model.safetensors again; the network's config.json has to fit it.",
    )


def forget_folder(network: nn.Module) -> None:
    """Take out where a network was read from: that is no property of it, and would be part of its hash."""
    for module in network.modules():
        for holder, name in ((module, "name_or_path"), (getattr(module, "config", None), "_name_or_path")):
            if isinstance(getattr(holder, name, None), str):
                setattr(holder, name, "")


def _class_names(config: Any) -> tuple[str, ...]:
    """The names of `id2label`, where they are more than LABEL_0, LABEL_1, ..."""
    names = tuple(str(config.id2label[number]) for number in sorted(config.id2label))
    return () if names == tuple(f"LABEL_{number}" for number in range(len(names))) else names


def _line(error: Exception) -> str:
    """What an exception says first, without its full stop."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text.partition(". ")[0].rstrip(".:")[:200]


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers neither logs nor draws bars."""
    messages: Any = importlib.import_module("transformers.utils.logging")

    logger = logging.getLogger("transformers")
    level, bars = logger.level, messages.is_progress_bar_enabled()
    logger.setLevel(logging.CRITICAL)
    messages.disable_progress_bar()
    try:
        with quiet_hub():
            yield
    finally:
        logger.setLevel(level)
        if bars:
            messages.enable_progress_bar()
