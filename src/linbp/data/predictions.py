"""Predicted classes: what stands for no answer, and how one is written."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ABSTAINED", "class_words"]

ABSTAINED = -2
"""The prediction of a model that declined to answer: neither right nor a success. -1 stands for what was not asked."""


def class_words(label: int, names: Sequence[str]) -> str:
    """A prediction in words: the class's name, or its number, or that there is none."""
    if label == ABSTAINED:
        return "no answer"
    return names[label] if 0 <= label < len(names) else f"class {label}"
