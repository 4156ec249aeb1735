"""torch.hub: entries of a hubconf.py, with preprocessing that the user states."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models import Model, load_model

HUBCONF = """
import torch
from torch import nn

dependencies = ["torch"]

def tiny(classes=3, pretrained=False):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, classes))
    if pretrained:
        nn.init.constant_(network[1].weight, 0.5)
        nn.init.zeros_(network[1].bias)
    return network

def fixed():
    network = tiny()
    nn.init.ones_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    return network

def broken():
    raise ValueError("nothing here")

def number():
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "hubconf.py").write_text(HUBCONF)
    return tmp_path / "repo"


def load(spec: str) -> Model:
    model = load_model(spec)
    assert isinstance(model, Model)
    return model


def test_preprocessing_and_arguments_in_the_name(folder: Path) -> None:
    model = load(f"torch.hub:{folder}:tiny@input_size=4,mean=0.1/0.2/0.3,std=0.5,resize=5,pretrained=true,classes=6")
    images = torch.rand(2, 3, 4, 4)
    same = Model(nn.Flatten(), input_size=4, mean=(0.1, 0.2, 0.3), std=0.5, resize=5)
    expected = same.logits(images).sum(1, keepdim=True).expand(2, 6) * 0.5
    torch.testing.assert_close(model.logits(images), expected)
    assert model.identity()["arguments"] == {"pretrained": True, "classes": 6}
    assert model.identity()["entry"] == "tiny"


def test_preprocessing_and_arguments_in_a_file(folder: Path, tmp_path: Path) -> None:
    fields = {"input_size": 4, "mean": 0.5, "classes": list("abcd"), "arguments": {"pretrained": True, "classes": 4}}
    (tmp_path / "prep.json").write_text(json.dumps(fields))
    model = load(f"torch.hub:{folder}:tiny@{tmp_path / 'prep.json'}")
    images = torch.rand(2, 3, 4, 4)
    expected = ((images - 0.5).flatten(1).sum(1, keepdim=True) * 0.5).expand(2, 4)
    torch.testing.assert_close(model.logits(images), expected)
    assert model.class_names == tuple("abcd")


def test_untrained_weights_are_refused_unless_they_are_meant(folder: Path) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ModelError, match="untrained"):
        load(f"torch.hub:{folder}:tiny@input_size=4")
    assert torch.equal(torch.get_rng_state(), before)
    assert load(f"torch.hub:{folder}:tiny@input_size=4,random=true").logits(torch.rand(1, 3, 4, 4)).shape == (1, 3)
    assert load(f"torch.hub:{folder}:fixed@input_size=4").logits(torch.ones(1, 3, 4, 4)).tolist() == [[48.0] * 3]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("tiny", "how images are prepared"),
        ("tiny@mean=0.5", "no input_size"),
        ("tiny@224", "'224' is no preprocessing"),
        ("tiny@nowhere.json", "nowhere.json"),
        ("nothing@input_size=4", "no entry 'nothing'"),
        ("broken@input_size=4", "hubconf.py, line 21.*nothing here"),
        ("tiny@input_size=4,pretraind=true", "unexpected keyword argument 'pretraind'"),
        ("number@input_size=4", "gives a int"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, entry: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load(f"torch.hub:{folder}:{entry}")
    assert str(caught.value).count("\n") == 1


def test_a_repository_is_not_run_before_torch_trusts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="does not trust the repository someone/something"):
        load("torch.hub:someone/something:main:net@input_size=4")

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with pytest.raises(ModelError, match=r"could not be fetched.*\n.*clone the repository"):
        load("torch.hub:someone/something:net@input_size=4")
    with pytest.raises(ModelError, match="could not be fetched"):
        load("torch.hub:pytorch/vision:main:resnet18@input_size=224")
    with pytest.raises(ModelError, match="names no folder and no repository"):
        load("torch.hub:nowhere:net@input_size=4")
