"""Training the zoo's networks on CIFAR-10."""

from linbp.training.cifar10.job import TrainReport, train

__all__ = ["TrainReport", "train"]
