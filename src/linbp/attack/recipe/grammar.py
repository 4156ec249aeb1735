"""The grammar of recipes: `name(parameter=value, ...) + name + ...`, and `>>` between the stages."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from linbp.errors import RecipeError, nearest_name
from linbp.registry import find, grammar_name

__all__ = ["Term", "build", "parse_stages", "write", "write_value"]

TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:/\d+)?)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign>>>|[()\[\],=+])"
    r")"
)
WORDS: dict[str, Any] = {"none": None, "true": True, "false": False}


@dataclass(frozen=True)
class Term:
    """One summand of a recipe.

    Attributes:
        name: of a recipe or part.
        options: its parameters.
        text: the summand as it was written (`di(scale=8/7)`), with the spaces of the grammar.
    """

    name: str
    options: dict[str, Any]
    text: str = ""


def parse_stages(text: str) -> list[list[Term]]:
    """The stages of a recipe's text, each with its summands.

    A value is a number (`7`, `0.5`, `8/255`), a word or module path (`branch`, `layer3.1`), text in quotes (`'0.1'`),
    `none`, `true`, `false`, or a list (`[3, 5]`).

    Raises:
        RecipeError: the text does not follow the grammar, with the place where it stops.
    """
    return _Parser(text).stages()


def build(term: Term) -> Any:
    """What a term stands for: a tuple of parts if it names a recipe, or one part.

    Raises:
        RecipeError: an unknown name or parameter, a missing parameter, or a value that the part refuses.
    """
    _, maker = find(term.name)
    known = _parameters(maker)
    for option in term.options:
        if option not in known:
            hint = nearest_name(option, known) if known else f"{term.name} takes none."
            raise RecipeError(f"{term.name} has no parameter {option!r}.", hint)
    missing = [name for name, needed in known.items() if needed and name not in term.options]
    if missing:
        raise RecipeError(
            f"{term.name} needs {missing[0]}.",
            f"Write {term.name}({missing[0]}=...); `linbp show {term.name}` explains it.",
        )
    return maker(**term.options)


def write(part: Any) -> str:
    """A part as the grammar reads it, with the parameters that differ from the default."""
    given = []
    for known in dataclasses.fields(part):
        value = getattr(part, known.name)
        if known.default is dataclasses.MISSING or value != known.default:
            given.append(f"{known.name}={write_value(value)}")
    return grammar_name(part) + (f"({', '.join(given)})" if given else "")


def write_value(value: Any) -> str:
    """A parameter's value as the grammar reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, str):
        match = TOKEN.fullmatch(value)
        plain = match is not None and match["name"] is not None and value == match["name"] and value not in WORDS
        if plain:
            return value
        return f"'{value}'" if "'" not in value else json.dumps(value)
    return repr(value)


def _parameters(maker: Callable[..., Any]) -> dict[str, bool]:
    """The parameters of a part or a named recipe, and whether each must be given."""
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(maker).parameters.items()
    }


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def stages(self) -> list[list[Term]]:
        if not self.text.strip():
            raise RecipeError("The recipe is empty.", "Write a name, such as ifgsm or linbp(start=0.5) + mi.")
        found = [[self._term()]]
        while (sign := self._take("sign")) is not None:
            if sign == ">>":
                found.append([self._term()])
            elif sign == "+":
                found[-1].append(self._term())
            else:
                self._fail("expected + or >>", back=len(sign))
        if self.text[self.at :].strip():
            self._fail("expected +, >> or the end")
        return found

    def _term(self) -> Term:
        name = self._take("name")
        if name is None:
            self._fail("expected the name of a recipe or part")
        options: dict[str, Any] = {}
        texts: list[str] = []
        if self._sign("("):
            while not self._sign(")"):
                key = self._take("name")
                if key is None:
                    self._fail("expected a parameter's name")
                if key in options:
                    raise RecipeError(f"{name} is given {key} twice.", "Leave one out.")
                if not self._sign("="):
                    self._fail(f"expected = after {key}")
                options[key], text = self._value()
                texts.append(f"{key}={text}")
                if not self._sign(",") and self._peek() != ")":
                    self._fail("expected , or )")
        return Term(name, options, name + (f"({', '.join(texts)})" if texts else ""))

    def _value(self) -> tuple[Any, str]:
        """A value, and how it is written."""
        if self._sign("["):
            items = []
            while not self._sign("]"):
                items.append(self._value())
                if not self._sign(",") and self._peek() != "]":
                    self._fail("expected , or ]")
            return [item for item, _ in items], "[" + ", ".join(text for _, text in items) + "]"
        number = self._take("number")
        if number is not None:
            return self._number(number), number
        quoted = self._take("text")
        if quoted is not None:
            return quoted[1:-1], quoted
        word = self._take("name")
        if word is None:
            self._fail("expected a value")
        return WORDS.get(word.lower(), word), word

    def _number(self, text: str) -> int | float:
        top, _, bottom = text.partition("/")
        if bottom:
            if int(bottom) == 0:
                self._fail("division by zero")
            return float(top) / int(bottom)
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)

    def _take(self, kind: str) -> str | None:
        match = TOKEN.match(self.text, self.at)
        if match is None or match[kind] is None:
            return None
        self.at = match.end()
        return match[kind]

    def _peek(self) -> str | None:
        match = TOKEN.match(self.text, self.at)
        return match["sign"] if match else None

    def _sign(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._take("sign")
        return True

    def _fail(self, expected: str, back: int = 0) -> NoReturn:
        place = self.at - back
        rest = self.text[place:].strip()
        where = f"before {rest[:20]!r}" if rest else "at the end"
        raise RecipeError(
            f"The recipe {self.text!r} cannot be read: {expected} {where}.",
            "A recipe is a sum of names with parameters, such as linbp(start=layer3.1) + di + mi.",
        )
