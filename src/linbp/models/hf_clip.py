"""CLIP as a zero-shot classifier: the classes are prompts, whose embeddings are computed once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from linbp.data.class_file import read_class_names
from linbp.data.csv_table import read_text
from linbp.errors import ImageError, ModelError
from linbp.models.checkpoint import preserved_random_state
from linbp.models.demo import imagenet_classes
from linbp.models.extras import require
from linbp.models.hf import broken_weights, forget_folder, quiet, read_config, read_processor
from linbp.models.hf_processor import build_model
from linbp.models.hub import find_folder
from linbp.models.model import Model

__all__ = ["TEMPLATE", "ZeroShot", "load"]

TEMPLATE = "a photo of a {}."
"""The prompt of a class, as in the paper's first experiments."""

PROMPTS = 64
"""How many prompts are embedded at a time."""


class ZeroShot(nn.Module):
    """Logits of classes as CLIP gives them: scaled cosines of the image's embedding and of the prompts'.

    Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.2.

    Args:
        clip: a `CLIPModel` of transformers.
        prompts: embeddings of the classes' prompts (classes, d), each of length 1.
    """

    prompts: torch.Tensor
    scale: torch.Tensor

    def __init__(self, clip: Any, prompts: torch.Tensor) -> None:
        super().__init__()
        self.vision, self.projection = clip.vision_model, clip.visual_projection
        self.register_buffer("prompts", prompts)
        self.register_buffer("scale", clip.logit_scale.detach().exp())

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        """The logits (N, classes) of normalised images (N, 3, H, W), as `logits`."""
        found = self.projection(self.vision(pixel_values=pixel_values).pooler_output)
        return SimpleNamespace(logits=self.scale * (found / found.norm(dim=-1, keepdim=True)) @ self.prompts.T)


def load(rest: str) -> Model:
    """Load `FOLDER`, `ORG/NAME` or `ORG/NAME@REVISION`, each with `@FILE` of classes behind it or without.

    FILE ends in .txt, .csv or .json and names the classes, in order; a JSON object may have a `template` with {} for
    the name. Without it the classes are ImageNet's 1,000. Results record the template and the hash of the prompts.

    Raises:
        ModelError: no such folder, repository or file, no network, half a download, or another network than CLIP.
    """
    place, at, file = rest.rpartition("@")
    if not at or not file.lower().endswith((".txt", ".csv", ".json")):
        place, file = rest, ""
    names, template = _classes(file)
    transformers = require("transformers", "hf", "hf-clip:")
    folder, source = find_folder(place, "hf-clip")
    name = f"hf-clip:{rest}"
    prompts = [template.format(one) for one in names]
    with quiet(), preserved_random_state():
        config = read_config(transformers, folder, name)
        if config.model_type != "clip":
            raise ModelError(
                f"{name} is a {config.model_type} network, and no CLIP.",
                "An image classifier is hf: instead of hf-clip:.",
            )
        processor = read_processor(transformers, folder, name)
        clip, tokenizer = _read(transformers, folder, name)
        network = ZeroShot(clip, _embedded(clip, tokenizer, prompts))
    forget_folder(network)
    digest = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    model = build_model(network, processor, name, {**source, "template": template, "prompts_sha256": digest})
    model.class_names = names
    return model


def _classes(file: str) -> tuple[tuple[str, ...], str]:
    """Names of the classes, and the template of their prompts.

    Raises:
        ModelError: no such file, or none that names classes.
    """
    if not file:
        return imagenet_classes(), TEMPLATE
    try:
        names, template = read_class_names(file), TEMPLATE
        if file.lower().endswith(".json"):
            content = json.loads(read_text(Path(file).expanduser()))
            template = content.get("template", TEMPLATE) if isinstance(content, dict) else TEMPLATE
    except ImageError as error:
        raise ModelError(error.message, error.hint) from error
    if not isinstance(template, str) or template.count("{}") != 1 or template.replace("{}", "").strip("{}") == "":
        raise ModelError(f"The template {template!r} has no place for a name.", f"Write it as in {TEMPLATE!r}.")
    return names, template


def _read(transformers: Any, folder: Path, name: str) -> tuple[Any, Any]:
    try:
        clip, found = transformers.CLIPModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    # transformers raises whatever its parts raise.
    except Exception as error:
        raise broken_weights(error, name) from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{name} holds no weights for {', '.join(missing[:3])}: they would be random.",
            "Fetch the whole repository.",
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # As above.
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise ModelError(
            f"{name} has no tokenizer, which its prompts need: {line}.",
            "Fetch tokenizer.json or vocab.json and merges.txt.",
        ) from error
    return clip.eval(), tokenizer


def _embedded(clip: Any, tokenizer: Any, prompts: Sequence[str]) -> torch.Tensor:
    """Embeddings (classes, d) of length 1."""
    found = []
    with torch.no_grad():
        for start in range(0, len(prompts), PROMPTS):
            words = tokenizer(
                list(prompts[start : start + PROMPTS]), padding=True, truncation=True, return_tensors="pt"
            )
            pooled = clip.text_model(input_ids=words["input_ids"], attention_mask=words["attention_mask"]).pooler_output
            embedded = clip.text_projection(pooled)
            found.append(embedded / embedded.norm(dim=-1, keepdim=True))
    return torch.cat(found)
