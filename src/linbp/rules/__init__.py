"""Backward rules: how gradients pass the places of a network. One rule a file, its maths inside."""

from linbp.rules.att import ATT
from linbp.rules.bpa import BPA
from linbp.rules.conbp import ConBP
from linbp.rules.linbp import LinBP
from linbp.rules.pna import PNA
from linbp.rules.sgm import SGM
from linbp.rules.sites import SelectedSites, check_sites, select_sites
from linbp.rules.tgr import TGR
from linbp.rules.vdc import VDC

__all__ = ["ATT", "BPA", "PNA", "SGM", "TGR", "VDC", "ConBP", "LinBP", "SelectedSites", "check_sites", "select_sites"]
