"""Several surrogates at once: what is averaged, their sizes and rules, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from tiny_networks import CLASSES, SIZE, images_and_labels, tiny, tiny_chain
from torch import nn
from torch.nn import functional

import linbp
from linbp.attack import Budget, Context, Ensemble, Objective, Observation, Recipe, Stage
from linbp.attack.ensemble import Fuse
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.images import read_image, write_png
from linbp.errors import ModelError, RecipeError, RuleError, StoreError
from linbp.evaluation import evaluate_folder
from linbp.graph import Structure

COUNT, LARGE, SMALL = 3, 14, 9
FUSES: tuple[Fuse, ...] = ("logits", "probabilities", "losses")


@pytest.fixture(scope="module")
def pair() -> list[linbp.Surrogate]:
    """Two architectures of two input sizes."""
    return [linbp.Surrogate(tiny()), linbp.Surrogate(tiny_chain(SMALL))]


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Adversarial images as the loop leaves them, before they are put on the 8-bit grid."""
    with monkeypatch.context() as patch:
        patch.setattr(Budget, "finish", lambda budget, images: images)
        yield


def large_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Of a size that is neither network's."""
    draw = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (COUNT, 3, LARGE, LARGE), generator=draw).to(torch.uint8)
    return images, torch.randint(0, CLASSES, (COUNT,), generator=draw)


def eager_logits(image: torch.Tensor) -> list[torch.Tensor]:
    """Logits (classes,) of both networks for one image, through their modules, resized and normalised by hand."""
    first, second = tiny().module.eval(), tiny_chain(SMALL).module.eval()
    sizes = [
        functional.interpolate(image[None], size=(size, size), mode="bilinear", antialias=True)
        for size in (SIZE, SMALL)
    ]
    return [first((sizes[0] - 0.5) / 0.25)[0], second((sizes[1] - 0.4) / 0.3)[0]]


def negative_log(share: torch.Tensor, wanted: int) -> torch.Tensor:
    return -torch.log(share[wanted])


def shares(logits: torch.Tensor) -> torch.Tensor:
    return torch.exp(logits) / torch.exp(logits).sum()


BY_HAND: dict[str, Callable[[list[torch.Tensor], int], torch.Tensor]] = {
    "logits": lambda z, wanted: negative_log(shares((z[0] + z[1]) / 2), wanted),
    "probabilities": lambda z, wanted: negative_log((shares(z[0]) + shares(z[1])) / 2, wanted),
    "losses": lambda z, wanted: (negative_log(shares(z[0]), wanted) + negative_log(shares(z[1]), wanted)) / 2,
}
"""The cross-entropy of an ensemble, written out."""


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("fuse", FUSES)
def test_each_fuse_is_the_formula_and_each_network_has_its_size(
    pair: list[linbp.Surrogate], fuse: Fuse, targeted: bool
) -> None:
    images, labels = large_images()
    goals = (labels + 2) % CLASSES if targeted else labels
    eps, step = 1.5, 0.4
    expected = []
    for image, goal in zip(images.double() / 255, goals.tolist(), strict=True):
        current = image
        for _ in range(3):
            start = current.clone().requires_grad_()
            (found,) = torch.autograd.grad(BY_HAND[fuse](eager_logits(start), goal), start)
            current = current + step * (-found if targeted else found) / found.norm()
            change = current - image
            current = (image + change * min(1.0, eps / float(change.norm()))).clamp(0, 1)
        expected.append(current)
    options = {"eps": eps, "steps": 3, "step_size": step, "norm": "l2", "targets": goals if targeted else None}
    found = linbp.craft(Ensemble(pair, fuse), images, labels, "ifgsm", **options)  # type: ignore[arg-type]
    assert (found - torch.stack(expected)).abs().max() < 1e-9


@pytest.mark.parametrize("fuse", FUSES)
def test_an_ensembles_prediction_is_that_of_what_it_averages(pair: list[linbp.Surrogate], fuse: Fuse) -> None:
    images, _ = large_images()
    images = images.double() / 255
    answers = Ensemble(pair, fuse).logits(images)
    both = [eager_logits(image) for image in images]
    if fuse == "probabilities":
        expected = torch.stack([(shares(z[0]) + shares(z[1])) / 2 for z in both])
        assert torch.allclose(answers.exp(), expected, atol=1e-12)
    else:
        assert torch.allclose(answers, torch.stack([(z[0] + z[1]) / 2 for z in both]), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("fuse", FUSES)
def test_an_adversarial_image_depends_on_nothing_but_its_image(fuse: Fuse, dtype: torch.dtype) -> None:
    images, labels = images_and_labels(5)
    ensemble = Ensemble([tiny(dtype), tiny_chain(SMALL, dtype)], fuse)
    ids = list("abcde")

    def craft(rows: list[int], **options: Any) -> torch.Tensor:
        names = [ids[row] for row in rows]
        recipe = "di(scale=1.5) + mi"
        return linbp.craft(ensemble, images[rows], labels[rows], recipe, eps="8/255", steps=4, ids=names, **options)

    whole = craft(list(range(5)))
    assert torch.equal(craft(list(range(5)), batch_size=2), whole)
    assert torch.equal(craft([4, 1]), whole[[4, 1]])


def test_the_fuses_differ_and_equal_networks_are_one(pair: list[linbp.Surrogate]) -> None:
    images, labels = images_and_labels(COUNT)
    options: dict[str, Any] = {"eps": "8/255", "steps": 5}
    adv = [linbp.craft(Ensemble(pair, fuse), images, labels, "mi", **options) for fuse in FUSES]
    for one in range(3):
        assert not torch.equal(adv[one], adv[one - 1])
    alone = linbp.craft(pair[0], images, labels, "mi", **options)
    for fuse in FUSES:
        doubled = linbp.craft(Ensemble([pair[0], pair[0]], fuse), images, labels, "mi", **options)
        assert (doubled == alone).double().mean() > 0.999  # a sum of two equal floats may round differently


@pytest.mark.usefixtures("unrounded")
def test_each_surrogate_has_its_own_rule(pair: list[linbp.Surrogate]) -> None:
    """Of a mean of losses the gradient is the mean of gradients: each must be its surrogate's, with its own rule."""
    images, labels = images_and_labels(COUNT)
    start = images.double().div(255).clamp(0.3, 0.7).mul(255).round() / 255
    ruled = pair[0].with_rule(linbp.LinBP(start=1))
    other = pair[1].with_rule(linbp.LinBP(start=0, rebalance=None))

    def stepped(ensemble: Ensemble, recipe: str) -> torch.Tensor:
        return linbp.craft(ensemble, start, labels, recipe, eps=3.0, steps=1, step_size=0.4, norm="l2")

    def expected(first: linbp.Surrogate, second: linbp.Surrogate) -> torch.Tensor:
        found = first.gradient(start, labels) + second.gradient(start, labels)
        return start + 0.4 * found / found.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    for ensemble, recipe, members in (
        (Ensemble([ruled, other], "losses"), "ifgsm", (ruled, other)),
        (Ensemble([ruled, pair[1]], "losses"), "ifgsm", (ruled, pair[1])),
        # The recipe's rule goes to the one that has none.
        (Ensemble([ruled, pair[1]], "losses"), "linbp(start=0, rebalance=none)", (ruled, other)),
        (Ensemble(pair, "losses"), "linbp(start=1)", (ruled, pair[1].with_rule(linbp.LinBP(start=1)))),
    ):
        assert (stepped(ensemble, recipe) - expected(*members)).abs().max() < 1e-9
    assert (expected(ruled, other) - expected(*pair)).abs().max() > 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance(Objective):
    """The squared distance of a feature map from the clean image's, at the first of the paths that the network has.

    Not registered: only this file knows it.
    """

    kind: ClassVar[str] = "objective"
    grammar_name: ClassVar[str] = "distance"

    at: tuple[str, ...] = ("blocks.0", "body.2")

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        return tuple(path for path in self.at if path in structure.outputs)

    def bind(self, context: Context, features: Callable[[torch.Tensor], Any]) -> Callable[[Observation], torch.Tensor]:
        ((path, clean),) = features(context.budget.clean).items()

        def measure(observation: Observation) -> torch.Tensor:
            return (observation.features[path] - clean).square().flatten(1).sum(1)

        return measure


@pytest.mark.usefixtures("unrounded")
def test_an_objective_of_feature_maps_reads_each_networks_own(pair: list[linbp.Surrogate]) -> None:
    images, labels = images_and_labels(COUNT)
    eps, step = 1.5, 0.4
    recipe = Recipe(stages=(Stage(objective=Distance(), start=linbp.attack.RandomStart()),))
    options: dict[str, Any] = {"eps": eps, "step_size": step, "norm": "l2", "seed": 4}
    # The start is the package's own: where the first step begins is tested elsewhere.
    first = linbp.craft(pair[0], images, labels, "random-start", steps=1, **{**options, "step_size": 1e-30})
    found = linbp.craft(Ensemble(pair, "losses"), images, labels, recipe, steps=2, **options)
    modules = [tiny().module.eval(), tiny_chain(SMALL).module.eval()]

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        values: list[torch.Tensor] = []
        reads = [modules[0].get_submodule("blocks.0"), modules[1].get_submodule("body.2")]
        hooks = [module.register_forward_hook(lambda _, __, value: values.append(value)) for module in reads]
        small = functional.interpolate(image[None], size=(SMALL, SMALL), mode="bilinear", antialias=True)
        modules[0]((image[None] - 0.5) / 0.25)
        modules[1]((small - 0.4) / 0.3)
        for hook in hooks:
            hook.remove()
        return values

    for row, clean in enumerate(images.double() / 255):
        current, origin = first[row], [value.detach() for value in features(clean)]
        for _ in range(2):
            start = current.clone().requires_grad_()
            every = [((now - then) ** 2).sum() for now, then in zip(features(start), origin, strict=True)]
            (gradient,) = torch.autograd.grad((every[0] + every[1]) / 2, start)
            current = current + step * gradient / gradient.norm()
            change = current - clean
            current = (clean + change * min(1.0, eps / float(change.norm()))).clamp(0, 1)
        assert (found[row] - current).abs().max() < 1e-9


@pytest.mark.parametrize("fuse", ["logits", "probabilities"])
def test_feature_maps_cannot_be_averaged(pair: list[linbp.Surrogate], fuse: Fuse) -> None:
    images, labels = images_and_labels(COUNT)
    with pytest.raises(RecipeError, match=f"feature maps.*{fuse}") as caught:
        linbp.craft(Ensemble(pair, fuse), images, labels, Recipe.of([Distance()]), eps="8/255", steps=2)
    assert "--fuse losses" in caught.value.hint


def test_what_is_refused(pair: list[linbp.Surrogate]) -> None:
    images, labels = images_and_labels(COUNT)

    class Few(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x).flatten(1)[:, :4]

    with pytest.raises(ModelError, match="at least two surrogates"):
        Ensemble(pair[:1])
    with pytest.raises(RecipeError, match="fuse is 'votes'") as caught:
        Ensemble(pair, "votes")  # type: ignore[arg-type]
    assert "logits, probabilities, losses" in caught.value.hint
    few = linbp.Model(Few().double(), input_size=(3, SIZE, SIZE), name="few")
    with pytest.raises(ModelError, match=r"differ in classes \(tiny: 7, few: 4\)"):
        Ensemble([pair[0], few])
    with pytest.raises(ModelError, match=r"differ in dtype \(tiny: torch.float64, chain: torch.float32\)"):
        Ensemble([pair[0], tiny_chain(SMALL, torch.float32)])
    ruled = [one.with_rule(linbp.LinBP(start=0)) for one in pair]
    with pytest.raises(RecipeError, match="every surrogate"):
        linbp.craft(Ensemble(ruled), images, labels, "linbp(start=1)", eps="8/255", steps=2)
    with pytest.raises(RuleError, match=r"^tiny: .*'nowhere'"):
        linbp.craft(Ensemble(pair, "losses"), images, labels, "ila(at=nowhere)", eps="8/255", steps=2)


@pytest.fixture
def photographs(tmp_path: Path) -> tuple[ImageRecord, ...]:
    (tmp_path / "clean").mkdir()
    images, labels = images_and_labels(4)
    lines = ["file,label"]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        write_png(tmp_path / "clean" / f"i{number}.png", image.permute(1, 2, 0).numpy())
        lines.append(f"i{number}.png,{int(label)}")
    (tmp_path / "clean" / "images.csv").write_text("\n".join(lines))
    return list_images(tmp_path / "clean")


def test_a_folder_records_every_member_goes_on_and_can_be_evaluated(
    pair: list[linbp.Surrogate], photographs: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ruled = pair[0].with_rule(linbp.LinBP(start=1))
    settings: dict[str, Any] = {"recipe": "svre(rounds=1) + mi", "eps": "6/255", "steps": 3, "batch_size": 3}
    report = craft_folder(Ensemble([ruled, pair[1]], "probabilities"), photographs, out, **settings)
    assert report.made == 4
    images, labels = images_and_labels(4)
    ids = [image.image_id for image in photographs]
    ensemble = Ensemble([ruled, pair[1]], "probabilities")
    adv = linbp.craft(ensemble, images, labels, settings["recipe"], eps="6/255", steps=3, ids=ids)
    for row, image_id in enumerate(ids):
        assert np.array_equal(read_image(out / f"{image_id}.png"), (adv[row] * 255).round().permute(1, 2, 0).numpy())
    manifest = json.loads((out / "manifest.json").read_text())
    written = manifest["settings"]["surrogate"]
    assert written["fuse"] == "probabilities"
    assert [member["name"] for member in written["members"]] == ["tiny", "chain"]
    assert [member.get("rules") for member in written["members"]] == [["linbp(start=1)"], None]
    assert written["members"][1]["weights_sha256"] == pair[1].model.identity()["weights_sha256"]
    assert manifest["gradients_per_image"] == 3 * 2 * 3 == report.records[0]["gradients"]
    assert any(note.startswith("tiny: ") for note in manifest["notes"])

    (out / f"{ids[1]}.png").unlink()
    again = craft_folder(ensemble, photographs, out, **settings)
    assert (again.made, again.kept) == (1, 3)
    assert np.array_equal(read_image(out / f"{ids[1]}.png"), (adv[1] * 255).round().permute(1, 2, 0).numpy())

    for other, words in (
        (Ensemble([ruled, pair[1]], "losses"), r"surrogate\.fuse: probabilities -> losses"),
        (Ensemble(pair, "probabilities"), r'surrogate\.members\.1\.rules: \["linbp\(start=1\)"\] -> null'),
        (Ensemble([*pair, pair[0]], "probabilities"), r"members: 2 -> 3; .*surrogate\.members\.3: null -> tiny"),
        (pair[1], r"surrogate\.members: tiny and chain -> null; surrogate\.name: null -> chain"),
    ):
        with pytest.raises(StoreError, match=words):
            craft_folder(other, photographs, out, **{**settings, "recipe": "mi"})
    with pytest.raises(StoreError, match=r"surrogate\.members\.1\.name: tiny -> chain"):
        craft_folder(Ensemble([pair[1], ruled], "probabilities"), photographs, out, **settings)

    victims = [tiny(), tiny_chain(SMALL)]
    result = evaluate_folder(out, victims)
    assert {"format": 2, **result.manifest} == manifest | {"runs": result.manifest["runs"]}
    for victim, evaluation in zip(victims, result.evaluations, strict=True):
        wrong = (victim.logits(adv).argmax(1) != labels).double().mean()
        assert evaluation.statistics.wrong.value == pytest.approx(float(wrong))
