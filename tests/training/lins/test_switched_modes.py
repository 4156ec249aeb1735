"""Dropouts, normalisations and random activations of a captured network train and evaluate like the modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from eager_networks import images_and_labels
from torch import nn

from linbp import Model
from linbp.errors import ImageError
from linbp.graph.capture.export import export
from linbp.graph.capture.functional import functional_graph
from linbp.training.fine_tuning.modes import switchable
from linbp.training.fine_tuning.tuning import order
from linbp.training.lins import Tuning, linearize

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.3),
    "dropout in place": lambda: nn.Dropout(0.3, inplace=True),
    "dropout of channels": lambda: nn.Dropout2d(0.5),
    "alpha dropout": lambda: nn.AlphaDropout(0.3),
    "alpha dropout of channels": lambda: nn.FeatureAlphaDropout(0.3),
    "rrelu": lambda: nn.RReLU(0.1, 0.4),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm without weights": lambda: nn.BatchNorm2d(4, affine=False, momentum=0.4, eps=1e-3),
    "batch norm with the mean of all batches": lambda: nn.BatchNorm2d(4, momentum=None),
    "batch norm without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "instance norm with statistics": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "instance norm": lambda: nn.InstanceNorm2d(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
}


def build(layer: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), LAYERS[layer](), nn.Conv2d(4, 2, 3)).double().eval()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_in_both_modes(layer: str) -> None:
    module = build(layer)
    network = functional_graph(export(build(layer), (3, 8, 8), "net"))
    for method in ("train", "eval"):
        vars(network).pop(method, None)
    switchable(network)
    draw = torch.Generator().manual_seed(2)
    batches = [torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=draw) for _ in range(3)]
    seen = []
    with torch.random.fork_rng():
        for training in (False, True, False):
            module.train(training)
            network.train(training)
            for batch in batches:
                torch.manual_seed(1)
                expected = module(batch)
                torch.manual_seed(1)
                assert torch.allclose(network(batch), expected, rtol=1e-12, atol=1e-12)
                seen.append(expected)
    for name, tensor in module.state_dict().items():
        assert torch.allclose(network.state_dict()[name], tensor, rtol=1e-12)
    # Training differs from evaluation, or this test would see nothing.
    alike = layer in ("batch norm without statistics", "instance norm", "group norm")
    assert torch.equal(seen[0], seen[3]) is alike


def test_norms_without_statistics_are_not_recalibrated_and_take_single_images() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    images, labels = images_and_labels(8)
    given = Model(nn.Sequential(*layers, nn.Linear(4, 4)), input_size=(3, 10, 10))
    found = linearize(given, 0, images, labels, tuning=Tuning(epochs=1, batch_size=1))
    assert set(found.accuracy) == {"before", "removed", "tuned"}
    layers[1] = nn.BatchNorm2d(4)
    layers[1].running_mean.fill_(0.1)
    given = Model(nn.Sequential(*layers, nn.Linear(4, 4)), input_size=(3, 10, 10))
    with pytest.raises(ImageError, match="two images"):
        linearize(given, 0, images, labels, tuning=Tuning(epochs=1, batch_size=1))


class Twice(nn.Module):
    """One batch norm that is called at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.activation, self.head = nn.ReLU(), nn.Linear(4, 4)
        self.norm.running_mean.fill_(0.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.activation(self.first(images))
        return self.head(self.norm(self.second(self.norm(value))).mean((2, 3)))


def test_recalibration_of_a_norm_that_is_called_twice() -> None:
    module = Twice().double().eval()
    images, labels = images_and_labels(9)
    tuning = Tuning(epochs=0, batch_size=3)
    found = linearize(
        Model(module, input_size=(3, 10, 10)), 0, images, labels, validation=(images, labels), tuning=tuning
    )
    module.activation = nn.Identity()
    module.norm.reset_running_stats()
    module.norm.momentum = None
    module.norm.train()
    rows = order([str(row) for row in range(9)], 0, 0)
    with torch.no_grad():
        for at in (0, 3, 6):
            module(images[rows[at : at + 3]].double() / 255)
    for name, tensor in module.state_dict().items():
        assert torch.allclose(found.model.module.state_dict()[name], tensor, rtol=1e-9)
    assert int(found.model.module.state_dict()["norm.num_batches_tracked"]) == 6


def test_recalibration_without_a_counter() -> None:
    norm = nn.BatchNorm2d(4)
    norm.num_batches_tracked = None
    norm.running_mean.fill_(0.1)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)]
    given = Model(nn.Sequential(*layers).double(), input_size=(3, 10, 10))
    images, labels = images_and_labels(9)
    tuning = Tuning(epochs=0, batch_size=3)
    found = linearize(given, 0, images, labels, validation=(images, labels), tuning=tuning)
    with torch.no_grad():
        values = layers[0](images.double() / 255)
    # The mean over batches of equal size, of variances that are divided by n - 1.
    rows = order([str(row) for row in range(9)], 0, 0)
    variances = torch.stack([values[rows[at : at + 3]].var((0, 2, 3)) for at in (0, 3, 6)]).mean(0)
    state = found.model.module.state_dict()
    assert torch.allclose(state["2.running_mean"], values.mean((0, 2, 3)), rtol=1e-9)
    assert torch.allclose(state["2.running_var"], variances, rtol=1e-9)


def test_norms_that_were_folded_away_keep_what_they_compute() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)]
        module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)).double().eval()
    images, labels = images_and_labels(6)
    tuning = Tuning(epochs=1, batch_size=6, learning_rate=0.1, weight_decay=0.0, warm_up=0)
    found = linearize(
        Model(module, input_size=(3, 10, 10)), 0, images, labels, validation=(images, labels), tuning=tuning
    )
    assert "recalibrated" not in found.accuracy
    (note,) = found.notes
    assert note.startswith("2 batch norms hold no statistics")
    module[2] = nn.Identity()
    nn.functional.cross_entropy(module(images.double() / 255), labels).backward()
    for name, parameter in module.named_parameters():
        expected = parameter.detach() - 0.1 * parameter.grad
        assert torch.allclose(found.model.module.state_dict()[name], expected, rtol=1e-9, atol=1e-12)
    for name, buffer in module.named_buffers():
        assert torch.equal(found.model.module.state_dict()[name], buffer)
