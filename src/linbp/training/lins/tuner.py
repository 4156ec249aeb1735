"""A network in training: its steps, its accuracy, its statistics, and all of its state in one dictionary."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from linbp.errors import ModelError, RuleError
from linbp.graph import Structure, first_site
from linbp.models import Model
from linbp.randomness import generator
from linbp.training.lins.modes import Normalisation, attribute, behind, switchable, without_statistics
from linbp.training.lins.tuning import Tuning

__all__ = ["Tuner", "answer", "usable_precision"]

MOMENTUM = 0.9
SEEDS = 2**63


class Tuner:
    """A network whose activations were removed, its optimizer, and what they are at.

    Args:
        model: of the network's preprocessing; its own tensors are not touched.
        network: the functional graph to train, on its device; it is changed.
        structure: of the model, for `train_from`.
        removed: names of the removed activations' nodes.
        tuning: the settings.
        mixed: whether training computes in bfloat16 where that is safe.

    Attributes:
        parameters: those that are trained.
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
    ) -> None:
        self.model, self.tuning, self.mixed = model, tuning, mixed
        self.notes: list[str] = []
        nodes = _from(network, structure, tuning)
        read = {str(source.target) for node in nodes for source in node.all_input_nodes if source.op == "get_attr"}
        held = set(network.graph.nodes) - set(nodes)
        read -= {str(source.target) for node in held for source in node.all_input_nodes if source.op == "get_attr"}
        trained = {id(attribute(network, node)) for node in network.graph.nodes if str(node.target) in read}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in trained and parameter.is_floating_point())
            parameter.grad = None
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise RuleError(
                f"No parameter is read from {tuning.train_from!r} on, so there is nothing to train.",
                "Begin to train earlier, or leave --train-from out.",
            )
        bare = {node for node in nodes if without_statistics(network, node)}
        if bare:
            self.notes.append(
                f"{len(bare)} batch norms hold no statistics (mean 0, variance 1): they were folded into the layers in "
                "front of them, so they keep computing what they do"
            )
        moved = {f"linbp_{node.name}" for node in behind(one for one in network.graph.nodes if one.name in removed)}
        self.network = switchable(network, [node for node in nodes if node not in bare])
        self._moved = [
            module
            for name, module in self.network.named_children()
            if isinstance(module, Normalisation) and name in moved
        ]
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        rate, decay = self.tuning.learning_rate or 0.0, self.tuning.weight_decay or 0.0
        if self.tuning.optimizer == "sgd":
            return torch.optim.SGD(self.parameters, lr=rate, momentum=MOMENTUM, weight_decay=decay)
        return torch.optim.AdamW(self.parameters, lr=rate, weight_decay=decay)

    @property
    def recalibrates(self) -> bool:
        """Whether there are batch norms whose input the removal has changed."""
        return bool(self._moved)

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.parameters[0].device

    def step(self, images: torch.Tensor, labels: torch.Tensor, number: int, steps: int) -> tuple[float, int]:
        """One step of the optimizer; the batch's mean loss, and how many of its images were right.

        What the network itself draws (dropout) is keyed by the seed and the step; the random state outside is as
        before.

        Args:
            images: (N, C, H, W) in [0, 1], of the network's size.
            labels: (N,).
            number: of the step, from 0.
            steps: how many there are.

        Raises:
            ModelError: the loss is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.tuning.rate_at(number, steps)
        self.network.train()
        with _seeded(self.tuning.seed, number, self.device), torch.enable_grad():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                logits = answer(self.network, self.model, images)
            logits = logits.to(images.dtype)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.tuning.label_smoothing)
            value = loss.item()
            if value != value or value in (float("inf"), float("-inf")):
                raise diverged(f"The loss is {value} at step {number + 1} of {steps}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.tuning.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.tuning.clip)
            self.optimizer.step()
        self.network.eval()
        return value, int((logits.detach().argmax(1) == labels).sum())

    def recalibrate(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> int:
        """Measure the statistics behind removed activations anew, as the mean over batches; how many there were."""
        norms = self._moved
        for norm in norms:
            norm.start_anew()
            norm.train()
        seen = 0
        try:
            with torch.no_grad():
                for images, _ in batches:
                    for norm in norms:
                        norm.averaging = seen
                    answer(self.network, self.model, images)
                    seen += 1
        finally:
            for norm in norms:
                norm.averaging = None
            self.network.eval()
        return seen

    def state(self) -> dict[str, Any]:
        """Weights, statistics and the optimizer's memory.

        Raises:
            ModelError: a number in it is not finite, so that there is nothing worth keeping.
        """
        weights = self.network.state_dict()
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise diverged(f"{broken[0]} is not finite after a step")
        return {"weights": weights, "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])


def diverged(what: str) -> ModelError:
    """What to say when numbers leave the range of floats."""
    return ModelError(
        f"{what}: the tuning diverged.",
        "Start again with a lower --learning-rate, a longer --warm-up or --clip 1.",
    )


def answer(network: nn.Module, model: Model, images: torch.Tensor) -> torch.Tensor:
    """A graph's logits (N, classes) for images (N, C, H, W) in [0, 1] of its size; a tuple of one is unpacked."""
    found = network(model.normalise(images))
    logits: torch.Tensor = found[0] if isinstance(found, tuple | list) else found
    return logits


def usable_precision(wanted: bool | None, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether bfloat16 is mixed in: if asked for, and unasked on GPUs that compute in it.

    Raises:
        ModelError: asked for, and the network is not float32.
    """
    if wanted and dtype != torch.float32:
        raise ModelError(
            f"Mixed precision is for float32 networks, and this one is {str(dtype).removeprefix('torch.')}.",
            "Use --precision full (mixed_precision=False in Python).",
        )
    if wanted is None:
        return dtype == torch.float32 and device.type == "cuda" and torch.cuda.is_bf16_supported(False)
    return wanted


def _from(network: fx.GraphModule, structure: Structure, tuning: Tuning) -> list[fx.Node]:
    """The operations from `train_from` on; all without one."""
    nodes = [node for node in network.graph.nodes if node.op not in ("placeholder", "get_attr")]
    start = tuning.train_from
    if start is None:
        return nodes
    if isinstance(start, str) and start in structure.entries:
        begin = structure.entries[start]
    else:
        begin = structure.ranks[structure.sites[first_site(start, structure)].node]
    rank, found = 0, []
    for node in nodes:
        rank = structure.ranks.get(node.name, rank)
        if rank >= begin:
            found.append(node)
    return found


@contextlib.contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Torch's generators start inside from a number drawn for this step, and are as before outside."""
    number = int(generator(seed, "", step, "linearize.network").integers(SEEDS))
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which would seed every accelerator.
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
