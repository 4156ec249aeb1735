"""Backward rules: how gradients pass the places of a network. One rule a file, its maths inside."""

from linbp.rules.bpa import BPA
from linbp.rules.conbp import ConBP
from linbp.rules.linbp import LinBP
from linbp.rules.sgm import SGM
from linbp.rules.sites import SelectedSites, check_sites, select_sites

__all__ = ["BPA", "SGM", "ConBP", "LinBP", "SelectedSites", "check_sites", "select_sites"]
