"""Checkpoints of classes of one's own, and names that are nearly right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from linbp.errors import ModelError
from linbp.models import load_model

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def checkpoint(library: str, name: str, path: Path, **metadata: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module: torch.nn.Module = (
            timm.create_model(name, num_classes=7)
            if library == "timm"
            else torchvision.models.get_model(name, num_classes=7)
        )
    save_file(module.state_dict(), path, metadata=metadata or None)
    return module.eval()


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("timm", "resnet18"),
        ("timm", "mobilenetv3_small_050"),
        ("timm", "deit_tiny_distilled_patch16_224"),  # with two heads
        ("torchvision", "squeezenet1_1"),  # whose head is a convolution
        ("torchvision", "mobilenet_v3_small"),
    ],
)
def test_the_head_says_how_many_classes_there_are(tmp_path: Path, library: str, name: str) -> None:
    module = checkpoint(library, name, tmp_path / "mine.safetensors")
    model = load_model(f"{library}:{name}@{tmp_path}/mine.safetensors")
    images = torch.rand(2, *model.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = module(model.normalise(images))
    assert torch.allclose(model.logits(images), expected, atol=1e-5)
    assert expected.shape == (2, 7)
    assert model.class_names == ()


def test_the_names_of_the_classes_are_in_the_checkpoint_or_beside_it(tmp_path: Path) -> None:
    spec = f"torchvision:squeezenet1_1@{tmp_path}/mine.safetensors"
    module = checkpoint("torchvision", "squeezenet1_1", tmp_path / "mine.safetensors")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert load_model(spec).class_names == tuple(NAMES)
    (tmp_path / "mine.json").write_text(json.dumps({"classes": NAMES[::-1], "mean": [0.5, 0.5, 0.5]}))
    found = load_model(spec)
    assert found.class_names == tuple(NAMES[::-1])
    assert found.mean == (0.5, 0.5, 0.5)  # what stands there is not passed over
    checkpoint("torchvision", "squeezenet1_1", tmp_path / "mine.safetensors", class_names=json.dumps(NAMES))
    assert load_model(spec).class_names == tuple(NAMES)
    indices = {name: number for number, name in enumerate(NAMES)}
    torch.save({"state_dict": module.state_dict(), "class_to_idx": indices}, tmp_path / "own.pth")
    assert load_model(f"torchvision:squeezenet1_1@{tmp_path}/own.pth").class_names == tuple(NAMES)


def test_other_names_than_the_heads_are_refused(tmp_path: Path) -> None:
    checkpoint("torchvision", "squeezenet1_1", tmp_path / "mine.safetensors")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES[:-1]))
    with pytest.raises(ModelError, match=r"classes\.txt names 6 classes, and the head of mine\.safetensors has 7"):
        load_model(f"torchvision:squeezenet1_1@{tmp_path}/mine.safetensors")


def test_published_names_of_classes_and_a_head_of_ones_own_are_not_mixed_up(tmp_path: Path) -> None:
    assert load_model("torchvision:squeezenet1_1@random").class_names[0] == "tench"
    checkpoint("torchvision", "squeezenet1_1", tmp_path / "mine.safetensors")
    assert load_model(f"torchvision:squeezenet1_1@{tmp_path}/mine.safetensors").class_names == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timm:resnet19", ("Near names of 1,", "resnet18")),
        ("timm:zzz", ("Near names",)),
        ("torchvision:resnet_50@random", ("resnet50",)),
        ("resnet18.a1_in1k", ("timm:resnet18.a1_in1k",)),
        ("resnet18", ("timm:resnet18.a1_in1k", "torchvision:resnet18@IMAGENET1K_V1")),
        ("resnet18@net.pth", ("timm:resnet18@net.pth", "torchvision:resnet18@net.pth")),
        ("inception_v4", ("timm:inception_v4.tf_in1k",)),
        ("net.py", ("file:net.py:build", "functions: build, helper")),
        ("net.py:build", ("Write file:net.py:build.",)),
        ("gone.py", ("Write file:gone.py:FUNCTION",)),
        ("net.pth", ("timm:NAME@FILE",)),
        ("tim:resnet18", ("'timm'",)),
    ],
)
def test_a_name_that_is_nearly_right_is_told(
    text: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("def build():\n    raise SystemExit\n\n\ndef helper():\n    pass\n")
    with pytest.raises(ModelError) as caught:
        load_model(text)
    assert len(str(caught.value)) < 400
    for word in words:
        assert word in caught.value.hint.replace("FUNCTION", "build") or word in caught.value.hint
