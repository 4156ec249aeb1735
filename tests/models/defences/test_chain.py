"""Victims behind defences, as their names say: order, one answer an image, identities, who may be a surrogate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import linbp
from linbp.attack.named_surrogates import load_surrogate
from linbp.errors import ModelError, RecipeError
from linbp.evaluation import evaluate
from linbp.evaluation.asked_twice import UnsteadyError
from linbp.models import Defended, Model, OnnxModel, load_model
from linbp.models.defences import Bits, Gaussian, Jpeg, Median, ResizePad, Smoothing, behind, parse_chain

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 3, 12, 12)).astype(np.uint8)
IMAGES = torch.from_numpy(PIXELS) / 255
CHAIN = "median(2) | resize-pad(1.5) | smoothing(0.05, n=15) | jpeg(50)"


def network(seed: int = 0) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(500, 6))
    return Model(module, input_size=12, name="net")


LABELS = network().logits(IMAGES).argmax(1).numpy()


def test_images_pass_the_defences_from_left_to_right() -> None:
    model, found = network(), behind("bits(2) | gaussian(0.7)", network())
    ids = ("",) * len(IMAGES)
    left = Gaussian(sigma=0.7).apply(Bits(depth=2).apply(IMAGES, ids), ids)
    right = Bits(depth=2).apply(Gaussian(sigma=0.7).apply(IMAGES, ids), ids)
    assert torch.equal(found.logits(IMAGES), model.logits(left))
    assert torch.equal(behind("gaussian(0.7) | bits(2)", model).logits(IMAGES), model.logits(right))
    assert not torch.equal(left, right)


def test_an_answer_depends_on_neither_batch_nor_order_nor_company() -> None:
    found = behind(CHAIN, network())
    together = found.logits(IMAGES)
    assert torch.equal(found.logits(IMAGES.flip(0)).flip(0), together)
    assert torch.equal(torch.cat([found.logits(one) for one in IMAGES.split(5)]), together)
    assert torch.equal(behind(CHAIN, network()).logits(IMAGES[3:4]), together[3:4])
    again = torch.cat([IMAGES[:1], IMAGES[:1]])
    assert torch.equal(found.logits(again)[0], found.logits(again)[1])


def test_draws_depend_on_seed_and_place_and_content() -> None:
    padded = [
        behind(chain, _Seen())
        for chain in (
            "resize-pad(2)",
            "resize-pad(2, seed=1)",
            "resize-pad(2) | resize-pad(1.5)",
            "bits(8) | resize-pad(2)",
        )
    ]
    answers = [
        one.logits(torch.ones(40, 3, 12, 12) * torch.linspace(0.5, 1, 40)[:, None, None, None]) for one in padded
    ]
    first, *others = answers
    assert len(set(first.argmax(1).tolist())) > 5, "images of other content have other draws"
    assert all(not torch.equal(first.argmax(1), other.argmax(1)) for other in others)


class _Seen:
    """Tells in which row an image begins."""

    name = "seen"

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return images.sum((1, 3)).ne(0).float().cumsum(1).eq(1).float()

    def identity(self) -> dict[str, str]:
        return {"name": self.name}


def test_the_dtype_changes_no_draw() -> None:
    one = behind("resize-pad(2)", _Seen())
    assert torch.equal(one.logits(IMAGES).argmax(1), one.logits(torch.from_numpy(PIXELS).double() / 255).argmax(1))


def test_names_and_identities_tell_chains_apart() -> None:
    names = {behind(chain, network()).name for chain in ("jpeg", "jpeg(75)", "jpeg(quality=75)", " jpeg ( 75 ) ")}
    assert names == {"jpeg(75) | net"}
    chains = [
        "jpeg",
        "jpeg(74)",
        "bits",
        "jpeg | bits",
        "bits | jpeg",
        "smoothing",
        "smoothing(seed=1)",
        "jpeg(75, '4:4:4')",
    ]
    identities = [behind(chain, network()).identity() for chain in chains]
    assert len({one["name"] for one in identities}) == len(chains)
    assert len({str(one["defences"]) for one in identities}) == len(chains)
    assert {one["weights_sha256"] for one in identities} == {network().identity()["weights_sha256"]}
    assert identities[0]["defences"][0].keys() == {"name", "quality", "subsampling", "pillow"}
    for one in identities:
        text = one["name"].removesuffix(" | net")
        assert behind(text, network()).identity()["defences"] == one["defences"], "names are read back"


def test_a_victim_is_loaded_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch, linbp\nfrom torch import nn\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return linbp.Model(nn.Sequential(nn.Flatten(), nn.Linear(432, 6)), input_size=12)\n"
    )
    name = f"file:{tmp_path}/net.py:net"
    found = linbp.load_model(f"jpeg(75) | bits(4)|{name}")
    assert isinstance(found, Defended)
    assert found.defences == (Jpeg(), Bits(depth=4))
    assert found.identity()["spec"] == f"jpeg(75) | bits(4)|{name}"
    with pytest.raises(ModelError, match="names no network"):
        load_model("jpeg | nothing")
    with pytest.raises(ModelError, match="gives no gradients, so it cannot be a surrogate"):
        load_surrogate(f"jpeg | {name}")
    with pytest.raises(ModelError, match="crops already"):
        behind("crop(14)", Model(nn.Flatten(), input_size=12, resize=13))
    with pytest.raises(ModelError, match="How net resizes and crops is not known") as caught:
        behind("crop", network())
    assert "crop(256) | NAME" in caught.value.hint


def test_a_crop_before_a_network_becomes_its_own() -> None:
    model, crops = network(), behind("crop(14)", network())
    assert isinstance(crops, Model)
    assert crops.identity() == {**model.identity(), "resize": 14, "crop": [12, 12], "name": "crop(14) | net"}
    same = Model(model.module, input_size=12, resize=14)
    images = torch.rand(2, 3, 30, 20)
    assert torch.equal(crops.logits(images), same.logits(images))
    before = behind("jpeg(60) | crop(14)", network())
    assert isinstance(before, Defended)
    assert torch.equal(before.logits(images), same.logits(Jpeg(quality=60).apply(images, ("", ""))))
    first = behind("crop(14, 12) | jpeg(60)", network())
    assert torch.equal(first.logits(images), model.logits(Jpeg(quality=60).apply(same.resize(images), ("", ""))))
    adv = linbp.craft(crops, IMAGES[:2], torch.tensor([0, 1]), "ifgsm", eps=8 / 255, steps=1)
    assert (adv != IMAGES[:2]).any()


def test_the_crop_of_published_weights_is_asked_for_by_name() -> None:
    crops = load_model("crop | timm:test_resnet.r160_in1k@random")
    assert isinstance(crops, Model)
    assert crops.centre_crop == crops.published_crop is not None
    assert crops.name.startswith("crop | timm:")


def test_onnx_files_and_black_boxes_have_defences_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["image"], ["logits"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [logits])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "net.onnx"
    )
    ids = ("",) * len(IMAGES)
    for chain, expected in (
        ("median(2)", Median(size=2).apply(IMAGES, ids)),
        ("crop(none, 8)", IMAGES[..., 2:10, 2:10]),
        ("median(2) | crop(none, 8)", Median(size=2).apply(IMAGES, ids)[..., 2:10, 2:10]),
    ):
        for one in (load_model(f"{chain} | {tmp_path}/net.onnx"), behind(chain, _Flat())):
            torch.testing.assert_close(one.logits(IMAGES), expected.flatten(1))
    assert isinstance(load_model(f"crop(none, 8) | {tmp_path}/net.onnx"), OnnxModel)


def test_a_black_box_that_tells_its_size_is_cropped_to_it() -> None:
    class Sized(_Flat):
        input_size = (3, 8, 8)

    images = torch.rand(2, 3, 30, 20)
    expected = Model(nn.Flatten(), input_size=8, resize=10).logits(images)
    torch.testing.assert_close(behind("crop(10)", Sized()).logits(images), expected)
    with pytest.raises(ModelError, match="takes any size"):
        behind("crop(10)", _Flat()).logits(images)


class _Flat(_Seen):
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_a_defended_victim_that_is_random_by_design_is_not_doubted_for_it() -> None:
    found = evaluate(behind("resize-pad(1.5) | smoothing(0.05, n=15)", network()), PIXELS, 255 - PIXELS, LABELS)
    assert not [note for note in found.notes if "other scores" in note]


def test_a_victim_that_is_unsteady_is_caught_behind_defences() -> None:
    class Flaky(_Seen):
        def __init__(self) -> None:
            self.draw = torch.Generator().manual_seed(0)

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            return torch.randn(len(images), 6, generator=self.draw)

    class OfTheBatch(_Seen):
        def logits(self, images: torch.Tensor) -> torch.Tensor:
            plain = images.mean((2, 3)).repeat(1, 2)
            return plain - plain.mean(0)

    for victim in (Flaky(), OfTheBatch()):
        with pytest.raises(UnsteadyError):
            evaluate(behind("jpeg | bits", victim), PIXELS, 255 - PIXELS, LABELS, trust_labels=True)


def test_a_defence_is_no_part_of_an_attack() -> None:
    for recipe in ("jpeg + mi", "mi >> smoothing"):
        with pytest.raises(RecipeError, match="is a defence of a victim") as caught:
            linbp.Recipe.parse(recipe)
        assert "| NAME" in caught.value.hint
    with pytest.raises(RecipeError, match="is a defence"):
        linbp.Recipe.of([ResizePad()])


def test_smoothing_of_two_networks_in_a_row_votes_about_votes() -> None:
    outer, inner = Smoothing(sigma=0.02, n=12, alpha=0.1), Smoothing(sigma=0.02, n=13, alpha=0.1, seed=2)
    found = behind([outer, inner], network())
    assert isinstance(found, Defended)
    assert found.abstains
    votes = found.logits(IMAGES[:4])
    assert set(votes.sum(1).tolist()) <= {0.0, 12.0}
    assert parse_chain("smoothing(0.02, n=12, alpha=0.1)") == (outer,)


class _Votes(_Seen):
    """Answers with its rows; declines to answer where all scores are equal."""

    abstains = True

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = rows

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.rows)[(images[:, 0, 0, 0] * 255).round().long()]


def test_an_abstention_is_neither_right_nor_a_success() -> None:
    # By pixel: class 0, class 1, no answer. Pairs: right and fooled, right and silent, silent, silent, wrong.
    victim = behind("bits(8)", _Votes([[3.0, 0, 0], [0, 3, 0], [0, 0, 0]]))
    assert isinstance(victim, Defended)
    assert victim.abstains
    clean, adv = (np.zeros((5, 3, 4, 4), np.uint8) for _ in range(2))
    clean[:, :, :, :] = np.array([0, 0, 2, 2, 1])[:, None, None, None]
    adv[:, :, :, :] = np.array([1, 2, 1, 2, 1])[:, None, None, None]
    found = evaluate(victim, clean, adv, [0, 0, 0, 0, 0], trust_victim=True, trust_labels=True)
    assert [record.clean_prediction for record in found.records] == [0, 0, -2, -2, 1]
    assert [record.fooled for record in found.records] == [True, False, False, False, False]
    assert (found.statistics.right_on_clean, found.statistics.fooled.n) == (2, 2)
    assert found.statistics.fooled.value == 0.5
    assert "no answer to 2 clean and 2 adversarial images of 5" in " ".join(found.notes)


def test_without_the_attribute_equal_scores_are_the_first_class() -> None:
    plain = _Votes([[0.0, 0, 0]])
    plain.abstains = False
    found = evaluate(behind("bits(8)", plain), PIXELS * 0, PIXELS * 0, np.zeros(24, int), trust_victim=True)
    assert {record.clean_prediction for record in found.records} == {0}
