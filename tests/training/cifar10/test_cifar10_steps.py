"""Settings, augmentation and steps, against slow implementations that share no code."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import linbp.zoo
from linbp.data.cifar10 import Cifar10
from linbp.errors import ModelError, RecipeError
from linbp.training.cifar10.augment import Epoch
from linbp.training.cifar10.trainer import ZooTrainer, count_right, normalised
from linbp.training.loop import Loop
from linbp.training.mixed_precision import suit_bfloat16
from linbp.zoo import PRESETS, Training, preset
from linbp.zoo.architectures import ARCHITECTURES, build

COUNT, SIZE = 70, 16


def settings(**changes: Any) -> Training:
    return Training(**{"architecture": "plain", "width": 0.1, "batch_size": SIZE, **changes})


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(COUNT) % 10


def seen(images: torch.Tensor, labels: torch.Tensor, chosen: Training, number: int) -> dict[int, np.ndarray]:
    """Each image of an epoch as it was given to the network, by its row: rows stand in the labels."""
    epoch = Epoch(images, torch.arange(COUNT), chosen, number)
    found = {}
    for batch in range(len(epoch)):
        pixels, rows = epoch.batch(batch)
        assert pixels.shape == (SIZE, 3, 32, 32)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        for image, row in zip(pixels, rows.tolist(), strict=True):
            assert row not in found
            found[row] = image.permute(1, 2, 0).numpy()
    return found


def test_an_epoch_shows_each_image_once_in_a_new_order(images: torch.Tensor) -> None:
    orders = []
    for number in range(2):
        epoch = Epoch(images, torch.arange(COUNT), settings(), number)
        assert len(epoch) == COUNT // SIZE
        orders.append(torch.cat([epoch.batch(batch)[1] for batch in range(len(epoch))]).tolist())
    assert len(set(orders[0])) == len(orders[0]) == COUNT // SIZE * SIZE
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_the_last_epochs_are_not_shifted(images: torch.Tensor, labels: torch.Tensor) -> None:
    chosen = settings(epochs=4, unshifted=0.5)
    for number in range(4):
        shown = seen(images, labels, chosen, number)
        kept = [
            any((images[row].numpy()[:, ::step] == pixels).all() for step in (1, -1)) for row, pixels in shown.items()
        ]
        assert all(kept) == (number >= 2)
    assert [settings(epochs=10, unshifted=share).unshifted_epochs for share in (0, 0.04, 0.05, 0.25, 1)] == [
        0,
        0,
        1,
        3,
        10,
    ]


def test_images_are_cut_from_mirrored_edges(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Each image is one of the 81 crops of numpy's padded image, mirrored or not; all kinds come up."""
    crop, shifts, mirrors = 4, set(), set()
    for row, shown in seen(images, labels, settings(crop=crop), 0).items():
        padded = np.pad(images[row].numpy(), ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
        (match,) = [
            (down, right, mirrored)
            for down in range(2 * crop + 1)
            for right in range(2 * crop + 1)
            for mirrored in (False, True)
            if (_cut(padded, down, right)[:, :: -1 if mirrored else 1] == shown).all()
        ]
        shifts |= {("down", match[0]), ("right", match[1])}
        mirrors.add(match[2])
    assert len(shifts) == 2 * (2 * crop + 1)
    assert mirrors == {False, True}


def _cut(padded: np.ndarray, down: int, right: int) -> np.ndarray:
    return padded[down : down + 32, right : right + 32]


def test_mirroring_alternates(images: torch.Tensor, labels: torch.Tensor) -> None:
    epochs = [seen(images, labels, settings(crop=0), number) for number in range(4)]
    assert len(set().union(*epochs)) == COUNT
    starts = set()
    for row, image in enumerate(images.numpy()):
        first = set()
        for number, shown in enumerate(epochs):
            if row in shown:
                mirrored = bool((shown[row] == image[:, ::-1]).all())
                assert mirrored != bool((shown[row] == image).all())
                first.add(mirrored ^ bool(number % 2))
        assert len(first) == 1
        starts |= first
    assert starts == {False, True}


def test_epochs_depend_on_seed_and_number_only(images: torch.Tensor, labels: torch.Tensor) -> None:
    first = seen(images, labels, settings(), 3)
    torch.manual_seed(5)
    np.random.default_rng().random()
    again, other = seen(images, labels, settings(), 3), seen(images, labels, settings(seed=1), 3)
    assert first.keys() == again.keys()
    assert all((first[row] == again[row]).all() for row in first)
    assert list(first) != list(other)


def test_rectangles_of_cutmix(images: torch.Tensor, labels: torch.Tensor) -> None:
    many = images.repeat(30, 1, 1, 1)
    epoch = Epoch(many, labels.repeat(30), settings(cutmix=0.5, batch_size=2), 0)
    boxes = [epoch.box(number) for number in range(len(epoch))]
    there = [box for box in boxes if box is not None]
    assert len(there) / len(boxes) == pytest.approx(0.5, abs=0.06)
    for box in there:
        mask = np.zeros((32, 32))
        mask[box.top : box.bottom, box.left : box.right] = 1
        assert box.share == pytest.approx(mask.mean())
        assert 0 <= box.top <= box.bottom <= 32
        assert 0 <= box.left <= box.right <= 32
    # Uncut the mean share is a half; what sticks out takes a part of it.
    assert 0.2 < np.mean([box.share for box in there]) < 0.5
    assert all(Epoch(many, labels, settings(batch_size=2), 0).box(number) is None for number in range(20))


def test_the_rate_follows_the_batch_size() -> None:
    assert settings(learning_rate=0.2, batch_size=256).highest_rate == pytest.approx(0.4)
    assert settings(learning_rate=0.2, batch_size=512, optimizer="adamw").highest_rate == pytest.approx(0.4)


class Stop(Exception):
    """Ends a loop."""


def loop_of(chosen: Training, images: torch.Tensor, labels: torch.Tensor, on_step: Callable[[Loop], None]) -> Loop:
    """The loop of a training on some images, two of which it is tested on."""
    trainer = ZooTrainer(chosen, Cifar10(images, labels, images[:2], labels[:2]), torch.device("cpu"))
    return Loop(
        trainer, epochs=chosen.epochs, steps_per_epoch=trainer.steps_per_epoch, stage="plain", on_step=[on_step]
    )


class Reference:
    """The same training in float64 and one parameter at a time, from the formulas."""

    def __init__(self, network: nn.Module, chosen: Training, steps: int, per_epoch: int) -> None:
        self.network, self.chosen, self.steps, self.per_epoch = network.double().train(), chosen, steps, per_epoch
        self.memory = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
        self.square = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
        self.average: dict[str, torch.Tensor] = {}

    def loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        log = self.network(pixels).log_softmax(1)
        truth = torch.nn.functional.one_hot(labels, 10).double()
        smooth = (1 - self.chosen.label_smoothing) * truth + self.chosen.label_smoothing / 10
        return -(smooth * log).sum(1).mean()

    def step(self, loss: torch.Tensor, number: int) -> None:
        # Up along a line in the first half of the steps, down along another one.
        half = self.steps // 2
        share = (number + 1) / half if number < half else (self.steps - number) / half
        rate = self.chosen.learning_rate * share * (SIZE / 128) ** (1.0 if self.chosen.optimizer == "sgd" else 0.5)
        names, values = zip(*self.network.named_parameters(), strict=True)
        for name, value, slope in zip(names, values, torch.autograd.grad(loss, values), strict=True):
            decay = 1 - rate * self.chosen.weight_decay if value.ndim > 1 else 1.0
            with torch.no_grad():
                value.copy_(value * decay - rate * self.direction(name, slope, number))
        forget = max(1 / (self.chosen.average * self.per_epoch), 1 - (1 + number) / (10 + number))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name] = (1 - forget) * self.average[name] + forget * value

    def direction(self, name: str, slope: torch.Tensor, number: int) -> torch.Tensor:
        if self.chosen.optimizer == "sgd":
            self.memory[name] = 0.9 * self.memory[name] + slope
            return slope + 0.9 * self.memory[name]
        self.memory[name] = 0.9 * self.memory[name] + 0.1 * slope
        self.square[name] = 0.999 * self.square[name] + 0.001 * slope**2
        mean, square = self.memory[name] / (1 - 0.9 ** (number + 1)), self.square[name] / (1 - 0.999 ** (number + 1))
        return mean / (square.sqrt() + 1e-8)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.02, "weight_decay": 0.5},
        {"learning_rate": 0.02, "weight_decay": 0.5, "label_smoothing": 0.0, "average": 0.5},
        {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 5.0, "architecture": "cct2_3x2", "width": 0.5},
        {"cutmix": 1.0, "learning_rate": 0.02},
    ],
)
def test_steps_follow_their_formulas(images: torch.Tensor, labels: torch.Tensor, changes: dict[str, Any]) -> None:
    chosen = settings(warm_up=0.5, epochs=2, **changes)

    def stop_after_six(loop: Loop) -> None:
        if loop.step == 6:
            raise Stop

    loop = loop_of(chosen, images, labels, stop_after_six)
    trainer = loop.trainer
    assert isinstance(trainer, ZooTrainer)
    reference = Reference(build(chosen.architecture, chosen.width), chosen, 8, 4)
    reference.network.load_state_dict(trainer.network.state_dict())
    start = {name: value.clone() for name, value in reference.network.state_dict().items()}
    reference.average = dict(start)
    total = 0.0
    for number in range(6):
        epoch, number_in_epoch = Epoch(images, labels, chosen, number // 4), number % 4
        pixels, classes = epoch.batch(number_in_epoch)
        pixels = (pixels.double() / 255 - torch.tensor([0.4914, 0.4822, 0.4465]).double().view(3, 1, 1)) / torch.tensor(
            [0.2470, 0.2435, 0.2616]
        ).double().view(3, 1, 1)
        box = epoch.box(number_in_epoch)
        if box is None:
            loss = reference.loss(pixels, classes)
        else:
            others, mixed = [*range(-1, SIZE - 1)], pixels.clone()
            for row, other in enumerate(others):
                for down in range(box.top, box.bottom):
                    for right in range(box.left, box.right):
                        mixed[row, :, down, right] = pixels[other, :, down, right]
            share = (box.bottom - box.top) * (box.right - box.left) / 1024
            log = reference.network(mixed).log_softmax(1)
            truth = torch.eye(10, dtype=torch.float64)
            target = (1 - share) * truth[classes] + share * truth[classes[others]]
            target = (1 - chosen.label_smoothing) * target + chosen.label_smoothing / 10
            loss = -(target * log).sum(1).mean()
        total = (0.0 if number_in_epoch == 0 else total) + loss.item()
        reference.step(loss, number)
    with pytest.raises(Stop):
        loop.run()
    assert trainer.sums()[0] == pytest.approx(total, rel=1e-3)  # of the second epoch
    # What the steps changed, all of it: float32 is not exact, but another formula would be far off.
    end = {name: value for name, value in reference.network.state_dict().items() if value.is_floating_point()}
    for own, wanted in ((trainer.network.state_dict(), end), (trainer.average.state_dict(), reference.average)):
        change = torch.cat([(wanted[name] - start[name]).flatten() for name in end])
        error = torch.cat([(own[name].double() - wanted[name]).flatten() for name in end])
        assert float(error.norm() / change.norm()) < 2e-3


def test_weights_start_from_the_seed_and_leave_the_generator_alone() -> None:
    state = torch.get_rng_state()
    data = Cifar10(*(torch.zeros(SIZE, 32, 32, 3, dtype=torch.uint8), torch.zeros(SIZE, dtype=torch.int64)) * 2)
    first, again, other = (
        ZooTrainer(settings(seed=seed), data, torch.device("cpu")).network.state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
    assert torch.equal(torch.get_rng_state(), state)


def test_right_images_are_counted(images: torch.Tensor, labels: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = build("plain", 0.1).eval()
    with torch.no_grad():
        pixels = torch.stack([normalised(image.permute(2, 0, 1)[None])[0] for image in images])
        predicted = [int(network(one[None]).argmax()) for one in pixels]
    repeated = images.repeat(20, 1, 1, 1)  # more than one batch
    assert count_right(network, images, torch.tensor(predicted)) == COUNT
    wrong = torch.tensor(predicted).repeat(20)
    wrong[:13] = (wrong[:13] + 1) % 10
    assert count_right(network, repeated, wrong) == 20 * COUNT - 13


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(images: torch.Tensor, labels: torch.Tensor) -> None:
    trained = {}
    for precision, kind in (("full", torch.float32), ("mixed", torch.bfloat16)):

        def stop(loop: Loop) -> None:
            raise Stop

        loop = loop_of(settings(precision=precision), images, labels, stop)
        trainer, kinds = loop.trainer, set()
        assert isinstance(trainer, ZooTrainer)
        trainer.network.get_submodule("features.0").register_forward_hook(lambda _m, _i, out, k=kinds: k.add(out.dtype))
        with pytest.raises(Stop):
            loop.run()
        assert kinds == {kind}
        trained[precision] = trainer.network.state_dict()["features.0.weight"]
        assert trained[precision].dtype == torch.float32
    assert not torch.equal(trained["full"], trained["mixed"])
    torch.testing.assert_close(trained["full"], trained["mixed"], rtol=0.05, atol=0.01)


def test_strided_depthwise_convolutions_stay_in_float32() -> None:
    plain, changed = (build("mobilenet_v2", 0.125).eval() for _ in range(2))
    changed.load_state_dict(plain.state_dict())
    suit_bfloat16(changed, torch.device("cpu"))
    assert changed.state_dict().keys() == plain.state_dict().keys()
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(changed(pixels), plain(pixels))

    strided = [module for module in changed.modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)]
    assert len(strided) == 3
    module = strided[0]
    inputs = torch.randn(2, module.in_channels, 8, 8).bfloat16()
    with torch.autocast("cpu", enabled=False):
        exact = nn.functional.conv2d(inputs.float(), module.weight, None, 2, 1, 1, module.groups)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(inputs), exact.bfloat16())
        coarse = nn.functional.conv2d(inputs, module.weight, None, 2, 1, 1, module.groups)
    assert not torch.equal(coarse, exact.bfloat16())


def test_attention_is_computed_one_by_one_in_bfloat16_only() -> None:
    plain, changed = (build("vit_c", 0.5).eval() for _ in range(2))
    changed.load_state_dict(plain.state_dict())
    suit_bfloat16(changed, torch.device("cpu"))
    attentions = [module for module in changed.modules() if hasattr(module, "fused_attn")]
    assert len(attentions) == 4
    assert not any(module.fused_attn for module in attentions)
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(changed(pixels), plain(pixels), rtol=1e-4, atol=1e-5)
    suit_bfloat16(plain, torch.device("meta"))
    assert all(module.fused_attn for module in plain.modules() if hasattr(module, "fused_attn"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "Epochs are 0"),
        ({"epochs": 2.5}, "Epochs are 2.5"),
        ({"batch_size": 1}, "The batch size is 1"),
        ({"learning_rate": 0.0}, "The learning rate is 0"),
        ({"learning_rate": math.nan}, "The learning rate is nan"),
        ({"width": 0}, "The width is 0"),
        ({"warm_up": 1.0}, "The warm up is 1"),
        ({"weight_decay": -1}, "The weight decay is -1"),
        ({"label_smoothing": 1}, "The label smoothing is 1"),
        ({"crop": 32}, "The crop is 32"),
        ({"cutmix": 1.5}, "The cutmix is 1.5"),
        ({"unshifted": -0.1}, "The unshifted share is -0.1"),
        ({"seed": 0.5}, "The seed is 0.5"),
        ({"optimizer": "adam"}, "no optimizer 'adam'"),
        ({"precision": "float16"}, "no precision 'float16'"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        settings(**changes)
    assert caught.value.hint


def test_presets_name_architectures_and_fill_in_settings() -> None:
    for kind, networks in PRESETS.items():
        assert set(networks) <= set(ARCHITECTURES)
        for name in networks:
            assert preset(kind, name).architecture == name
    assert preset("gpu", "vgg19_bn").width == 1
    changed = preset("cpu", "vgg19_bn", epochs=3, seed=7, width=None)
    assert (changed.epochs, changed.seed) == (3, 7)
    assert changed.width == preset("cpu", "vgg19_bn").width < 1
    with pytest.raises(RecipeError, match=r"wrn28_10.*cpu"):
        preset("cpu", "wrn28_10", width=0.1)
    assert preset("cpu", "wrn28_10", width=0.1, epochs=2).batch_size == preset("cpu", "vgg19_bn").batch_size
    with pytest.raises(RecipeError, match="no preset 'tpu'"):
        preset("tpu", "vgg19_bn")
    with pytest.raises(ModelError, match="no CIFAR-10 architecture"):
        preset("cpu", "lenet")


def test_the_networks_that_ship_are_small() -> None:
    """All of them together: 12 MB. Those of the preset alone: 2 MB, or 4 for the paper's surrogate."""
    folder = Path(linbp.zoo.__file__).parent / "weights" / "cifar10"
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= 12_000_000
    for name, found in PRESETS["cpu"].items():
        with torch.device("meta"):
            values = build(name, found["width"]).state_dict().values()
        size = sum(2 * value.numel() + 150 for value in values if value.is_floating_point())
        assert size <= (4_000_000 if name == "vgg19_bn" else 2_000_000), name
