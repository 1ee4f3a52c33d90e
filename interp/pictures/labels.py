"""Short names for tables and pictures, where there is room for one line or column only."""

from __future__ import annotations

import re


def relation_label(name: str) -> str:
    """A relation as tables, sentences and pages show it.

    >>> relation_label("query -> link_1")
    'query -> link 1'
    """
    return name.replace("_", " ")


def short_site(site: str) -> str:
    """`blocks.2.hook_resid_post` as `L2`, the stream before block 0 as `embed`, `(normalised)` behind either as `LN`;
    other sites keep their name.
    """
    parts = site.split(".")
    if len(parts) < 3 or parts[0] != "blocks":
        return site
    name = "embed" if parts[2].startswith("hook_resid_pre") else f"L{parts[1]}"
    return f"{name} LN" if site.endswith("(normalised)") else name


def natural(name: str) -> tuple[str | int, ...]:
    """A key by which names sort as people number them.

    >>> sorted(["x 10", "x 2"], key=natural)
    ['x 2', 'x 10']
    """
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name))
