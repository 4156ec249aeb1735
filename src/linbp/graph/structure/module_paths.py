"""Which of the user's modules a node was called in."""

from __future__ import annotations

from torch import fx

__all__ = ["module_path", "module_paths"]


def module_paths(node: fx.Node) -> list[str]:
    """The modules that a node was called in, from the root to the innermost, as the user's module names them."""
    stack = node.meta.get("nn_module_stack") or {}
    return [str(path).partition("@")[0] for path, _ in stack.values()]


def module_path(node: fx.Node) -> str:
    """The innermost module that a node was called in, as the user's module names it; the root is the empty string."""
    paths = module_paths(node)
    return paths[-1] if paths else ""
