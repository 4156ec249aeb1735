"""Networks of transformers: logits as in its own pipeline, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hf_folders import ATTACKED, CLASSES, FAMILIES, LABELS, SQUARE, WIDE, pipeline_logits, save, vit

import linbp
from linbp.data.images import to_unit
from linbp.errors import ModelError
from linbp.models import Model, load_model


def load(folder: Path) -> Model:
    model = load_model(f"hf:{folder}")
    assert isinstance(model, Model)
    return model


def levels(height: int, width: int) -> np.ndarray:
    """Smooth noise, of which filters of different libraries make the same."""
    noise = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic", align_corners=True)
    return (image[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make_network, make_processor = FAMILIES[request.param]
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp(request.param) / "net", make_network(), make_processor())


@pytest.mark.parametrize("size", [(32, 32), (51, 70), (45, 24)])
def test_logits_are_those_of_transformers_own_pipeline(folder: Path, size: tuple[int, int]) -> None:
    image = levels(*size)
    model = load(folder)
    found, other = (model.logits(to_unit(one[None], model.dtype)) for one in (image, 255 - image))
    # Where the processor resizes, it rounds to levels afterwards.
    exact = size == model.input_size[1:] and model.centre_crop is None
    tolerance = (1e-5 if exact else 0.05) * float((found - other).abs().max())
    assert float((found - other).abs().max()) > 0.1
    torch.testing.assert_close(found, pipeline_logits(folder, image), rtol=0, atol=tolerance)
    assert model.class_names == CLASSES


@pytest.mark.parametrize("folder", ATTACKED, indirect=True)
def test_a_captured_network_is_attacked(folder: Path) -> None:
    model = load(folder)
    images = to_unit(np.stack([levels(40, 32), levels(40, 32)[::-1].copy()]), torch.float32)
    labels = model.logits(images).argmax(1)
    adv = linbp.craft(model, images, labels, "linbp(start=0.5) + fgsm", eps=2 / 255, steps=1)
    assert float((adv - images).abs().max()) == pytest.approx(2 / 255, abs=1e-6)
    loss = torch.nn.functional.cross_entropy
    assert loss(model.logits(adv), labels) > loss(model.logits(images), labels)


def test_identity_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, processor = vit(), FAMILIES["vit"][1]()
    one, other = save(tmp_path / "one", network, processor), tmp_path / "moved" / "other"
    other.parent.mkdir()
    first = load(one).identity()
    one.rename(other)
    second = load(other).identity()
    assert {key: value for key, value in first.items() if second[key] != value} == {
        "name": f"hf:{one}",
        "spec": f"hf:{one}",
    }


def test_weights_in_half_precision_are_computed_with_in_float32(tmp_path: Path) -> None:
    network = vit().half()
    folder = save(tmp_path / "net", network, FAMILIES["vit"][1]())
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    model = load(folder)
    assert model.dtype == torch.float32
    stored = dict(network.named_parameters())
    for name, value in model.module.network.named_parameters():
        assert torch.equal(value, stored[name].float())


def refuse(rest: str | Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(f"hf:{rest}")
    text = str(caught.value)
    assert text.count("\n") == 1
    assert len(text.splitlines()[0]) < 400
    for word in words:
        assert word in text


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save(tmp_path / "net", vit(), FAMILIES["vit"][1]())


def test_half_a_download_is_told(whole: Path) -> None:
    file = whole / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refuse(whole, "safetensors", "broken off")
    file.unlink()
    refuse(whole, "model.safetensors")


def test_a_folder_without_its_files_is_told(whole: Path) -> None:
    (whole / "preprocessor_config.json").unlink()
    refuse(whole, "preprocessor_config.json")
    (whole / "config.json").write_text('{"model_type": "nix"}')
    refuse(whole, "nix")
    (whole / "config.json").unlink()
    refuse(whole, "config.json")
    refuse(whole / "nowhere", "no folder")


def test_other_networks_are_told(tmp_path: Path) -> None:
    words = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    bert = transformers.BertModel(transformers.BertConfig(**words, vocab_size=50))
    refuse(save(tmp_path / "bert", bert), "BertModel", "no image classifier")
    headless = transformers.ViTModel(transformers.ViTConfig(**WIDE))
    refuse(save(tmp_path / "headless", headless, FAMILIES["vit"][1]()), "classifier.weight", "random")
    several = transformers.ViTConfig(**WIDE, **LABELS, problem_type="multi_label_classification")
    network = transformers.ViTForImageClassification(several)
    refuse(save(tmp_path / "several", network, FAMILIES["vit"][1]()), "several labels")


@pytest.mark.parametrize(
    ("processor", "word"),
    [
        (lambda: transformers.ViTImageProcessor(size=SQUARE, resample=1), "Lanczos"),
        (lambda: transformers.ViTImageProcessor(do_resize=False), "no size"),
        (lambda: transformers.ViTImageProcessor(size={"shortest_edge": 32}), "depend"),
        (
            lambda: transformers.ViTImageProcessor(size=SQUARE, do_pad=True, pad_size={"height": 40, "width": 40}),
            "know",
        ),
    ],
)
def test_a_processor_that_does_something_else_is_refused(tmp_path: Path, processor, word: str) -> None:  # type: ignore[no-untyped-def]
    refuse(save(tmp_path / "net", vit(), processor()), word)
