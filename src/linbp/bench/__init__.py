"""Whole jobs: several attacks, several victims, one report."""

from linbp.bench.demo import DemoResult, run_demo
from linbp.bench.demonstrations import CIFAR10, IMAGENET, Demonstration
from linbp.bench.pictures import Answer, PictureRow, draw_picture

__all__ = ["CIFAR10", "IMAGENET", "Answer", "DemoResult", "Demonstration", "PictureRow", "draw_picture", "run_demo"]
