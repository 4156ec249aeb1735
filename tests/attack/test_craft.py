"""What `craft` takes, what it gives back, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted_checks import counted
from resolved_jobs import craft_folder
from tiny_networks import images_and_labels, tiny, tiny_chain
from torch import nn

import linbp
from linbp.attack import AttackConfig
from linbp.attack.budget import Budget
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.errors import BudgetError, ImageError, LinbpError, ModelError, RecipeError
from linbp.models.demo import demo_images

MODEL = tiny()


def test_tensors_in_tensors_out_arrays_in_arrays_out() -> None:
    images, labels = images_and_labels(2)
    whole = linbp.craft(MODEL, images, labels, "ifgsm", eps="4/255", steps=2)
    from_arrays = linbp.craft(MODEL, images.numpy(), labels.numpy(), "ifgsm", eps=4 / 255, steps=2)
    from_floats = linbp.craft(MODEL, images.float() / 255, labels.tolist(), "ifgsm", eps=[4 / 255] * 2, steps=2)
    assert isinstance(whole, torch.Tensor)
    assert isinstance(from_arrays, np.ndarray)
    assert np.array_equal(from_arrays, whole.numpy())
    assert torch.equal(from_floats, whole)
    single = linbp.craft(tiny(torch.float32), images, labels, "ifgsm", eps="4/255", steps=2)
    assert single.dtype == torch.float32


def test_no_images_are_no_adversarial_images() -> None:
    images, labels = images_and_labels(1)
    assert linbp.craft(MODEL, images[:0], labels[:0], "ifgsm", eps="4/255").shape == (0, 3, 12, 12)


def test_images_of_another_size_keep_it() -> None:
    images = torch.randint(0, 256, (2, 3, 20, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    adv = linbp.craft(MODEL, images, [1, 2], "linbp(start=1) + di(scale=1.3)", eps="4/255", steps=3)
    assert adv.shape == images.shape
    assert 0 < (adv * 255 - images).abs().max() <= 4


def test_progress_counts_image_steps() -> None:
    images, labels = images_and_labels(5)
    seen: list[tuple[int, int]] = []
    linbp.craft(
        MODEL, images, labels, "ifgsm", eps="4/255", steps=2, batch_size=2, progress=lambda *now: seen.append(now)
    )
    assert seen == [(2, 10), (4, 10), (6, 10), (8, 10), (9, 10), (10, 10)]


def test_nothing_of_the_callers_changes() -> None:
    images, labels = images_and_labels(2)
    floats = images.double() / 255
    before = floats.clone()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    linbp.craft(MODEL, floats, labels, "pgd + di(scale=1.5) + mi", eps="4/255", steps=2)
    assert torch.equal(floats, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in MODEL.parameters())


@pytest.mark.parametrize(
    ("change", "fault", "says"),
    [
        ({"eps": "-8/255"}, BudgetError, "-8/255"),
        ({"eps": 8}, BudgetError, "8/255"),
        ({"eps": [0.1]}, BudgetError, "1 radii for 2 images"),
        ({"step_size": "nan"}, BudgetError, "step_size"),
        ({"step_size": 2}, BudgetError, "whole range"),
        ({"labels": [0, 7]}, ImageError, "0 to 6"),
        ({"labels": [0, -1]}, ImageError, "0 to 6"),
        ({"labels": [0]}, ImageError, "shape"),
        ({"labels": [0.5, 1.0]}, ImageError, "whole number"),
        ({"targets": [0, 9]}, ImageError, "target of image 1 is 9"),
        ({"ids": ["a", "a"]}, ImageError, "different"),
        ({"images": torch.rand(2, 3, 12, 12)}, ImageError, "8-bit grid"),
        ({"images": torch.full((2, 3, 12, 12), 2.0)}, ImageError, "outside"),
        ({"images": torch.full((2, 3, 12, 12), torch.nan)}, ImageError, "outside"),
        ({"images": torch.zeros(3, 12, 12)}, ImageError, "batch of shape"),
        ({"images": torch.zeros(2, 1, 12, 12)}, ImageError, "have 1 channels"),
        ({"eps": 0.4 / 255, "rounding": "nearest"}, BudgetError, "half a level"),
        ({"images": torch.zeros(2, 3, 12, 12, dtype=torch.int64)}, ImageError, "uint8"),
        ({"steps": 0}, RecipeError, "steps"),
        ({"batch_size": 0}, RecipeError, "batch_size"),
        ({"recipe": "fgsm", "steps": 5}, RecipeError, "one step"),
        ({"recipe": "fgsm", "step_size": 0.1}, RecipeError, "step_size"),
        ({"recipe": "mi", "steps": 1}, RecipeError, "no effect"),
        ({"recipe": "di(scale=1.01)"}, RecipeError, "no effect on images 12 pixels"),
        ({"norm": "l1"}, BudgetError, "linf or l2"),
        ({"rounding": "up"}, BudgetError, "inward, nearest, truncate"),
    ],
)
def test_refusals(change: dict[str, object], fault: type[LinbpError], says: str) -> None:
    images, labels = images_and_labels(2)
    given: dict[str, object] = {"images": images, "labels": labels, "recipe": "ifgsm", "eps": "4/255", **change}
    with pytest.raises(fault) as caught:
        linbp.craft(MODEL, given.pop("images"), given.pop("labels"), given.pop("recipe"), **given)  # type: ignore[arg-type, type-var]
    assert says in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("options", [{"eps": "8/255"}, {"eps": 1.5, "norm": "l2"}])
@pytest.mark.parametrize("recipe", ["ifgsm", "pgd + di(scale=1.5) + mi"])
def test_how_images_lie_in_memory_changes_nothing(
    options: dict[str, Any], recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strides, begin = set(), Budget.__init__

    def noting(self: Budget, clean: torch.Tensor, *rest: Any, **named: Any) -> None:
        strides.add(clean.stride())  # on large networks these alone change last bits
        begin(self, clean, *rest, **named)

    monkeypatch.setattr(Budget, "__init__", noting)
    images, labels = images_and_labels(3)
    photographs = images.permute(0, 2, 3, 1).contiguous()  # as most libraries read them
    surrogate = linbp.Surrogate(tiny(torch.float32))
    wanted = linbp.craft(surrogate, images, labels, recipe, steps=3, **options)
    for given in (photographs.permute(0, 3, 1, 2), (images.float() / 255).to(memory_format=torch.channels_last)):
        assert not given.is_contiguous()
        assert torch.equal(linbp.craft(surrogate, given, labels, recipe, steps=3, **options), wanted)
    assert strides == {torch.empty(images.shape).stride()}


def test_two_rules_in_two_places_are_refused() -> None:
    images, labels = images_and_labels(1)
    surrogate = linbp.Surrogate(MODEL, rule=linbp.LinBP(start=1))
    with pytest.raises(RecipeError, match="one place"):
        linbp.craft(surrogate, images, labels, "sgm", eps="4/255")
    alone = linbp.craft(surrogate, images, labels, "ifgsm", eps="4/255", steps=3)
    assert torch.equal(alone, linbp.craft(MODEL, images, labels, "linbp(start=1)", eps="4/255", steps=3))


def test_a_victim_without_gradients_is_no_surrogate() -> None:
    class Asked:
        name, differentiable = "asked", False

    with pytest.raises(ModelError, match="no gradients"):
        linbp.craft(Asked(), torch.zeros(1, 3, 4, 4), [0], "ifgsm", eps="4/255")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "recipes"),
    [
        ("squeezenet1_1", ("linbp(start=3) + di + mi", "pgd")),
        pytest.param(
            "efficientnet_lite0",
            ("linbp(start=0.5)", "linbp(start=0.5, rebalance=site) + sgm(gamma=0.5)"),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_float32_adversarial_images_of_real_images_hardly_depend_on_the_batch(
    network: str, recipes: tuple[str, ...]
) -> None:
    """At least 99.9% of the pixels are equal; kernels may sum in another order for another batch size."""
    samples = demo_images()
    images, labels = samples.images[:6], samples.labels[:6]
    surrogate = linbp.Surrogate(linbp.load_model(f"demo:{network}"))
    ids = [f"image {index}" for index in range(len(images))]
    for recipe in recipes:
        whole = linbp.craft(surrogate, images, labels, recipe, eps="8/255", steps=3, ids=ids)
        again = linbp.craft(surrogate, images, labels, recipe, eps="8/255", steps=3, ids=ids)
        assert np.array_equal(whole, again)
        order = [4, 1, 0]
        part = linbp.craft(
            surrogate, images[order], labels[order], recipe, eps="8/255", steps=3,
            ids=[ids[row] for row in order], batch_size=2,
        )  # fmt: skip
        equal = float((np.asarray(part) == np.asarray(whole)[order]).mean())
        assert equal >= 0.999, (recipe, equal)


@pytest.mark.parametrize("recipe", ["ifgsm", "linbp(start=auto)"])
def test_a_job_refuses_a_network_of_one_channel(tmp_path: Path, recipe: str) -> None:
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "images.csv").write_text("file,label\na.png,0\n")
    grey = linbp.Model(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)),
        input_size=(1, 8, 8),
        mean=(0.5,),
        std=(0.5,),
    )
    with pytest.raises(ImageError, match=r"3 channels.*Sequential.*1"):
        craft_folder(
            grey,
            list_images(tmp_path),
            tmp_path / "out",
            recipe,
            eps="8/255",
            steps=2,
            trust_labels=True,
            proxies=[MODEL] * ("auto" in recipe),
        )
    assert not (tmp_path / "out").exists()


def test_cuda_means_the_first_card() -> None:
    from linbp.attack.ensemble import same_device

    assert same_device("cuda", torch.device("cuda:0"))
    assert same_device("cuda:1", torch.device("cuda", 1))
    assert not same_device("cuda:1", torch.device("cuda:0"))
    assert not same_device("cpu", torch.device("cuda:0"))
    assert same_device("cpu", torch.device("cpu"))


def test_settings_are_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = images_and_labels(5)
    calls = counted(monkeypatch)
    options: dict[str, Any] = {"eps": ["4/255"] * 5, "steps": 2, "batch_size": 1}
    linbp.craft(MODEL, images, labels, "linbp(start=1) + mi", targets=(labels + 1) % 3, **options)
    checks = ["resolve", "parse", "check_steps", "check_targets", "check_pool", "check_budget"]
    assert calls == dict.fromkeys(checks, 1)
    calls.clear()
    proxy = tiny_chain()
    linbp.choose_start(MODEL, images, labels, "linbp(start=auto, rebalance=none)", proxies=[proxy], **options)
    assert calls == dict.fromkeys(checks, 1)
    calls.clear()
    linbp.craft(MODEL, images, labels, linbp.Recipe.of([]), **options)
    assert calls == dict.fromkeys(set(checks) - {"parse"}, 1)


def test_each_image_has_its_own_radius_and_step() -> None:
    """In one batch or in several: one image's settings are those that it has alone."""
    images, labels = images_and_labels(3)
    radii, options = [0.4, 0.9, 1.6], {"norm": "l2", "steps": 3}
    surrogate = linbp.Surrogate(MODEL)
    for recipe in ("mi", "fgsm", "pgn(samples=2) + ni"):
        steps: dict[str, Any] = {**options, "steps": 1 if recipe == "fgsm" else 3}
        alone = [
            linbp.craft(surrogate, images[[row]], labels[[row]], recipe, eps=eps, ids=[str(row)], **steps)
            for row, eps in enumerate(radii)
        ]
        for batch_size in (1, 2, 3):
            together = linbp.craft(surrogate, images, labels, recipe, eps=radii, batch_size=batch_size, **steps)
            assert torch.equal(together, torch.cat(alone))


def test_the_default_radius_is_that_of_the_norm() -> None:
    config = AttackConfig.resolve("ifgsm")
    assert (config.eps, config.steps) == ((8 / 255,), 50)
    with pytest.raises(BudgetError, match="L2 radius has no default"):
        AttackConfig.resolve("ifgsm", norm="l2")
    with pytest.raises(BudgetError, match=r"eps is \[1.0\]"):
        AttackConfig.resolve("ifgsm", eps=[1.0])  # one for each image, and nobody says how many there are
