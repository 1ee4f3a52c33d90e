"""Tables and circuits that older versions wrote, in today's words: names are mapped on reading, files stay.

Owns which names of which analysis changed between formats, by the registry of `tasks.renamed`. Format 1 is that of
version 0.1; format 2, of development versions, keeps no run's name; format 3 has the field's words. Only tables of the
package's own analyses are mapped, by their name: a word in somebody else's table is theirs. What it does not show: a
number whose meaning changed has another version of its analysis, and is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tasks.renamed import RENAMED

FORMAT = 3
VALUES = {  # columns whose values changed, by analysis: column -> kind of name
    "scores": {"control": "control"},
    "patch": {"metric": "metric"},
    "circuit": {"metric": "metric"},
}
NOTES = {"are not told apart": "do not differ significantly"}
NOTED = ("circuit", "patch")  # analyses whose notes have these words
COLUMNS = ("roles",)  # analyses with a column of another name


def in_words(table: pd.DataFrame, analysis: str, written: int) -> pd.DataFrame:
    """A table of an analysis that was written in a format, in the words of today's."""
    if written >= FORMAT:
        return table
    if analysis in COLUMNS:
        table = table.rename(columns=RENAMED["column"])
    for column, kind in VALUES.get(analysis, {}).items():
        if column in table:
            table = table.assign(**{column: table[column].replace(RENAMED[kind])})
    if analysis in NOTED and "note" in table:
        table = table.assign(note=table["note"].replace(NOTES, regex=True))
    return table


def formerly(settings: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Settings under their former names (`names`: today's to former) and with former values: what keys hash, so that a
    table is found under the key that it was given."""
    values = {new: old for old, new in RENAMED["metric"].items()}
    return {
        names.get(name, name): values.get(value, value) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def settings_in_words(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an analysis or a search under today's names, metrics in today's words."""
    found = {RENAMED["setting"].get(name, name): value for name, value in settings.items()}
    if isinstance(found.get("metric"), str):
        found["metric"] = RENAMED["metric"].get(found["metric"], found["metric"])
    return found
