"""Views of heads by name, with the method of a run that measures each; imports nothing heavy, so that help is quick."""

from __future__ import annotations

from typing import Literal

View = Literal[
    "relations",
    "statistics",
    "chain",
    "patterns",
    "roles",
    "circuits",
    "growth",
    "damage",
    "composition",
    "attribution",
]
METHODS: dict[str, str] = {
    "relations": "heads",
    "statistics": "head_statistics",
    "chain": "chain",
    "patterns": "patterns",
    "roles": "roles",
    "circuits": "mechanism",
    "growth": "hop_growth",
    "damage": "damage",
    "composition": "composition",
    "attribution": "output_attribution",
}
NO_PROMPTS = ("chain", "composition")  # views that take no number of prompts: of all shared ones, of weights
