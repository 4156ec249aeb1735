"""Sources of networks in other packages."""

from __future__ import annotations

import pytest
import torch
from foreign_parts import Packages, packages
from foreign_sources import NETWORKS, VICTIM, install

from linbp.errors import ModelError
from linbp.models import BlackBox, Model, load_model

__all__ = ["packages"]


def test_a_source_is_a_module_or_an_object(packages: Packages) -> None:
    install(packages, "my_zoo", NETWORKS, word="zoo")
    install(packages, "my_victims", VICTIM, word="my-bright", entry="my_victims:source", version="2.1")
    model = load_model("zoo:3")
    assert isinstance(model, Model)
    torch.manual_seed(3)
    expected = torch.nn.Linear(48, 5)
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(model.logits(images), expected(images.flatten(1)).detach())
    assert model.identity()["package"] == "my_zoo 1.0"
    assert model.identity()["spec"] == "zoo:3"
    victim = load_model("my-bright:x")
    assert isinstance(victim, BlackBox)
    assert victim.identity() == {"name": "bright", "package": "my_victims 2.1", "spec": "my-bright:x"}
    torch.testing.assert_close(victim.logits(images)[:, 1], images.mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("zoo:word", ("my_zoo 1.0", "ValueError")),
        ("bright:module", ("Identity", "linbp.Model")),
        ("twice:1", ("one 1.0", "other 1.0")),
        ("nothing:1", ("no function load",)),
    ],
)
def test_what_is_wrong_with_a_package_is_told(packages: Packages, spec: str, words: tuple[str, ...]) -> None:
    install(packages, "my_zoo", NETWORKS, word="zoo")
    install(packages, "my_victims", VICTIM, word="bright", entry="my_victims:source")
    install(packages, "one", NETWORKS, word="twice")
    install(packages, "other", NETWORKS, word="twice")
    install(packages, "no_load", "HELP = ''", word="nothing")
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert all(word in str(caught.value) for word in words)
    assert str(caught.value).count("\n") == 1
