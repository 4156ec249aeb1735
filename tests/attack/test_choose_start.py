"""`start=auto`: chosen with proxies on a few images, once a job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from tiny_networks import CLASSES, SIZE, images_and_labels, tiny
from torch import nn
from torch.nn import functional

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import read_image, write_png
from linbp.errors import ImageError, RecipeError, RuleError, StoreError

EPS, STEPS = 8 / 255, 4


class Other(nn.Module):
    """A network of another kind."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 5, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(8 * 4 * 4, CLASSES)
            ).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def proxy(seed: int) -> linbp.Model:
    return linbp.Model(Other(seed), input_size=(3, SIZE, SIZE), name=f"proxy {seed}")


def test_the_choice_is_the_site_whose_adversarial_images_raise_the_proxies_losses_most() -> None:
    images, labels = images_and_labels(4)
    surrogate, proxies = linbp.Surrogate(tiny()), [proxy(0), proxy(1)]
    choice = linbp.choose_start(
        surrogate, images, labels, "linbp(start=auto, rebalance=none) + mi", proxies=proxies, eps=EPS, steps=STEPS
    )
    sites, rises = [site for site, _ in choice.scores], {}
    assert sites == [0, 1, 2, 3]  # of five; the last one is after a sum, where LinBP has nothing to do
    for site in sites:
        text = f"linbp(start={site}, rebalance=none) + mi"
        adv = linbp.craft(surrogate, images, labels, text, eps=EPS, steps=STEPS)
        total = 0.0
        for seed in (0, 1):
            with torch.no_grad():
                losses = [
                    functional.cross_entropy(Other(seed)(of), labels).item() for of in (images.double() / 255, adv)
                ]
            total += (losses[1] - losses[0]) / 2
        rises[site] = total
    assert dict(choice.scores) == pytest.approx({site: rises[site] for site in sites}, rel=1e-9)
    assert choice.start == max(sites, key=rises.__getitem__)
    assert str(choice.recipe) == f"linbp(start={choice.start}, rebalance=none) + mi"
    assert (choice.images, choice.proxies) == (4, ("proxy 0", "proxy 1"))


def test_with_targets_the_proxies_targets_decide() -> None:
    images, labels = images_and_labels(3)
    targets = (labels + 1) % CLASSES
    recipe = "linbp(start=auto, rebalance=none)"
    choice = linbp.choose_start(
        tiny(), images, labels, recipe, proxies=[proxy(0)], eps=EPS, steps=STEPS, targets=targets
    )
    site, score = choice.scores[0]
    adv = linbp.craft(
        tiny(), images, labels, f"linbp(start={site}, rebalance=none)", eps=EPS, steps=STEPS, targets=targets
    )
    with torch.no_grad():
        before, after = (functional.cross_entropy(Other(0)(of), targets).item() for of in (images.double() / 255, adv))
    assert score == pytest.approx(before - after, rel=1e-9)


def test_the_rule_may_wait_in_an_earlier_stage() -> None:
    images, labels = images_and_labels(2)
    recipe = "linbp(start=auto) + mi >> ila(at=blocks.0)"
    choice = linbp.choose_start(tiny(), images, labels, recipe, proxies=[proxy(0)], eps=EPS, steps=STEPS)
    assert str(choice.recipe).startswith(f"linbp(start={choice.start}) + mi >> ila(at=blocks.0")


@pytest.mark.parametrize(
    ("recipe", "proxies", "says"),
    [
        ("linbp(start=auto)", 0, "there is none"),
        ("linbp(start=0)", 1, "0 rules with start=auto"),
        ("linbp(start=auto) + bpa(start=auto)", 1, "2 rules with start=auto"),
    ],
)
def test_what_cannot_be_chosen(recipe: str, proxies: int, says: str) -> None:
    images, labels = images_and_labels(2)
    with pytest.raises(RecipeError, match=says):
        linbp.choose_start(tiny(), images, labels, recipe, proxies=[proxy(n) for n in range(proxies)], eps=EPS)


def test_craft_has_no_proxies() -> None:
    images, labels = images_and_labels(2)
    with pytest.raises(RuleError, match="cannot be chosen here"):
        linbp.craft(tiny(), images, labels, "linbp(start=auto)", eps=EPS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    images, labels = images_and_labels(10)
    lines = ["file,label"]
    for index, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        write_png(tmp_path / f"{index}.png", np.ascontiguousarray(image.transpose(1, 2, 0)))
        lines.append(f"{index}.png,{label}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "list.csv"


def test_a_job_chooses_once_and_keeps_the_choice(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def job(**options: object) -> dict[str, object]:
        report = craft_folder(
            tiny(),
            list_images(photos),
            tmp_path / "adv",
            "linbp(start=auto)",
            eps=EPS,
            steps=STEPS,
            **options,  # type: ignore[arg-type]
        )
        return report.manifest

    first = job(proxies=[proxy(0)], trust_labels=True)
    choice = first["choice"]
    assert isinstance(choice, dict)
    assert choice["images"] == 8
    assert f"linbp(start={choice['start']})" == choice["recipe"]
    assert str(first["notes"]).count(f"start=auto chose site {choice['start']} (") == 1
    assert json.loads((tmp_path / "adv" / "manifest.json").read_text())["choice"] == choice
    images, labels = images_and_labels(10)
    expected = linbp.craft(
        tiny(), images, labels, str(choice["recipe"]), eps=EPS, steps=STEPS, ids=[str(n) for n in range(10)]
    )
    for index in range(10):
        found = read_image(tmp_path / "adv" / f"{index}.png").transpose(2, 0, 1)
        assert np.array_equal(found, (expected[index] * 255).round().numpy())
    (tmp_path / "adv" / "3.png").unlink()
    monkeypatch.setattr("linbp.attack.job.craft_folder.choose_for_job", None)
    assert job(proxies=[proxy(0)])["choice"] == choice
    with pytest.raises(StoreError, match="proxies"):
        job(proxies=[proxy(1)])


def test_jobs_that_cannot_choose(photos: Path, tmp_path: Path) -> None:
    images = list_images(photos)
    cases = (
        (tiny(), "linbp(start=auto)", [], "there is none"),
        (tiny(), "linbp(start=0)", [proxy(0)], "nothing that a proxy would choose"),
        (linbp.Ensemble([tiny(), proxy(0)]), "linbp(start=auto)", [proxy(1)], "several"),
    )
    for model, recipe, proxies, says in cases:
        with pytest.raises(RecipeError, match=says):
            craft_folder(model, images, tmp_path / "none", recipe, eps=EPS, steps=STEPS, proxies=proxies)
        assert not (tmp_path / "none").exists()


def test_labels_are_checked_before_proxies_are_asked(photos: Path, tmp_path: Path) -> None:
    images, labels = images_and_labels(2)
    for given in ({"labels": [0, CLASSES]}, {"labels": labels, "targets": [0, CLASSES]}):
        with pytest.raises(ImageError, match=f" {CLASSES}.* 0 to {CLASSES - 1}"):
            linbp.choose_start(
                tiny(),
                images,
                recipe="linbp(start=auto)",
                proxies=[proxy(0)],
                eps=EPS,
                **given,  # type: ignore[arg-type]
            )
    lines = photos.read_text().splitlines()
    photos.write_text("\n".join([*lines[:-1], f"9.png,{CLASSES}"]) + "\n")
    with pytest.raises(ImageError, match=f"label.*{CLASSES}"):
        craft_folder(
            tiny(), list_images(photos), tmp_path / "no", "linbp(start=auto)", eps=EPS, steps=STEPS, proxies=[proxy(0)]
        )


def test_a_refused_candidate_does_not_end_the_choice() -> None:
    images, labels = images_and_labels(2)
    surrogate, recipe = linbp.Surrogate(tiny()), "linbp(start={}) + tap(at=blocks.0.conv1)"
    fits = []
    for site in range(len(surrogate.sites)):
        try:
            linbp.craft(surrogate, images, labels, recipe.format(site), eps=EPS, steps=2)
            fits.append(site)
        except (RecipeError, RuleError):
            continue
    assert fits
    assert fits[0] > 0, "the first candidate must be one that is refused"
    choice = linbp.choose_start(
        surrogate, images, labels, recipe.format("auto"), proxies=[proxy(0)], eps=EPS, steps=STEPS
    )
    assert [site for site, _ in choice.scores] == fits


def test_a_job_chooses_in_l2_with_steps_that_reach_the_radius(photos: Path, tmp_path: Path) -> None:
    report = craft_folder(
        tiny(),
        list_images(photos)[:3],
        tmp_path / "adv",
        "linbp(start=auto)",
        eps=1.0,
        steps=40,
        norm="l2",
        proxies=[proxy(0)],
        trust_labels=True,
    )
    images, labels = images_and_labels(10)
    choice = linbp.choose_start(
        tiny(),
        images[:3],
        labels[:3],
        "linbp(start=auto)",
        proxies=[proxy(0)],
        eps=1.0,
        steps=40,
        norm="l2",
        ids=["0", "1", "2"],
    )
    assert report.manifest["choice"]["scores"] == pytest.approx({str(site): rise for site, rise in choice.scores})


def test_a_stage_of_its_own_steps_may_wait_in_l2(photos: Path, tmp_path: Path) -> None:
    recipe = "linbp(start=auto) >> ila(at=blocks.0, steps=20)"
    options = {"eps": 1.0, "steps": 20, "norm": "l2", "proxies": [proxy(0)], "trust_labels": True}
    report = craft_folder(tiny(), list_images(photos)[:2], tmp_path / "adv", recipe, **options)  # type: ignore[arg-type]
    assert report.made == 2
