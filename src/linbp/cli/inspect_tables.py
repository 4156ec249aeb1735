"""The tables of `linbp inspect`."""

from __future__ import annotations

from typing import Any

from linbp.cli.output import add_row, counted, make_table, stdout

__all__ = ["print_places"]

MOST_SIZES = 6
"""Of a concatenation's operands: more are counted."""


def print_places(facts: dict[str, Any]) -> None:
    """Print what `linbp inspect --json` says as tables, with what LinBP can start from."""
    from linbp.registry.grammar import write_value

    console, model = stdout(), facts["model"]
    console.print(
        f"{model['name']}: {facts['classes']} classes, input {' x '.join(map(str, model['input_size']))}, "
        f"{_counts(facts)}, "
        f"weights {model['weights_sha256'][:12]}",
        markup=False,
    )
    for note in model["notes"]:
        console.print(f"Note: {note}", markup=False)
    sites = make_table(
        "index", "fraction", "op", "module path", "shape", "kind", "junction", title="Sites, in execution order"
    )
    for site in facts["sites"]:
        add_row(
            sites,
            str(site["index"]),
            f"{site['fraction']:.3f}",
            site["op"],
            _path(site),
            _shape(site),
            site["kind"],
            "" if site["junction"] is None else str(site["junction"]),
        )
    console.print(sites)
    for title, columns, rows in (
        ("Junctions: the sums of residual blocks", JUNCTIONS, [_junction(one) for one in facts["junctions"]]),
        ("Max-pools", POOLS, [_pool(one) for one in facts["pools"]]),
        ("Attention", ATTENTIONS, [_attention(one) for one in facts["attentions"]]),
        ("Softmaxes", SOFTMAXES, [_softmax(one) for one in facts["softmaxes"]]),
        ("Concatenations", CONCATENATIONS, [_concatenation(one) for one in facts["concatenations"]]),
        ("Feature maps", FEATURE_MAPS, [(_path(one), _shape(one)) for one in facts.get("feature_maps", [])]),
    ):
        if rows:
            table = make_table(*columns, title=title)
            for row in rows:
                add_row(table, *row)
            console.print(table)
    if "image" in facts:
        look = facts["image"]
        top = ", ".join(f"{_named(entry)} ({entry['probability']:.1%})" for entry in look["top"])
        console.print(f"{look['file']}: predicted {top}", markup=False)
        console.print(
            f"ordinary gradient at the first class: L2 norm {look['gradient_l2']:.4g}, "
            f"{look['gradient_zero_share']:.1%} of its entries are zero"
        )
    if facts["sites"]:
        index = facts["sites"][len(facts["sites"]) // 2]["index"]
        path = next((one["module_path"] for one in facts["sites"][index:] if one["module_path"]), "")
        console.print(
            f"Where LinBP can start: an index (linbp(start={index})), a fraction (linbp(start=0.5))"
            + (f", a module path (linbp(start={write_value(path)}))." if path else "."),
            markup=False,
        )
    if facts["published"]:
        known = facts["published"]
        console.print(f"start=default is {known['start']} ({known['network']}: {known['source']}).", markup=False)


def _named(entry: dict[str, Any]) -> str:
    return f"class {entry['class']}" + (f" {entry['name']}" if entry["name"] else "")


JUNCTIONS = ("junction", "module path", "fork", "sites in branch", "skip", "closed")
POOLS = ("max-pool", "module path", "kernel", "stride", "shape")
ATTENTIONS = ("attention", "module path", "logits", "rows an image", "fused", "junction", "closed")
SOFTMAXES = ("softmax", "module path", "axis", "shape")
CONCATENATIONS = ("concatenation", "module path", "axis", "sizes", "shape")
FEATURE_MAPS = ("module path", "shape")


def _counts(facts: dict[str, Any]) -> str:
    """How many places of each kind there are; kinds that only some networks have where there are any."""
    always = [("sites", "sites"), ("junctions", "junctions"), ("pools", "max-pools")]
    some = [("attentions", "attention"), ("concatenations", "concatenation")]
    words = [f"{len(facts[kind])} {name}" for kind, name in always]
    return ", ".join([*words, *(counted(len(facts[kind]), name) for kind, name in some if facts[kind])])


def _path(one: dict[str, Any]) -> str:
    return one["module_path"] or "(top)"


def _shape(one: dict[str, Any], name: str = "shape") -> str:
    return "x".join(map(str, one[name]))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _junction(one: dict[str, Any]) -> tuple[str, ...]:
    sites = " ".join(map(str, one["sites"])) or "none"
    return str(one["index"]), _path(one), one["fork_path"] or "(input)", sites, one["skip"], _yes(one["closed"])


def _pool(one: dict[str, Any]) -> tuple[str, ...]:
    return str(one["index"]), _path(one), _shape(one, "kernel"), _shape(one, "stride"), _shape(one)


def _attention(one: dict[str, Any]) -> tuple[str, ...]:
    junction = "" if one["junction"] is None else str(one["junction"])
    place = str(one["index"]), _path(one), _shape(one), str(one["groups"])
    return *place, _yes(one["fused"]), junction, _yes(one["closed"])


def _softmax(one: dict[str, Any]) -> tuple[str, ...]:
    return str(one["index"]), _path(one), str(one["axis"]), _shape(one)


def _concatenation(one: dict[str, Any]) -> tuple[str, ...]:
    sizes = [str(size) for size in one["sizes"]]
    if len(sizes) > MOST_SIZES:
        sizes = [*sizes[: MOST_SIZES - 1], f"... ({len(sizes)})"]
    return str(one["index"]), _path(one), str(one["axis"]), " + ".join(sizes), _shape(one)
