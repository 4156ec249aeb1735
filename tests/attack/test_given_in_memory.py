"""What `craft` is given: every kind of image, label and number that means the same gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import tiny

import linbp
from linbp.attack.budget import parse_radius
from linbp.errors import BudgetError, ImageError, LinbpError, ModelError, RecipeError

LEVELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 12, 12), dtype=np.uint8))
LABELS = torch.tensor([0, 1, 2])


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(tiny())


def craft(surrogate: linbp.Surrogate, **changes: Any) -> torch.Tensor:
    given: dict[str, Any] = {
        "images": LEVELS,
        "labels": LABELS,
        "recipe": "ifgsm",
        "eps": "8/255",
        "steps": 3,
        **changes,
    }
    adv = linbp.craft(surrogate, given.pop("images"), given.pop("labels"), given.pop("recipe"), **given)
    assert not getattr(adv, "requires_grad", False)
    return torch.as_tensor(adv)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": (LEVELS / 255).requires_grad_()},
        {"images": (LEVELS / 255).half()},
        {"images": (LEVELS.double() / 255).numpy()},
        {"images": [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in LEVELS]},
        {"labels": np.array([0, 1, 2], object)},
        {"eps": 8 / 255},
        {"eps": np.float64(8 / 255)},
        {"eps": np.float32(8 / 255)},
        {"eps": np.float16(8 / 255)},
        {"eps": torch.tensor(8 / 255)},
        {"eps": torch.full((3,), 8 / 255, dtype=torch.float16)},
        {"eps": np.array(["8/255"] * 3)},
        {"eps": " 8 / 255 "},
        {"steps": np.int64(3)},
        {"steps": torch.tensor(3)},
        {"batch_size": np.int16(2)},
        {"seed": np.uint8(0)},
        {"ids": np.arange(3)},
    ],
)
def test_what_means_the_same_gives_the_same(surrogate: linbp.Surrogate, changes: dict[str, Any]) -> None:
    assert torch.equal(craft(surrogate, **changes), craft(surrogate))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, torch.float16, torch.bfloat16])
def test_a_radius_of_whole_levels_is_whole_in_every_dtype(dtype: Any) -> None:
    for levels in range(1, 256):
        exact = levels / 255
        given = torch.tensor(exact, dtype=dtype) if isinstance(dtype, torch.dtype) else dtype(exact)
        assert parse_radius(given) == exact
    between = torch.tensor(8.5 / 255, dtype=torch.float32)
    assert parse_radius(between) == float(between)


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({"images": LEVELS.permute(0, 2, 3, 1)}, ImageError, ("(3, 12, 12, 3)", "permute(0, 3, 1, 2)")),
        ({"images": LEVELS[:, :1]}, ImageError, ("1 channels", "repeat(1, 3, 1, 1)")),
        ({"images": LEVELS.float()}, ImageError, ("Image 0", "images / 255")),
        ({"images": LEVELS[0]}, ImageError, ("images[None]",)),
        ({"labels": torch.eye(7)[LABELS]}, ImageError, ("argmax(1)",)),
        ({"labels": [0, 1, 7]}, ImageError, ("label of image 2 is 7",)),
        ({"targets": [1, 2]}, ImageError, ("Targets", "(2,)")),
        ({"ids": 5}, ImageError, ("ids is 5",)),
        ({"eps": True}, BudgetError, ("True",)),
        ({"eps": [[8 / 255] * 2] * 3}, BudgetError, ("eps",)),
        ({"eps": torch.full((3, 2), 0.1)}, BudgetError, ("eps",)),
        ({"steps": "3"}, RecipeError, ("'3'",)),
        ({"steps": 3.5}, RecipeError, ("3.5",)),
        ({"steps": True}, RecipeError, ("True",)),
        ({"batch_size": "2"}, RecipeError, ("'2'",)),
        ({"device": "gpu"}, ModelError, ("'gpu'", "cpu")),
        ({"device": torch.device("meta")}, LinbpError, ("meta",)),
    ],
)
def test_what_means_nothing_is_one_line(
    surrogate: linbp.Surrogate, changes: dict[str, Any], fault: type[LinbpError], words: tuple[str, ...]
) -> None:
    with pytest.raises(fault) as caught:
        craft(surrogate, **changes)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in caught.value.message


def test_a_fault_in_the_last_image_is_found_before_the_first_is_attacked(surrogate: linbp.Surrogate) -> None:
    images = (LEVELS / 255).clone()
    images[2, 0, 0, 0] = 0.5001
    told: list[int] = []
    with pytest.raises(ImageError, match=r"Image 2 .*8-bit"):
        craft(surrogate, images=images, batch_size=1, progress=lambda done, total: told.append(done))
    assert told == []
