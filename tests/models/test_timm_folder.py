"""timm's folders: the same logits as timm's own, with the classes and preprocessing of config.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from linbp.errors import ModelError
from linbp.models import Model, load_model

OURS = {"input_size": (3, 64, 64), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "interpolation": "bilinear"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", num_classes=4).eval()
    network.pretrained_cfg = {**network.pretrained_cfg, **OURS, "crop_pct": 0.8, "num_classes": 4}
    save_for_hf(network, tmp_path / "net", model_config={"label_names": list("abcd")}, safe_serialization=True)
    return tmp_path / "net"


def test_logits_classes_and_preprocessing_are_those_of_the_folder(folder: Path) -> None:
    model = load_model(f"timm:local-dir:{folder}")
    assert isinstance(model, Model)
    original = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(OURS[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), original((images - mean) / std), rtol=1e-5, atol=1e-6)
    assert (model.class_names, model.input_size) == (tuple("abcd"), (3, 64, 64))
    assert model.published_crop is not None
    assert model.published_crop.resize == 80


def refuse(spec: str, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert str(caught.value).count("\n") == 1


def test_what_is_wrong_with_a_folder_is_told(folder: Path) -> None:
    spec = f"timm:local-dir:{folder}"
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, said = weights.read_bytes(), json.loads(config.read_text())
    weights.write_bytes(whole[: len(whole) // 2])
    refuse(spec, "cannot be read", "broken off")
    weights.write_bytes(whole)
    config.write_text(json.dumps({**said, "architecture": "test_vit"}))
    refuse(spec, "cannot be read", "has to fit")
    config.write_text(json.dumps({**said, "architecture": "test_resnot"}))
    refuse(spec, "test_resnot", "test_resnet")
    config.write_text("{}")
    refuse(spec, "names no architecture")
    config.unlink()
    refuse(spec, "config.json")
    refuse(f"timm:local-dir:{folder / 'nowhere'}", "no folder")
