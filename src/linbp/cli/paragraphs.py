"""Docstrings, wrapped to the width of the terminal."""

from __future__ import annotations

import re
import textwrap

__all__ = ["filled"]

SECTION, LIST_ITEM = re.compile(r"[A-Z]\w+:"), re.compile(r"- ")


def filled(text: str, width: int) -> str:
    """Wrap the paragraphs, list items and arguments of a docstring; formulas, which are indented, stay.

    Args:
        text: the docstring, without the indentation of the code.
        width: characters per line.
    """
    blocks: list[tuple[int, list[str]]] = []  # how far all lines but the first are indented, and the words
    in_section = False
    for line in text.splitlines():
        indent, words = len(line) - len(line.lstrip()), line.strip()
        if not words:
            in_section = False
        elif SECTION.fullmatch(words) and not indent:
            in_section = True
        last_hang = blocks[-1][0] if blocks and blocks[-1][1] != [""] else -1
        if not words or (indent and not in_section and indent != last_hang):
            blocks.append((-1, [line]))
        elif in_section and indent == 4:
            blocks.append((8, [line]))
        elif LIST_ITEM.match(words) and not indent:
            blocks.append((2, [line]))
        elif (indent == last_hang and not SECTION.fullmatch(words)) or (last_hang == 0 and not indent):
            blocks[-1][1].append(words)
        else:
            blocks.append((-1 if SECTION.fullmatch(words) else 0, [line]))
    return "\n".join(_fill(hang, words, width) for hang, words in blocks)


def _fill(hang: int, lines: list[str], width: int) -> str:
    if hang < 0:
        return lines[0]
    return textwrap.fill(
        " ".join(lines), width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
    )
