"""The paper's experiments on CIFAR-10."""
