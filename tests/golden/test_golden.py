"""No bit is computed differently: images and gradients have the hashes that were recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from exhaustive import marked
from golden_gradients import SIDES, gradients
from golden_hashes import DTYPES, HASHES, NETWORKS, cases, crafted, crafted_with, name_of, processor
from golden_recipes import PROTOCOLS

RECORDED = json.loads(HASHES.read_text(encoding="utf-8"))
EVERYWHERE, HERE = RECORDED["every machine"], RECORDED["processors"].get(processor())
UNKNOWN = f"no float32 hashes of this processor ({processor()}) are recorded; the float64 ones decide"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums are taken in another order with several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def expected(dtype: str) -> dict[str, Any]:
    if dtype == "float64":
        return EVERYWHERE
    if HERE is None:
        pytest.skip(UNKNOWN)
    return HERE


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("network", marked(NETWORKS, ["squeezenet"]))
def test_images_are_those_that_were_recorded(network: str, dtype: str) -> None:
    wanted = expected(dtype)["images"]
    names = {name_of(*case): case for case in cases(network)}
    assert {f"{network}: {name}" for name in names} == {key for key in wanted if key.startswith(f"{network}: ")}
    found = {name: crafted(network, DTYPES[dtype], *case) for name, case in names.items()}
    assert [name for name in found if found[name] != wanted[f"{network}: {name}"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("network", marked(SIDES, ["resnet50", "vgg19_bn"]))
def test_gradients_at_every_position_are_those_that_were_recorded(network: str, dtype: str) -> None:
    start = f"{dtype} {network}: "
    if dtype == "float32":
        expected(dtype)
    bits, values = gradients(network, dtype)
    for found, recorded in ((values, EVERYWHERE), (bits, HERE)):
        if recorded is None or (found is values and dtype == "float32"):
            continue
        wanted = {key: value for key, value in recorded["gradients"].items() if key.startswith(start)}
        assert [key for key in wanted if found.get(key) != wanted[key]] == []
        assert len(found) == len(wanted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folders_are_those_that_were_recorded(tmp_path: Path, protocol: str) -> None:
    assert crafted_with(protocol, tmp_path) == EVERYWHERE["images"][f"protocol: {protocol}"]


def test_the_recorded_images_differ_from_each_other() -> None:
    """Hashes of clean images, or of attacks that do the same, would guard nothing."""
    for network in NETWORKS:
        hashes = [value for key, value in EVERYWHERE["images"].items() if key.startswith(f"{network}: ")]
        made = [value for value in hashes if not value.startswith("refused")]
        assert len(made) >= 40
        assert len(set(made)) >= 0.85 * len(made)
