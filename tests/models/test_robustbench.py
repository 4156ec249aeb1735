"""RobustBench: a network of its zoo with a checkpoint from a file, where the package is installed."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest
import torch

from linbp.errors import ModelError
from linbp.models import Model, load_model

NAME = "cifar10/Linf/Wong2020Fast"


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "robustbench"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(ModelError, match=r"robustbench, which is not installed.*\n.*--no-deps"):
        load_model(f"robustbench:{NAME}")


@pytest.fixture
def zoo() -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = importlib.import_module("robustbench.model_zoo")
        except ImportError as error:
            pytest.skip(f"needs RobustBench: {error}")
    kinds = next(kinds for data, kinds in found.model_dicts.items() if data.value == "cifar10")
    return next(names for threat, names in kinds.items() if threat.value == "Linf")


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_from_a_file_gives_the_networks_logits(zoo: dict[str, dict], tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = zoo["Wong2020Fast"]["model"]().eval()
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    model = load_model(f"robustbench:{NAME}@{tmp_path / 'mine.pt'}")
    assert isinstance(model, Model)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), network(images))
    assert model.class_names[0] == "airplane"
    with pytest.raises(ModelError, match="Wong2020Fast"):
        load_model("robustbench:cifar10/Linf/Wong2020Fsat")
    with pytest.raises(ModelError, match="cifar10"):
        load_model("robustbench:cifar11/Linf/Wong2020Fast")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt does not fit"):
        load_model(f"robustbench:{NAME}@{tmp_path / 'other.pt'}")
