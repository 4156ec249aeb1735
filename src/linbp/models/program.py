"""Exported programs: `.pt2` files that `torch.export.save` wrote."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from linbp.errors import ModelError
from linbp.models.checkpoint import existing_file, file_sha256, pickled_names
from linbp.models.model import Model
from linbp.models.sidecar import PREPROCESSING, read_sidecar
from linbp.models.torch_messages import suppress_torch_messages

__all__ = ["FixedBatch", "load", "load_known"]

_PLAIN = re.compile(
    r"(models/\w+\.json|data/(weights|constants)/\w+_config\.json|extra/.*|archive_format|archive_version|byteorder|"
    r"\.data/version|\.data/serialization_id)"
)
"""Entries of the archive that are text, and that are read as text only."""


class FixedBatch(nn.Module):
    """Runs a network whose batch size is bounded: batches are cut into chunks, and short ones are filled up.

    Args:
        module: takes between `least` and `most` images.
        least: fewest images it takes.
        most: most images it takes.
    """

    def __init__(self, module: nn.Module, least: int, most: int) -> None:
        super().__init__()
        self.module, self.least, self.most = module, least, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        answers = []
        for chunk in torch.split(images, self.most):
            lack = max(0, self.least - len(chunk))
            filled = torch.cat([chunk, chunk[-1:].expand(lack, *chunk.shape[1:])]) if lack else chunk
            answers.append(self.module(filled)[: len(chunk)])
        return torch.cat(answers)


def load(rest: str) -> Model:
    """Load a `.pt2` file, with its preprocessing in a JSON file beside it (see `sidecar`).

    A program with a fixed batch size can only be a victim: its model has `dynamic_batch` False and runs in chunks.

    Raises:
        ModelError: no such file, a broken one, one that would run code when it is read, or a program that takes
            something other than one batch of images.
    """
    path = existing_file(rest)
    _refuse_code(path)
    program = _read(path)
    shape, least, most = _input(program, path)
    sidecar = read_sidecar(path)
    size = sidecar.get("input_size", shape[1:])
    # ExportedProgram.module() forbids train() and eval(), because they would do nothing: dropout and batch norm were
    # fixed at export. A model in evaluation mode needs nothing else, so torch's own methods are restored.
    module = program.module()
    for method in ("train", "eval"):
        vars(module).pop(method, None)
    bounded = most is not None or least > 2
    model = Model(
        FixedBatch(module, least, most or 2**31) if bounded else module,
        input_size=size,
        **{key: sidecar[key] for key in PREPROCESSING if key in sidecar},
        name=path.name,
        source={"file_sha256": file_sha256(path)},
        program=program,
    )
    model.dynamic_batch = not bounded
    model.class_names = tuple(sidecar.get("classes", ()))
    return model


def load_known(path: Path, sha256: str) -> Model:
    """Load a file of a folder that linbp wrote.

    Raises:
        ModelError: as for `load`, or it is not the file of this SHA-256.
    """
    model = load(str(path))
    if model.source["file_sha256"] != sha256:
        raise ModelError(f"{path} is another file than the one that was written.", "Make the folder anew.")
    return model


def _read(path: Path) -> ExportedProgram:
    try:
        with suppress_torch_messages():
            return torch.export.load(path)
    # For a broken archive, torch raises whatever its broken part raises.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{path.name} cannot be read as an exported program: {lines[0].rstrip('.')}.",
            f"Write it with torch.export.save; this is torch {torch.__version__}, another version may have written it.",
        ) from error


def _refuse_code(path: Path) -> None:
    """Raise unless the archive holds only text, raw tensors, and pickles that `weights_only=True` reads.

    `torch.export.load` itself unpickles without restriction and loads compiled libraries from the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ModelError(f"{path.name} was refused: it holds two entries of one name.", "Export it again.")
            raw = {
                f"{name.rpartition('/')[0]}/{entry['path_name']}"
                for name in names
                if name.endswith("_config.json")
                for entry in json.loads(archive.read(name))["config"].values()
                if not entry["use_pickle"]
            }
            for name in names:
                inner = name.partition("/")[2]
                if name not in raw and not name.endswith("/") and not _PLAIN.fullmatch(inner):
                    _refuse_pickle(path, inner, archive.read(name))
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path.name} is not a program that torch.export.save wrote: {error}.",
            "Write it with torch.export.save(torch.export.export(network, ...), FILE).",
        ) from error


def _refuse_pickle(path: Path, name: str, content: bytes) -> None:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # Anything that fails here may be harmful.
    except Exception as error:
        wanted = pickled_names(error)
        reason = f"reading it would run Python code ({wanted})" if wanted else f"its entry {name} is not a tensor"
        raise ModelError(
            f"{path.name} was refused: {reason}.",
            "Export the network again with this version of torch, without custom objects or compiled libraries.",
        ) from error


def _input(program: ExportedProgram, path: Path) -> tuple[tuple[int, ...], int, int | None]:
    """Shape of the example input, and the smallest and largest batch that the program takes (None: no limit)."""
    inputs = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    value: Any = nodes[str(inputs[0])].meta.get("val") if len(inputs) == 1 else None
    if not isinstance(value, torch.Tensor) or value.ndim != 4 or not value.is_floating_point():
        raise ModelError(
            f"{path.name} takes {len(inputs)} inputs, the first of them {getattr(value, 'shape', 'no tensor')}.",
            "Export a network that takes one floating-point batch of images (N, 3, H, W).",
        )
    examples = program.example_inputs
    example = examples[0][0].shape if examples and examples[0] else value.shape
    if not all(isinstance(length, int) for length in example[1:]):
        raise ModelError(
            f"{path.name} does not say which image size it takes.",
            f'Write it into {path.with_suffix(".json").name}: {{"input_size": [3, 224, 224]}}.',
        )
    batch = value.shape[0]
    if isinstance(batch, int):
        return tuple(example), batch, batch
    bounds = program.range_constraints.get(batch.node.expr)
    if bounds is None:
        return tuple(example), 1, None
    most = int(bounds.upper) if getattr(bounds.upper, "is_Integer", False) and bounds.upper < 2**31 else None
    return tuple(example), int(bounds.lower), most
