"""Packages that bring sources of networks."""

from __future__ import annotations

from foreign_parts import Packages

__all__ = ["NETWORKS", "VICTIM", "install"]

NETWORKS = """
import torch
from torch import nn
import linbp

HELP = "zoo:SIDE, a tiny network"

def load(rest):
    torch.manual_seed(int(rest))
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    return linbp.Model(module, input_size=4, name=f"zoo:{rest}")
"""
VICTIM = '''
import torch

class Answers:
    """Counts bright pixels, of three classes."""
    name = "bright"
    def logits(self, images):
        return torch.stack([images.mean((1, 2, 3)) * k for k in range(3)], 1)
    def identity(self):
        return {"name": self.name}

class Source:
    HELP = "bright:anything"
    def load(self, rest):
        return Answers() if rest != "module" else torch.nn.Identity()

source = Source()
'''


def install(packages: Packages, name: str, text: str, **options: str) -> None:
    """Write a distribution of one module, with an entry point for a source."""
    packages.install(name, {f"{name}.py": text}, group="linbp.sources", **options)
