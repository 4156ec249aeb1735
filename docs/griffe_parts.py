"""Tell the reference pages that `@part(...)` makes a keyword-only dataclass, so that they show its signature."""

from __future__ import annotations

from typing import Any

from griffe import Class, Decorator, Expr, ExprCall, ExprKeyword, ExprName, Extension


class RegisteredParts(Extension):
    """Add the decorator that `linbp.registry.part` applies to every class that it decorates."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Called when a class has been read, and before griffe looks for dataclasses."""
        for decorator in list(cls.decorators):
            value = decorator.value
            if isinstance(value, Expr) and value.canonical_path == "linbp.registry.part":
                call = ExprCall(ExprName("dataclasses.dataclass"), [ExprKeyword("kw_only", "True")])
                cls.decorators.append(Decorator(call, lineno=decorator.lineno, endlineno=decorator.endlineno))
