"""Substitutes: a plain loop's weights, no question asked twice, and an attack on what is left."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eager_networks import CLASSES, eager, images_and_labels, model
from scipy.stats import norm
from torch import nn
from torch.nn import functional

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.errors import ImageError, ModelError, RecipeError, StoreError
from linbp.models.new_head import with_new_head
from linbp.randomness import generator
from linbp.training.substitute import Tuning, make_substitute

COUNT, SHARE, OWN = 20, 0.2, 6
SETTINGS = Tuning(epochs=2, batch_size=4, learning_rate=0.1, warm_up=0, weight_decay=0.01, recalibrate=0)


class Killed(BaseException):
    """What no code catches."""


class Victim:
    """Six classes, by brightness of each sixth of the rows; it counts what it is asked."""

    name = "victim"

    def __init__(self, dies_at: int | None = None, probabilities: bool = False) -> None:
        self.asked, self.dies_at, self.probabilities = 0, dies_at, probabilities

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        if self.dies_at is not None and self.asked >= self.dies_at:
            raise Killed
        self.asked += len(images)
        scores = 40 * functional.adaptive_avg_pool2d(images.double().mean(1, keepdim=True), (OWN, 1)).flatten(1)
        return scores.softmax(1) if self.probabilities else scores

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, image in enumerate(images_and_labels(COUNT)[0].numpy()):
        write_png(folder / f"i{number}.png", np.ascontiguousarray(image.transpose(1, 2, 0)))
    return folder


def job(photos: Path, out: Path, victim: Any = None, **options: Any) -> Any:
    settings = {"tuning": SETTINGS, "validation": SHARE, "batch_size": 4, **options}
    return make_substitute(victim or Victim(), model(torch.float64), list_images(photos), out, **settings)


def by_hand(photos: Path, soft: bool) -> tuple[nn.Module, list[float]]:
    """The plain loop on the victim's answers; how often both agree on the held-out images: right, n."""
    ids = [record.image_id for record in list_images(photos)]
    numbers = [int(name[1:]) for name in ids]
    images = images_and_labels(COUNT)[0][numbers].double() / 255
    scores = Victim().logits(images)
    inputs, labels = (images - 0.4) / 0.3, scores.argmax(1)
    draws = [generator(0, name, 0, "linearize.validation").random() for name in ids]
    held = sorted(range(COUNT), key=lambda row: draws[row])[: round(SHARE * COUNT)]
    rest = [row for row in range(COUNT) if row not in held]
    module = eager()
    torch.manual_seed(0)
    module.head = nn.Linear(12, OWN).double()
    # the new layer is drawn in float32, as torch does
    torch.manual_seed(0)
    module.head.load_state_dict(nn.Linear(12, OWN).state_dict())
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    step, steps = 0, 2 * len(rest) // 4
    for epoch in range(2):
        order = sorted(rest, key=lambda row: generator(0, ids[row], epoch, "linearize.order").random())
        for start in range(0, len(order), 4):
            rows = order[start : start + 4]
            optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2
            torch.manual_seed(int(generator(0, "", step, "linearize.network").integers(2**63)))
            optimizer.zero_grad()
            logits = module(inputs[rows])
            if soft:  # the cross-entropy between the victim's probabilities and the network's
                loss = -(scores[rows].softmax(1) * logits.log_softmax(1)).sum(1).mean()
            else:
                loss = functional.cross_entropy(logits, labels[rows])
            loss.backward()
            optimizer.step()
            step += 1
    module.eval()
    return module, [int((module(inputs[held]).argmax(1) == labels[held]).sum()), len(held)]


@pytest.mark.parametrize("soft", [False, True])
def test_the_weights_are_those_of_a_plain_loop_on_the_answers(photos: Path, tmp_path: Path, soft: bool) -> None:
    report = job(photos, tmp_path, Victim(probabilities=soft), soft_labels=soft)
    with torch.random.fork_rng():
        expected, (right, count) = by_hand(photos, soft)
    found = linbp.load_model(tmp_path)
    images = images_and_labels(6, seed=4)[0].double() / 255
    bound = 1e-6 if soft else 1e-9  # the victim gets images of float32, so that its probabilities are a little off
    with torch.no_grad():
        assert torch.allclose(found.logits(images), expected((images - 0.4) / 0.3), rtol=10 * bound, atol=bound)
    agreement = report.agreement
    assert (agreement["right"], agreement["n"]) == (right, count)
    z = float(norm.ppf(0.975))
    middle = (right + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * np.sqrt(right * (count - right) / count + z * z / 4)
    assert np.allclose([agreement["low"], agreement["high"]], [middle - half, middle + half])
    assert report.manifest["queries"] == COUNT
    assert sum(report.manifest["answers"].values()) == COUNT


def test_killed_while_asking_or_training_it_asks_nothing_twice_and_ends_the_same(photos: Path, tmp_path: Path) -> None:
    expected = job(photos, tmp_path / "whole").manifest["result"]
    out = tmp_path / "out"
    first, second = Victim(dies_at=8), Victim()
    with pytest.raises(Killed):
        job(photos, out, first)
    assert first.asked == 8

    def tell(stage: str, done: int, total: int, words: str) -> None:
        if (stage, done) == ("training the substitute", 5):
            raise Killed

    with pytest.raises(Killed):
        job(photos, out, second, progress=tell, checkpoint_every=3)
    assert second.asked == COUNT - 8
    with pytest.raises(ModelError, match="not finished"):
        linbp.load_model(out)
    third = Victim()
    report = job(photos, out, third, checkpoint_every=3)
    assert third.asked == 0
    assert (report.resumed_at, report.manifest["result"]) == (4, expected)
    names = [".lock", "answers.jsonl", "manifest.json", "model.json", "model.pt2"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert job(photos, out, third).already_finished
    with pytest.raises(StoreError, match="learning_rate"):
        job(photos, out, tuning=Tuning(**{**vars(SETTINGS), "learning_rate": 0.2}))


def test_fewer_queries_are_some_of_the_same_and_another_victim_is_asked_anew(photos: Path, tmp_path: Path) -> None:
    asked = []
    for queries in (6, 12):
        victim = Victim()
        report = job(photos, tmp_path / str(queries), victim, queries=queries)
        assert victim.asked == queries == report.manifest["queries"]
        lines = (tmp_path / str(queries) / "answers.jsonl").read_text().splitlines()
        asked.append({json.loads(line)["image_id"] for line in lines})
    assert asked[0] < asked[1]
    other = Victim()
    other.name = "another"
    with pytest.raises(StoreError, match="victim"):
        job(photos, tmp_path / "6", other, queries=6)
    assert other.asked == 6


def test_an_attack_takes_it_and_records_what_it_is(photos: Path, tmp_path: Path) -> None:
    report = job(photos, tmp_path)
    found = linbp.load_model(tmp_path)
    images = images_and_labels(4, seed=4)[0]
    labels = Victim().logits(images / 255).argmax(1)
    adv = linbp.craft(found, images, labels, "mi", eps=16 / 255, steps=3)
    assert not torch.equal(adv, images / 255)
    substitute = found.identity()["substitute"]
    assert substitute == {"victim": "victim", "queries": COUNT, "agreement": report.agreement}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"queries": 1}, ImageError, "too few"),
        ({"validation": 1.0}, ImageError, "held out"),
        ({"tuning": Tuning(epochs=0)}, RecipeError, "learn nothing"),
        ({"checkpoint_every": 0}, StoreError, "0 steps apart"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_question(
    photos: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    victim = Victim()
    with pytest.raises(error, match=words):
        job(photos, tmp_path / "out", victim, **options)
    assert victim.asked == 0


def test_answers_that_teach_nothing_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="class 1 for each of 20 images"):
        job(photos, tmp_path / "one", lambda images: torch.tensor([[0.0, 1.0]] * len(images)))
    labels_only = Victim()
    labels_only.answers = "labels"  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="score for each class"):
        job(photos, tmp_path / "soft", labels_only, soft_labels=True)
    assert job(photos, tmp_path / "hard", labels_only).manifest["queries"] == COUNT


def test_classes_that_no_answer_names_are_noted(photos: Path, tmp_path: Path) -> None:
    two = Victim()
    notes = job(
        photos, tmp_path, lambda images: two.logits(images)[:, :2].repeat(1, 2) * torch.tensor([1, 1, 0.5, 0.5])
    )
    assert any("2 of its 4 classes (2, 3)" in note for note in notes.manifest["notes"])


def _squeeze() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _resnet() -> nn.Module:
    import timm

    return timm.create_model("test_resnet", num_classes=5)


@pytest.mark.parametrize("build", [_squeeze, _resnet, lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 5))])
def test_a_new_head_changes_the_last_layer_and_nothing_else(build: Callable[[], nn.Module]) -> None:
    module = build().eval()
    before = copy.deepcopy(module.state_dict())
    old = linbp.Model(module, input_size=32, name="net")
    new = with_new_head(old, 7, tuple("abcdefg"))
    images = torch.rand(2, 3, 32, 32)
    assert (old.logits(images).shape, new.logits(images).shape) == ((2, 5), (2, 7))
    assert new.class_names == tuple("abcdefg")
    after = new.module.state_dict()
    changed = {name for name in after if after[name].shape != before[name].shape}
    assert 0 < len(changed) <= 2
    assert all(torch.equal(after[name], before[name]) for name in after if name not in changed)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    again = with_new_head(old, 7).logits(images)
    assert torch.equal(new.logits(images), again)
    assert with_new_head(old, 5) is old


def test_networks_without_a_last_layer_are_refused(tmp_path: Path) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(3072, 9)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.body(images.flatten(1))[:, :CLASSES]

    with pytest.raises(ModelError, match="last layer of cut is not found"):
        with_new_head(linbp.Model(Cut(), input_size=32, name="cut"), 7)
    net = model(torch.float32)
    program = torch.export.export(net.module, (torch.rand(2, *net.input_size),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ModelError, match="exported program of 4 classes"):
        with_new_head(linbp.load_model(tmp_path / "net.pt2"), 7)


def test_few_answers_are_gone_through_until_there_are_enough_steps(photos: Path, tmp_path: Path) -> None:
    steps = {}
    for least in (0, 1, 7, 8):
        report = job(photos, tmp_path / str(least), tuning=SETTINGS, least_steps=least)
        steps[least] = report.manifest["progress"]["steps"]
    a_pass = steps[0] // SETTINGS.epochs
    assert steps[1] == steps[0] == a_pass * SETTINGS.epochs
    for least in (7, 8):
        assert steps[least] >= max(least, steps[0])
        assert steps[least] - a_pass < least or steps[least] == steps[0]


def test_the_default_makes_a_thousand_steps_of_few_answers(photos: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def tell(stage: str, done: int, total: int, words: str) -> None:
        if stage == "training the substitute" and total:
            raise Enough(total)

    for tuning, least in ((None, None), (SETTINGS, 1000)):
        with pytest.raises(Enough) as caught:
            job(photos, tmp_path / str(least), tuning=tuning, least_steps=least, progress=tell)
        assert 1000 <= caught.value.args[0] < 1100
