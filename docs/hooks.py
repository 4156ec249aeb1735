"""Fills pages from the code while the site is built: a new part or source appears by itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

KINDS = {
    "recipe": ("Named recipes", "A name for a sum of parts, with the defaults of its paper."),
    "rule": ("Rules", "How gradients pass activations, residual branches and max-pools."),
    "transform": ("Transforms", "What is done to the input before a gradient is taken."),
    "objective": ("Objectives", "What the attack increases, one number per image."),
    "estimator": ("Estimators", "How several gradients become one."),
    "update": ("Updates", "How a gradient becomes a step."),
    "start": ("Starts", "Where the first step begins."),
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers on a page by what the registries hold."""
    made = {
        "<!-- every part -->": every_part,
        "<!-- every defence -->": every_defence,
        "<!-- every source -->": every_source,
        "<!-- every field of results.json -->": every_field,
    }
    for marker, make in made.items():
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(make()))
    return markdown


def every_part() -> Iterator[str]:
    """A section for each kind of part, and in it each part with its signature and docstring."""
    import linbp.attack  # noqa: F401  (registers the parts)
    from linbp.registry import kinds, names

    for kind in kinds():
        if kind == "defence":
            continue
        title, meaning = KINDS.get(kind, (f"{kind.capitalize()}s", ""))
        yield from (f"## {title}", "", meaning, "")
        for name, thing in names(kind).items():
            alone = next((other for other in kinds() if other != kind and names(other).get(name) is thing), None)
            if kind == "recipe" and alone is not None:
                yield from (
                    f"### `{name}` {{ #{kind}-{name} }}",
                    "",
                    f"The {alone} [`{name}`](#{alone}-{name}) alone.",
                    "",
                )
                continue
            yield from (f"### `{name}` {{ #{kind}-{name} }}", "", "```text", written(name, thing), "```", "")
            yield from (*docstring(thing), "")


def every_defence() -> Iterator[str]:
    """A section for each defence, with its signature and docstring."""
    import linbp.models.defences  # noqa: F401  (registers them)
    from linbp.registry import names

    for name, thing in names("defence").items():
        yield from (f"### `{name}` {{ #defence-{name} }}", "", "```text", written(name, thing), "```", "")
        yield from (*docstring(thing), "")


def every_source() -> Iterator[str]:
    """A table row for each source of networks."""
    from linbp.models import SOURCES

    yield from ("| source | how a network is named |", "|---|---|")
    for name, forms in SOURCES.items():
        yield f"| {name} | {forms} |"


def every_field() -> Iterator[str]:
    """A table row for each field of an audit's results.json, two levels deep."""
    from linbp.report.audit.json import schema

    yield from ("| field | what it is |", "|---|---|")
    for name, field in schema()["properties"].items():
        yield f"| `{name}` | {field.get('description', 'always ' + json.dumps(field.get('const')))} |"
        inside = next((one for one in field.get("oneOf", ()) if "properties" in one), field)
        inside = inside.get("items", inside)
        for inner, about in inside.get("properties", {}).items():
            yield f"| &emsp;`{inner}` | {about.get('description', 'a rate' if '$ref' in about else '')} |"


def written(name: str, thing: Callable[..., Any]) -> str:
    """A part in the grammar of recipes, with every default."""
    from linbp.registry.grammar import write_value

    parameters = [
        key if one.default is one.empty else f"{key}={write_value(one.default)}"
        for key, one in inspect.signature(thing).parameters.items()
    ]
    return f"{name}({', '.join(parameters)})" if parameters else name


def docstring(thing: Callable[..., Any]) -> list[str]:
    """A docstring as Markdown: sections become headings in bold, parameters become lists."""
    lines, section = [], ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Attributes:", "Raises:", "Returns:"):
            section = line
            lines += [{"Args:": "**Parameters**"}.get(line, f"**{line[:-1]}**"), ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            key, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{key}`: {rest}" if colon else f"- {line.strip()}")
        elif section and line.startswith("     "):
            lines.append(f"    {line.strip()}")
        else:
            lines.append(line)
    return lines
