"""The code of parts that come from other packages, files or notebooks: what it is, so that two versions never mix."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from linbp.attack.recipe.recipe import Recipe
from linbp.graph import Rule
from linbp.registry import distribution_of, find, grammar_name, is_foreign, is_installed

__all__ = ["code_of_parts"]

OWN = "linbp"
PLAIN = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None))


def code_of_parts(recipe: Recipe, rules: Iterable[Rule] = ()) -> dict[str, dict[str, str | None]]:
    """Distribution, version and SHA-256 of the code of every part that is not linbp's own, by the part's name.

    For a part in a file, the code is that of its module and of all modules of the same package, or files beside it,
    that it imports, also inside functions; without comments and layout. For one that was registered in a script or a
    notebook, it is its own definition and those that it reaches by name.

    Args:
        recipe: with all its parts, and with the named recipes that they were written as.
        rules: of surrogates that have rules of their own.
    """
    things: dict[str, Any] = {getattr(rule, "grammar_name", type(rule).__qualname__): type(rule) for rule in rules}
    for stage in recipe.stages:
        things |= {term.name: find(term.name)[1] for term in stage.terms}
        things |= {grammar_name(part): type(part) for part in stage.parts}
    return {name: _facts(thing) for name, thing in sorted(things.items()) if is_foreign(thing)}


def _top(module: str) -> str:
    return module.partition(".")[0]


def _facts(thing: Any) -> dict[str, str | None]:
    module = thing.__module__
    found = distribution_of(module)
    texts = dict(_definitions(thing)) if module == "__main__" or _file(module) is None else dict(_files(module))
    digest = hashlib.sha256("".join(f"{name}\0{texts[name]}\0" for name in sorted(texts)).encode())
    return {
        "distribution": found[0] if found else None,
        "version": found[1] if found else None,
        "code_sha256": digest.hexdigest(),
    }


def _file(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file is not None and Path(file).is_file() else None


def _files(module: str) -> Iterator[tuple[str, str]]:
    """The texts of a module and of those that it imports in turn, by name: of an installed one those of its package,
    of a file of the user's own also those beside it."""
    file = _file(module)
    assert file is not None
    depth = module.count(".") + (file.stem == "__init__")
    root, alone = file.parents[depth], is_installed(module)
    # A file that was loaded by its path may have any name in this process; its own is that of the file.
    own = module if depth else file.stem
    waiting, seen = [own], set[str]()
    while waiting:
        name = waiting.pop()
        path = _find(root, name) if not alone or _top(name) == _top(own) else None
        if path is None or name in seen:
            continue
        seen.add(name)
        waiting += [".".join(name.split(".")[:count]) for count in range(1, name.count(".") + 1)]
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):  # compiled code
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()
            continue
        yield name, ast.unparse(tree)
        waiting += _imports(tree, name, path)


def _find(root: Path, name: str) -> Path | None:
    """The file of a module in a folder, or None."""
    base = root.joinpath(*name.split("."))
    candidates = [base / "__init__.py", base.with_suffix(".py"), *sorted(base.parent.glob(f"{base.name}.*.so"))]
    return next((path for path in candidates if path.is_file()), None)


def _imports(tree: ast.AST, name: str, path: Path) -> Iterator[str]:
    """The modules that a module imports, anywhere in it; of `from a import b` both a and a.b."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join(word for word in (*above, node.module or "") if word)
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _definitions(thing: Any) -> Iterator[tuple[str, str]]:
    """The definitions of a class or a function and of what they reach by name, in a script or a notebook."""
    waiting: list[tuple[str, Any]] = [(thing.__qualname__, thing)]
    seen = set[int]()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, PLAIN):
            yield name, repr(value)
        elif isinstance(value, types.ModuleType) and _is_users(value.__name__):
            yield from _files(value.__name__)
        elif id(value) in seen or not isinstance(value, type | types.FunctionType):
            continue
        elif value.__module__ != thing.__module__:
            if _is_users(value.__module__):
                yield from _files(value.__module__)
        elif isinstance(value, types.FunctionType):
            seen.add(id(value))
            yield name, _source(value)
            known = {**value.__globals__, **inspect.getclosurevars(value).nonlocals}
            waiting += [(f"{name} {word}", known[word]) for word in _names(value.__code__) if word in known]
        else:
            seen.add(id(value))
            members = {word: _plain(member) for word, member in vars(value).items() if word not in GENERATED}
            waiting += [(f"{name}.{word}", member) for word, member in members.items()]
            waiting += [(f"{name} base {base.__qualname__}", base) for base in value.__bases__]


GENERATED = frozenset({"__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__"})
"""What a class has that its author did not write."""


def _plain(member: Any) -> Any:
    """The function inside a property or a class method, and nothing for one that a dataclass generated."""
    found = getattr(member, "fget", None) or getattr(member, "__func__", member)
    generated = isinstance(found, types.FunctionType) and found.__code__.co_filename == "<string>"
    return None if generated else found


def _is_users(module: str) -> bool:
    """Whether a module is a file of the user's own: neither installed nor Python's."""
    return _file(module) is not None and _top(module) != OWN and not is_installed(module)


def _source(function: types.FunctionType) -> str:
    """A function's text without comments and layout; its instructions where there is no text."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):
        return _instructions(function.__code__)


def _instructions(code: types.CodeType) -> str:
    constants = [_instructions(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _names(code: types.CodeType) -> list[str]:
    """All names in the code, those of functions inside it included."""
    inner = [name for one in code.co_consts if isinstance(one, types.CodeType) for name in _names(one)]
    return [*dict.fromkeys((*code.co_names, *code.co_freevars, *inner))]
