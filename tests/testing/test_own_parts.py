"""Every part and rule of linbp keeps what the kit asks of other packages' parts."""

from __future__ import annotations

import pytest
from tiny_transformer import tiny_transformer

import linbp.testing
from linbp.registry import kinds, names

SMALL = {
    "linbp": "linbp(start=0)",
    "conbp": "conbp(start=0)",
    "bpa": "bpa(start=0)",
    "di": "di(scale=1.5)",
    "ti": "ti(size=5)",
    "si": "si(scales=2)",
    "admix": "admix(partners=1, scales=2)",
    "vt": "vt(neighbours=1)",
    "pgn": "pgn(samples=1)",
    "svre": "svre(rounds=1)",
    "fda": "fda(at=blocks.0)",
    "ila": "ila(at=blocks.0)",
    "ilaf": "ilaf(at=blocks.0)",
    "ila-plus-plus": "ila-plus-plus(at=blocks.0)",
    "tap": "tap(at=blocks.0, distance=0.5)",
    "nrdm": "nrdm(at=blocks.0)",
    "fia": "fia(at=blocks.0, samples=2)",
    "naa": "naa(at=blocks.0, samples=2)",
    "bfa": "bfa(at=blocks.0, samples=2)",
    "ssa": "ssa(copies=2)",
    "bsr": "bsr(copies=2)",
    "sia": "sia(copies=2)",
    "ops": "ops(operators=2, noises=1)",
    "dem": "dem(scales=[1.3, 1.6])",
    "shift-grid": "shift-grid(shifts=2)",
    "patchout": "patchout(patch=3)",
    "paced-patchout": "paced-patchout(patch=3, at=blocks.0)",
    "ilpd": "ilpd(at=blocks.0)",
    "gra": "gra(neighbours=1)",
    "mef": "mef(samples=2)",
    "rap": "rap(steps=2)",
    "decowa": "decowa(warps=2)",
}
"""Parts that need a place in the network, an effect on small images, or fewer gradients; the others as they are."""
SEVERAL_ATTENTIONS = ("att", "vdc")


@pytest.mark.parametrize(
    "name", [name for kind in kinds() if kind not in ("recipe", "defence") for name in names(kind)]
)
def test_it_passes(name: str) -> None:
    model = linbp.Surrogate(tiny_transformer()) if name in SEVERAL_ATTENTIONS else None
    linbp.testing.check_part(SMALL.get(name, name), model=model)
