"""What only decides how a network runs (on several devices, compiled), taken off."""

from __future__ import annotations

from torch import nn

__all__ = ["unwrap"]


def unwrap(module: nn.Module) -> nn.Module:
    """The network inside `DataParallel`, `DistributedDataParallel` and `torch.compile`, whose values are the same.

    A wrapper with hooks of its own computes something, and stays.
    """
    while True:
        inner = _inner(module)
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if inner is None or any(hooks):
            return module
        module = inner


def _inner(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    # torch.compile's class by its name: importing it takes a second.
    if type(module).__name__ == "OptimizedModule" and type(module).__module__ == "torch._dynamo.eval_frame":
        return module.get_submodule("_orig_mod")
    return None
