"""A network whose weights are drawn from a normal distribution, another draw at each step of an attack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from linbp.errors import ModelError
from linbp.models.checkpoint import file_sha256
from linbp.models.model import Model
from linbp.models.program import load_known
from linbp.randomness import generator

__all__ = ["METHOD", "Sampled", "draw_weights", "load_sampled"]

METHOD = "mba"
"""What a folder's manifest calls the way in which it was made."""


class Sampled(Model):
    """A network with a normal distribution for each weight, of which an attack takes another draw at each step.

    By itself it is the distribution's mean.

    Args:
        mean: the network with the mean weights.
        folder: of its files.
        manifest: of the folder.
        deviations: the standard deviation of each weight, by the tensor's name.

    Attributes:
        turns: how many draws there are.
    """

    own_turn = None

    def __init__(
        self, mean: Model, folder: Path, manifest: Mapping[str, Any], deviations: Mapping[str, torch.Tensor]
    ) -> None:
        program, other = manifest["result"]["files"]
        settings = manifest["settings"]["tuning"]
        samples, scale, seed = int(settings["samples"]), float(settings["scale"]), int(settings["seed"])
        super().__init__(
            mean.module,
            **mean.preprocessing_arguments,
            name=folder.resolve().name,
            source={
                "refined": METHOD,
                "file_sha256": program["file_sha256"],
                "deviations_sha256": other["file_sha256"],
                "samples": samples,
                "scale": scale,
                "samples_seed": seed,
            },
            program=mean.program,
        )
        self.turns, self.scale, self.seed, self.deviations = samples, scale, seed, deviations
        self.class_names, self.dynamic_batch = mean.class_names, mean.dynamic_batch
        self.alone = self._mean = folder / program["file"]
        self._sha256 = str(program["file_sha256"])
        self._names: Mapping[str, str] = manifest["result"]["same"]

    def of_turn(self, number: int) -> Model:
        """The network with one draw of its weights, on this one's device.

        Raises:
            ModelError: the file of the mean is not there, or another one.
        """
        model = load_known(self._mean, self._sha256)
        assert model.program is not None
        mean = model.program.state_dict
        drawn = draw_weights(mean, self.deviations, scale=self.scale, seed=self.seed, number=number)
        with torch.no_grad():
            for state in (mean, model.module.state_dict(keep_vars=True)):
                for name, tensor in state.items():
                    new = drawn.get(self._names.get(name, name))
                    if new is not None:
                        tensor.copy_(new)
        return model.to(self.device)


def draw_weights(
    mean: Mapping[str, torch.Tensor],
    deviations: Mapping[str, torch.Tensor],
    *,
    scale: float,
    seed: int,
    number: int,
) -> dict[str, torch.Tensor]:
    """mean + scale x deviation x N(0, 1) of each tensor that has a deviation, where its mean is and of its dtype.

    Args:
        mean: tensors by name; more than those with a deviation.
        deviations: of the same shapes.
        scale: what deviations are multiplied with.
        seed, number: of the draw.
    """
    drawn = {}
    for name, deviation in deviations.items():
        normal = torch.from_numpy(generator(seed, name, number, "mba.weights").standard_normal(tuple(deviation.shape)))
        shift = (scale * deviation.double().cpu() * normal).to(mean[name].device)
        drawn[name] = (mean[name].detach().double() + shift).to(mean[name].dtype)
    return drawn


def load_sampled(folder: Path, manifest: Mapping[str, Any]) -> Sampled:
    """The network of a finished folder that `linbp refine mba` wrote, whose files are there.

    Raises:
        ModelError: a file is another one than the one that was written.
    """
    program, other = manifest["result"]["files"]
    path = folder / other["file"]
    if file_sha256(path) != other["file_sha256"]:
        raise ModelError(f"{path} is another file than the one that was written.", "Make the folder anew.")
    mean = load_known(folder / program["file"], str(program["file_sha256"]))
    return Sampled(mean, folder, manifest, safetensors.torch.load_file(path))
