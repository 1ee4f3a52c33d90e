"""Docstrings for Sphinx: plain text with `code`, worked examples and indented blocks becomes reStructuredText.

The docstrings of this project are written to be read in an editor: a backtick marks code, an asterisk is an asterisk
and a bar is a norm. Here whatever reStructuredText would take for markup is escaped.
"""

from __future__ import annotations

import re
from itertools import groupby

from sphinx.application import Sphinx

MARKUP = re.compile(r"([*|\\]|(?<=\w)_(?=\W|$))")


def escaped(line: str) -> str:
    """A line in which only `code` is markup."""
    parts = re.split(r"(`+[^`]*`+)", line)
    kept = []
    for number, part in enumerate(parts):
        if number % 2:
            code = part.strip("`").strip()
            kept.append(f"``{code}``" if code else "")
        else:
            kept.append(MARKUP.sub(r"\\\1", part.replace("`", "'")))
    for number in range(1, len(kept), 2):  # a literal ends where a word goes on
        if re.match(r"\w", kept[number + 1]):
            kept[number + 1] = "\\ " + kept[number + 1]
    return "".join(kept)


def paragraphs(lines: list[str]) -> list[list[str]]:
    return [list(block) for filled, block in groupby(lines, key=lambda line: bool(line.strip())) if filled]


def restructured(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText: paragraphs, worked examples (>>>) and indented blocks as they stand."""
    out: list[str] = []
    for block in paragraphs(lines):
        indent = min(len(line) - len(line.lstrip()) for line in block)
        if block[0].lstrip().startswith(">>>"):
            out += [line[indent:] for line in block]
        elif indent:
            out += ["::", "", *(f"    {line[indent:]}" for line in block)]
        else:
            first = next((k for k, line in enumerate(block) if line.startswith(" ")), len(block))
            listed = bool(re.match(r"(?:[-*]|\d+\.) ", block[0]))
            if listed:
                out += [escaped(line) if line.startswith(" ") else marked(line) for line in block]
            else:
                out += [escaped(line) for line in block[:first]]
                if first < len(block):
                    out += ["", "::", "", *(f"    {line.strip()}" for line in block[first:])]
        out.append("")
    return out


def marked(line: str) -> str:
    mark, _, rest = line.partition(" ")
    return f"{mark} {escaped(rest)}"


def process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
