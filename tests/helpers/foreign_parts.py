"""Packages with parts, written and registered as pip and the import system do it, and forgotten after the test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import linbp.attack  # noqa: F401  (its parts must be registered before a test notes which there are)
from linbp import registry
from linbp.cli.catalogue import catalogue

__all__ = ["SHIFT", "Packages", "packages"]

SHIFT = '''
import torch
from linbp.attack import Transform
from linbp.registry import part
from {helper} import amount

@part("transform", "{name}")
class Shift(Transform):
    """Rolls the image."""
    pixels: int = {default}

    def apply(self, images, context, draws, copy):
        return images.roll(self.pixels * amount(), -1)
'''
"""A module with a transform, to be formatted: its name, its default, and the module that has `amount`."""


class Packages:
    """A folder on the path, where packages are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        version: str = "1.0",
        entry: str | None = None,
        group: str = "linbp.parts",
        word: str | None = None,
    ) -> None:
        """Write a distribution with the files of its package, and its entry point, the package by default.

        Args:
            name: of the distribution.
            files: their texts.
            version: of the distribution.
            entry: what the entry point names.
            group: of the entry point.
            word: what the entry point is called; by default the distribution's name.
        """
        for file, text in files.items():
            path = self.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for old in self.folder.glob(f"{name}-*.dist-info/*"):
            old.unlink()
        metadata = self.folder / f"{name}-{version}.dist-info"
        for old in self.folder.glob(f"{name}-*.dist-info"):
            old.rmdir()
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{word or name} = {entry or name}\n")
        self.forget()

    def forget(self) -> None:
        """As in a new process: nothing of the folder is imported or registered."""
        importlib.invalidate_caches()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]
        for known in registry._registry.values():
            for name, thing in list(known.items()):
                if not thing.__module__.startswith("linbp."):
                    del known[name]
        registry._contested.clear()
        registry._faults.clear()
        registry._distributions.clear()
        registry.load_plugins.cache_clear()
        catalogue.cache_clear()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """An empty folder for packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files are edited within one second
    for kind, known in registry._registry.items():
        monkeypatch.setitem(registry._registry, kind, dict(known))
    found = Packages(folder)
    yield found
    monkeypatch.undo()
    found.forget()
