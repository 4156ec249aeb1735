"""A captured network in training: its steps, its batch norms' statistics, and all of its state."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from linbp.errors import ModelError
from linbp.graph import Structure
from linbp.models import Model
from linbp.randomness import generator, seeded
from linbp.training.fine_tuning.gradient_penalty import GradientPenalty
from linbp.training.fine_tuning.modes import Normalisation, behind, normalisations, switchable
from linbp.training.fine_tuning.samples import Samples, augmented, counted, in_batches
from linbp.training.fine_tuning.trained_part import choose_trained
from linbp.training.fine_tuning.tuning import Tuning, batches, order
from linbp.training.loop import Loop, TrainingProgress
from linbp.training.optimizer import Optimizer
from linbp.training.schedule import Fall, learning_rate

__all__ = ["FineTuning", "diverged"]

NO_CLASS = -1


@dataclasses.dataclass
class _Sums:
    """What the steps of the running epoch have added up."""

    loss: float = 0.0
    right: int = 0
    images: int = 0


class FineTuning:
    """A network, perhaps with some activations removed, and its optimizer.

    Args:
        model: of the network's preprocessing; its own tensors are not touched.
        network: the functional graph to train, on its device; it is changed.
        structure: of the model, for `train_from`.
        removed: names of the removed activations' nodes.
        tuning: the settings.
        mixed: whether training computes in bfloat16 where that is safe.
        training, validation: images to train on, and those to measure on at the end of each epoch.
        tell: told about the measuring.
        fall: of the learning rate, behind the warm-up.
        penalty: on the length of the gradient.

    Attributes:
        notes: what a user should know, in words.

    Raises:
        RuleError: `train_from` leaves nothing to train.
    """

    def __init__(
        self,
        model: Model,
        network: fx.GraphModule,
        structure: Structure,
        removed: Collection[str],
        tuning: Tuning,
        mixed: bool,
        training: Samples,
        validation: Samples,
        tell: TrainingProgress,
        fall: Fall = "cosine",
        penalty: GradientPenalty | None = None,
    ) -> None:
        self.fall: Fall = fall
        self.penalty = penalty
        self.model, self.tuning, self.mixed, self.tell = model, tuning, mixed, tell
        self.training, self.validation = training, validation
        untrained = str(model.source.get("weights", "")).startswith("random")
        parameters, nodes, self.notes = choose_trained(network, structure, tuning.train_from, untrained=untrained)
        moved = {f"linbp_{node.name}" for node in behind(one for one in network.graph.nodes if one.name in removed)}
        self.network, self.device = switchable(network, nodes), parameters[0].device
        children = self.network.named_children()
        self._moved = [module for name, module in children if isinstance(module, Normalisation) and name in moved]
        decay = tuning.weight_decay or 0.0
        self.optimizer = Optimizer(tuning.optimizer, parameters, weight_decay=decay, clip=tuning.clip)
        self._sums = _Sums()

    @property
    def recalibrates(self) -> bool:
        """Whether there are batch norms whose input the removal has changed."""
        return bool(self._moved)

    def cut(self, epoch: int) -> list[list[int]]:
        """The rows of each batch of an epoch."""
        return batches(order(self.training.ids, self.tuning.seed, epoch), self.tuning.batch_size)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Augmented images (N, C, H, W), and classes (N,) or probabilities (N, classes) to train on."""
        cut = self.cut(epoch)[first:]
        coming = in_batches(self.training, cut, self.model, self.device, goals=True)
        for rows, (images, goals) in zip(cut, coming, strict=True):
            ids = [self.training.ids[row] for row in rows]
            yield augmented(images, ids, self.tuning.augment, self.tuning.seed, epoch), goals

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], loop: Loop) -> None:
        """One step on one batch.

        What the network itself draws (dropout) is keyed by the seed and the step; the random state outside is as
        before.

        Raises:
            ModelError: the loss is not finite.
        """
        (images, goals), tuning = batch, self.tuning
        assert tuning.learning_rate is not None
        self.network.train()
        loss, logits = self._loss(images, goals, loop.step)
        value = loss.item()
        if not math.isfinite(value):
            raise diverged(f"The loss is {value} at step {loop.step + 1} of {loop.steps}")
        rate = learning_rate(tuning.learning_rate, loop.step, loop.steps, warm_up=tuning.warm_up, fall=self.fall)
        self.optimizer.step(loss, rate, self._backward(loss, images, goals, loop.step))
        self.network.eval()
        labels = goals.argmax(1) if goals.is_floating_point() else goals
        self._sums.loss += value * len(labels)
        self._sums.right += int((logits.detach().argmax(1) == labels).sum())
        self._sums.images += len(labels)

    def _loss(self, images: torch.Tensor, goals: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and logits of one batch; another call for the same step draws the same (dropout)."""
        draw = generator(self.tuning.seed, "", step, "linearize.network")
        with seeded(draw, self.device), torch.enable_grad():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                logits = logits_of(self.network, self.model, images)
            logits = logits.to(images.dtype)
            wanted = goals.to(logits.dtype) if goals.is_floating_point() else goals
            smoothing = self.tuning.label_smoothing
            return functional.cross_entropy(logits, wanted, label_smoothing=smoothing), logits

    def _backward(
        self, loss: torch.Tensor, images: torch.Tensor, goals: torch.Tensor, step: int
    ) -> Callable[[], None] | None:
        """How the loss is differentiated, where that is not as usual."""
        if self.penalty is None:
            return None
        again = functools.partial(self._loss, images, goals, step)
        return functools.partial(self.penalty.backward, loss, lambda: again()[0], self.optimizer.parameters)

    def end_epoch(self, loop: Loop) -> dict[str, Any]:
        """Loss, accuracy while training and on the validation images."""
        sums, self._sums = self._sums, _Sums()
        found, _ = self.measure(self.network, self.validation, "validation")
        loss, accuracy = sums.loss / sums.images, sums.right / sums.images
        return {"loss": loss, "accuracy_while_training": accuracy, "validation": found}

    @torch.no_grad()
    def measure(self, network: nn.Module, samples: Samples, stage: str) -> tuple[dict[str, Any], list[int]]:
        """How many images a network in evaluation mode has right, of how many, at what mean cross-entropy; and every
        prediction. An image whose logits are not finite is wrong; the mean is None then.
        """
        rows, size = list(range(len(samples.ids))), self.tuning.batch_size
        cut = [rows[at : at + size] for at in range(0, len(rows), size)]
        predictions: list[int] = []
        right, loss = 0, 0.0
        for images, labels in counted(in_batches(samples, cut, self.model, self.device), stage, len(cut), self.tell):
            logits = logits_of(network, self.model, images)
            # Without its activations, and not yet tuned, a network may leave the range of floats: that is wrong.
            finite = torch.isfinite(logits).all(1)
            predicted = torch.where(finite, logits.argmax(1), NO_CLASS)
            right += int((predicted == labels).sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            predictions += predicted.tolist()
        mean = loss / len(rows) if math.isfinite(loss) else None
        return {"right": right, "n": len(rows), "accuracy": right / len(rows), "loss": mean}, predictions

    def describe(self, entry: Mapping[str, Any] | None) -> str:
        """Loss and accuracy of the running epoch so far, or of one that has ended."""
        sums = self._sums
        if entry is not None:
            return f"loss {entry['loss']:.3f}, accuracy {entry['accuracy_while_training']:.1%}"
        return f"loss {sums.loss / sums.images:.3f}, accuracy {sums.right / sums.images:.1%}" if sums.images else ""

    def recalibrate(self, images: Iterator[tuple[torch.Tensor, torch.Tensor]], everywhere: bool = False) -> None:
        """Measure statistics anew, as the mean over batches: those behind removed activations, or all."""
        norms = list(normalisations(self.network)) if everywhere else self._moved
        for norm in norms:
            norm.start_anew()
            norm.train()
        try:
            with torch.no_grad():
                for done, (some, _) in enumerate(images):
                    for norm in norms:
                        norm.averaging = done
                    logits_of(self.network, self.model, some)
        finally:
            for norm in norms:
                norm.averaging = None
            self.network.eval()

    def state(self) -> dict[str, Any]:
        """Weights, statistics, the optimizer's memory and the sums of the running epoch, where all are finite."""
        weights = self.network.state_dict()
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise diverged(f"{broken[0]} is not finite after a step")
        sums = dataclasses.asdict(self._sums)
        return {"weights": weights, "optimizer": self.optimizer.state_dict(), "epoch": sums}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._sums = _Sums(**state["epoch"])


def logits_of(network: nn.Module, model: Model, images: torch.Tensor) -> torch.Tensor:
    """A graph's logits (N, classes) for images (N, C, H, W) in [0, 1] of its size; a tuple of one is unpacked."""
    found = network(model.normalise(images))
    logits: torch.Tensor = found[0] if isinstance(found, tuple | list) else found
    return logits


def diverged(what: str) -> ModelError:
    """What to say when numbers leave the range of floats."""
    return ModelError(
        f"{what}: the tuning diverged.",
        "Start again with a lower --learning-rate; `linbp linearize` has --warm-up and --clip too.",
    )
