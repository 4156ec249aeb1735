"""The grammar of recipes: `name(parameter=value, ...) + name + ...`, `>>` between the stages; and of parts alone."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

from linbp.errors import LinbpError, RecipeError, nearest_name
from linbp.registry import Kind, find, grammar_name, is_part, names, typed

__all__ = ["Term", "build", "parse_part", "parse_stages", "write", "write_first", "write_value"]

TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:/\d+)?)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign>>>|[()\[\],=+])"
    r")"
)
LONG, LARGEST = 8, 999
"""Decimals of more characters than this are written as fractions, where one with no larger denominator is the same."""
NESTED = 8
SHOWN = 200
"""Characters of a recipe that cannot be read, for the message."""
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


def parse_part(text: str, kind: Kind) -> Term:
    """One part of a kind, such as the defence `jpeg(75)`: the first parameters need no names.

    Raises:
        RecipeError: the text does not follow the grammar, or there is no such part.
    """
    parser = _Parser(text, kind)
    term = parser.part()
    known = names(kind)
    if term.name not in known:
        try:
            other, _ = find(term.name)
        except RecipeError:
            raise RecipeError(f"There is no {kind} called {term.name!r}.", nearest_name(term.name, known)) from None
        raise RecipeError(f"{term.name} is a {other}, and no {kind}.", f"`linbp list {kind}s` lists them.")
    return term


def build(term: Term) -> Any:
    """What a term stands for: a tuple of parts if it names a recipe, or one part.

    Raises:
        RecipeError: an unknown name or parameter, a missing parameter, or a value that the part refuses.
    """
    kind, maker = find(term.name)
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
    with typed((lambda own: term.name) if kind == "recipe" else str):
        try:
            made = maker(**term.options)
        except LinbpError:
            raise
        except Exception as fault:  # of another package, or a value of a kind that the part does not check
            raise RecipeError(
                f"{term.text or term.name} cannot be made: {type(fault).__name__}: {fault}".rstrip(". ") + ".",
                f"`linbp show {term.name}` lists its parameters and what they may be.",
            ) from fault
    wrong = [one for one in (made if isinstance(made, tuple) else (made,)) if not is_part(one)]
    if wrong:
        raise RecipeError(
            f"{term.name} of {maker.__module__} gives {wrong[0]!r}, which is no part.",
            "Make it a class with the decorator linbp.registry.part, or a function that returns a tuple of parts.",
        )
    return made


def write(part: Any) -> str:
    """A part as the grammar reads it, with the parameters that differ from the default.

    A rule that is no registered part, which no recipe can name, is written as its class with its attributes.
    """
    if not is_part(part):
        facts = ", ".join(f"{name}={write_value(value)}" for name, value in getattr(part, "__dict__", {}).items())
        return f"{type(part).__qualname__}({facts})"
    given = []
    for known in dataclasses.fields(part):
        value = getattr(part, known.name)
        if known.default is dataclasses.MISSING or value != known.default:
            given.append(f"{known.name}={write_value(value)}")
    return grammar_name(part) + (f"({', '.join(given)})" if given else "")


def write_first(part: Any) -> str:
    """A part as `parse_part` reads it: its first parameter without a name, also where it is the default."""
    first, *_ = [known.name for known in dataclasses.fields(part)] or [""]
    if not first or getattr(part, first) is None:
        return write(part)
    given = [write_value(getattr(part, first))]
    given += [
        f"{known.name}={write_value(value)}"
        for known in dataclasses.fields(part)
        if known.name != first and (value := getattr(part, known.name)) != known.default
    ]
    return f"{grammar_name(part)}({', '.join(given)})"


def write_value(value: Any) -> str:
    """A parameter's value as the grammar reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, float):
        return write_number(value)
    if isinstance(value, str):
        match = TOKEN.fullmatch(value)
        plain = match is not None and match["name"] is not None and value == match["name"] and value not in WORDS
        if plain:
            return value
        return f"'{value}'" if "'" not in value else json.dumps(value)
    return repr(value)


def write_number(value: float) -> str:
    """A number as people write it, `8/7` and `8/255` among them, that is read back to the same bits."""
    plain = repr(value)
    if len(plain) > LONG and math.isfinite(value):
        fraction = Fraction(value).limit_denominator(LARGEST)
        if fraction and fraction.numerator / fraction.denominator == value:
            return f"{fraction.numerator}/{fraction.denominator}"
    return plain


def _parameters(maker: Callable[..., Any]) -> dict[str, bool]:
    """The parameters of a part or a named recipe, and whether each must be given."""
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(maker).parameters.items()
    }


class _Parser:
    """Reads a recipe, or one part of another kind, whose first parameters may stand without their names."""

    def __init__(self, text: str, kind: Kind = "recipe") -> None:
        self.text, self.at, self.kind = text, 0, kind

    def part(self) -> Term:
        if not self.text.strip():
            self._fail(f"expected the name of a {self.kind}")
        found = self._term()
        if self.text[self.at :].strip():
            self._fail("expected the end")
        return found

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
            self._fail("expected the name of a recipe or part" if self.kind == "recipe" else f"expected a {self.kind}")
        options: dict[str, Any] = {}
        texts: list[str] = []
        if self._sign("("):
            while not self._sign(")"):
                key = self._key(name, len(options))
                if key is None:
                    self._fail(f"expected a parameter's name, as in {name}({_first_parameter(name)}=...),")
                if key in options:
                    raise RecipeError(f"{name} is given {key} twice.", "Leave one out.")
                if not self._unnamed and not self._sign("="):
                    self._fail(f"expected = after {key}")
                options[key], text = self._value()
                texts.append(f"{key}={text}")
                if not self._sign(",") and self._peek() != ")":
                    self._fail("expected , or )")
        return Term(name, options, name + (f"({', '.join(texts)})" if texts else ""))

    def _key(self, name: str, given: int) -> str | None:
        """The name of the next parameter: written before an equals sign, or that of the place."""
        self._unnamed = False
        before = self.at
        key = self._take("name")
        if self.kind == "recipe" or (key is not None and self._peek() == "="):
            return key
        self.at, self._unnamed = before, True
        known = list(_parameters(names(self.kind)[name])) if name in names(self.kind) else []
        if known and given >= len(known):
            raise RecipeError(f"{name} takes no more than {len(known)}.", f"They are {', '.join(known)}.")
        return known[given] if known else f"parameter {given + 1}"

    def _value(self, depth: int = 0) -> tuple[Any, str]:
        """A value, and how it is written."""
        if depth > NESTED:
            self._fail("expected no more lists inside lists")
        if self._sign("["):
            items = []
            while not self._sign("]"):
                items.append(self._value(depth + 1))
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
        try:
            if bottom:
                return float(top) / int(bottom)
            return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        except ZeroDivisionError:
            self._fail("division by zero")
        except (ValueError, OverflowError):
            self._fail("expected a smaller number")

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
        shown = self.text if len(self.text) <= SHOWN else f"{self.text[:SHOWN]}..."
        foreign = next((character for character in self.text[place:] if not character.isspace()), "")
        raise RecipeError(
            f"The {self.kind} {shown!r} cannot be read: {expected} {where}.",
            ("" if foreign.isascii() else _ascii_hint(foreign))
            + (
                "A recipe is a sum of names with parameters, such as linbp(start=layer3.1) + di + mi."
                if self.kind == "recipe"
                else f"A {self.kind} is a name with parameters, such as name(75) or name(parameter=75)."
            ),
        )


def _first_parameter(name: str) -> str:
    try:
        return next(iter(_parameters(find(name)[1])), "name")
    except RecipeError:
        return "name"


def _ascii_hint(character: str) -> str:
    """What to type instead of a character that looks like one of the grammar's."""
    name = unicodedata.name(character, "a character without a name").lower()
    plain = unicodedata.normalize("NFKC", character)
    instead = f": type {plain}" if plain.isascii() and plain.isprintable() else ""
    return f"{character!r} is {name}, and recipes are written in ASCII{instead}. "
