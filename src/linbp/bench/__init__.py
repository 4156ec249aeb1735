"""Whole jobs: several attacks, several victims, one report."""

from linbp.bench.demo import DemoResult, run_demo
from linbp.bench.pictures import Answer, PictureRow, draw_picture

__all__ = ["Answer", "DemoResult", "PictureRow", "draw_picture", "run_demo"]
