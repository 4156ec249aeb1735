"""Networks of RobustBench's model zoo, loaded by the package itself, where the user has installed it."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from pathlib import Path
from typing import Any

import torch

from linbp.errors import ModelError, nearest_name
from linbp.models.checkpoint import existing_file, file_sha256, is_path, preserved_random_state
from linbp.models.demo import imagenet_classes
from linbp.models.model import Model
from linbp.zoo.architectures import CLASS_NAMES

__all__ = ["load"]

INSTALL = (
    "It pins other versions than linbp: pip install gdown pandas 'setuptools<81', then "
    "pip install --no-deps robustbench geotorch torchdiffeq git+https://github.com/fra31/auto-attack."
)
_CLASSES = {"cifar10": CLASS_NAMES, "cifar100": (), "imagenet": imagenet_classes()}
_SIDE = 32


def load(rest: str) -> Model:
    """Load `DATASET/THREAT/NAME`, such as `cifar10/Linf/Carmon2019Unlabeled`; with `@FILE`, its checkpoint from a file.

    RobustBench builds the network and changes the names in its checkpoint. Networks for ImageNet have the
    preprocessing that RobustBench lists for them; those for CIFAR take 32 x 32 images. All normalise inside.

    Raises:
        ModelError: the package is missing or broken, it has no such network, or the checkpoint cannot be had or read.
    """
    before, at, file = rest.partition("@")
    dataset, _, tail = before.partition("/")
    threat, _, name = tail.partition("/")
    path: Path | None = None
    zoo, data, utils = (_module(part) for part in ("model_zoo", "data", "utils"))
    known = {one.value: {kind.value: names for kind, names in kinds.items()} for one, kinds in zoo.model_dicts.items()}
    for level, word in ((known, dataset), (known.get(dataset, {}), threat)):
        if word not in level:
            raise ModelError(
                f"robustbench:{before} names no model zoo.", "Write DATASET/THREAT/NAME. " + nearest_name(word, level)
            )
    entries = known[dataset][threat]
    if name not in entries:
        hint = nearest_name(name, entries)
        raise ModelError(
            f"RobustBench has no {name!r} for {dataset} and {threat}.",
            hint if "mean" in hint else "See robustbench.github.io.",
        )
    source: dict[str, Any] = {"weights": "RobustBench"}
    if at:
        if not is_path(file):
            raise ModelError(f"{file!r} is no checkpoint.", "After the @ stands the path of a file.")
        path = existing_file(file)
        if isinstance(entries[name].get("gdrive_id"), list):
            raise ModelError(
                f"{name} has several checkpoints.", "Put them where RobustBench keeps them, and leave the @ out."
            )
        source = {"weights": path.name, "file_sha256": file_sha256(path)}
    with preserved_random_state():
        module = _built(utils, dataset, threat, name, path)
    model = Model(module, **_preprocessing(data, entries[name], dataset), name=f"robustbench:{rest}", source=source)
    model.class_names = tuple(_CLASSES.get(dataset, ()))
    return model


def _module(part: str) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(f"robustbench.{part}")
    except ImportError as error:
        lacks = (error.name or "robustbench").partition(".")[0]
        raise ModelError(f"robustbench: needs the package {lacks}, which is not installed.", INSTALL) from error


def _built(utils: Any, dataset: str, threat: str, name: str, file: Path | None) -> Any:
    """What RobustBench loads; it finds a file of the user's where it would have put its own."""
    with contextlib.ExitStack() as stack:
        folder = Path(torch.hub.get_dir()) / "robustbench"
        if file is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = folder / dataset / threat / f"{name}.pt"
            place.parent.mkdir(parents=True)
            place.symlink_to(file.resolve())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            return utils.load_model(name, model_dir=folder, dataset=dataset, threat_model=threat)
        # RobustBench, gdown, timm and torch raise exceptions of their own.
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")[:200]
            if file is not None:
                raise ModelError(
                    f"{file.name} does not fit robustbench:{dataset}/{threat}/{name}: {line}.",
                    "Give the checkpoint that RobustBench links to for this network.",
                ) from error
            raise ModelError(
                f"The checkpoint of robustbench:{dataset}/{threat}/{name} could not be had: {line}.",
                "Without a network, fetch it elsewhere and write the path of the file behind an @.",
            ) from error


def _preprocessing(data: Any, entry: dict[str, Any], dataset: str) -> dict[str, Any]:
    """The arguments of `Model` for what RobustBench does to images.

    Raises:
        ModelError: it is something that a Model does not do.
    """
    if dataset != "imagenet":
        return {"input_size": _SIDE}
    found: dict[str, Any] = {}
    for step in data.PREPROCESSINGS[entry["preprocessing"]].transforms:
        kind = type(step).__name__
        if kind == "Resize":
            found["resize"] = step.size if isinstance(step.size, int) else list(step.size)
            found["interpolation"] = step.interpolation.value
        elif kind == "CenterCrop":
            found["crop"] = list(step.size)
        elif kind != "ToTensor":
            raise ModelError(
                f"RobustBench prepares images with {kind}, which linbp does not know.", "Use file: instead."
            )
    size = found.get("crop") or found.get("resize")
    if not isinstance(size, list):
        raise ModelError("RobustBench gives this network images of any size.", "Use file: instead, with a size.")
    if "crop" not in found:
        found.pop("resize")  # as a whole, to what the network takes
    return {**found, "input_size": (3, *size)}
