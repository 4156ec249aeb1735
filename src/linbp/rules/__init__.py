"""Backward rules: how gradients pass sites and junctions."""

from linbp.rules.linbp import LinBP
from linbp.rules.sgm import SGM

__all__ = ["SGM", "LinBP"]
