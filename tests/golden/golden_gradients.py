"""Gradients of LinBP at every position of the networks that the reference numbers are of."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from golden_hashes import DTYPES, gradient_hashes
from golden_networks import surrogate as golden_surrogate

import linbp

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
from reference_networks import NETWORKS as REFERENCES

SIDES = {"resnet50": 48, "vgg19_bn": 32, "residual": 16, "mobile": 16, "transformer": 16}


def gradients(network: str, dtype_name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Hashes of one network's gradients: of bits, for one processor, and of rounded values, for all."""
    dtype, side = DTYPES[dtype_name], SIDES[network]
    if network in REFERENCES:
        captured = linbp.Surrogate(REFERENCES[network].model(dtype))
    else:
        captured = golden_surrogate(network, dtype)
    draw = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (2, 3, side, side), generator=draw).to(dtype) / 255
    bits, values = {}, {}
    for position in [None, *range(len(captured.sites))]:
        rule = None if position is None else linbp.LinBP(start=position)
        key = f"{dtype_name} {network}: {'ordinary' if position is None else f'linbp(start={position})'}"
        try:
            found = captured.with_rule(rule).gradient(images, torch.tensor([3, 7]))
            bits[key], values[key] = gradient_hashes(found)
        except linbp.LinbpError as refusal:
            bits[key] = values[key] = f"refused: {type(refusal).__name__}"
    return bits, values
