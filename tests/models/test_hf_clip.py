"""CLIP with classes as prompts: the logits that transformers' own CLIP gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from hf_folders import SQUARE, WIDE, save, vit
from tokenizers.pre_tokenizers import ByteLevel

import linbp
from linbp.errors import ModelError
from linbp.models import Model, load_model

NAMES = ("cat", "dog", "house finch", "jay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
    blocks = {
        key: WIDE[key] for key in ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
    }
    text = {**blocks, "vocab_size": len(words), "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    config = transformers.CLIPConfig(text_config=text, vision_config=WIDE, projection_dim=16)
    torch.manual_seed(0)
    size = {"size": SQUARE, "do_center_crop": False}
    made = save(
        tmp_path_factory.mktemp("clip") / "net", transformers.CLIPModel(config), transformers.CLIPImageProcessor(**size)
    )
    tokenizer.save_pretrained(made)
    return made


def load(spec: str) -> Model:
    model = load_model(spec)
    assert isinstance(model, Model)
    return model


def pipeline(folder: Path, image: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    network = transformers.CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = network(pixel_values=pixels, **tokenizer(prompts, padding=True, return_tensors="pt"))
    logits: torch.Tensor = found.logits_per_image
    return logits


@pytest.mark.parametrize("template", [None, "{}, drawn by hand"])
def test_logits_are_those_of_transformers_own_clip(folder: Path, tmp_path: Path, template: str | None) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\n".join(NAMES))
    if template is not None:
        file = tmp_path / "classes.json"
        file.write_text(json.dumps({"classes": NAMES, "template": template}))
    model = load(f"hf-clip:{folder}@{file}")
    steps = torch.linspace(0, 255, 32).round().to(torch.uint8)
    levels = torch.stack([steps.expand(32, 32), steps.flip(0).expand(32, 32), steps.expand(32, 32) // 2])
    expected = pipeline(folder, levels, [(template or "a photo of a {}.").format(name) for name in NAMES])
    found = model.logits(levels[None].float() / 255)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert model.class_names == NAMES
    assert model.identity()["template"] == (template or "a photo of a {}.")


def test_it_is_attacked_as_a_surrogate_and_other_prompts_are_another_network(folder: Path, tmp_path: Path) -> None:
    hashes = []
    for name, words in (("one.txt", NAMES), ("other.txt", NAMES[::-1])):
        (tmp_path / name).write_text("\n".join(words))
        model = load(f"hf-clip:{folder}@{tmp_path / name}")
        hashes.append((model.identity()["weights_sha256"], model.identity()["prompts_sha256"]))
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1] != hashes[1][1]
    images = (torch.rand(2, 3, 40, 36, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    labels = model.logits(images).argmax(1)
    adv = linbp.craft(model, images, labels, "linbp(start=0.5) + fgsm", eps=2 / 255, steps=1)
    loss = torch.nn.functional.cross_entropy
    assert loss(model.logits(adv), labels) > loss(model.logits(images), labels)


def test_without_a_file_the_classes_are_imagenets(folder: Path) -> None:
    model = load(f"hf-clip:{folder}")
    assert len(model.class_names) == 1000
    assert model.logits(torch.rand(1, 3, 32, 32)).shape == (1, 1000)


def test_what_is_wrong_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.txt does not exist"):
        load(f"hf-clip:{folder}@{tmp_path}/missing.txt")
    (tmp_path / "classes.json").write_text(json.dumps({"classes": NAMES, "template": "a photo"}))
    with pytest.raises(ModelError, match="no place for a name"):
        load(f"hf-clip:{folder}@{tmp_path / 'classes.json'}")
    with pytest.raises(ModelError, match="vit network, and no CLIP"):
        load(f"hf-clip:{save(tmp_path / 'vit', vit())}")
    with pytest.raises(ModelError, match=r"classifier\.weight"):
        load(f"hf:{folder}")
