"""The same questions asked of each group of prompts apart: one table, a column `group` saying whose rows they are.

Groups are the values of an attribute of the prompts that their task knows (`Task.attributes`): the hops asked for, a
length, a template. Intervals are those of each group alone; nothing is corrected for their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from interp.analysis.result import GROUP, Result
from tasks.errors import UserError


class Groups:
    """Runs by group, with the analyses of a run as methods: `run.by("hops").heads()`."""

    def __init__(self, attribute: str, runs: Mapping[str, Any]):
        self.attribute, self.runs = attribute, dict(runs)

    def __repr__(self) -> str:
        return f"Groups({', '.join(self.runs)})"

    def __getattr__(self, name: str) -> Callable[..., Result]:
        if name.startswith("_") or not all(callable(getattr(run, name, None)) for run in self.runs.values()):
            raise AttributeError(f"a run by groups has no analysis {name!r}")

        def asked(*args: Any, **settings: Any) -> Result:
            found = {label: getattr(run, name)(*args, **settings) for label, run in self.runs.items()}
            return joined(found)

        return asked


def joined(results: Mapping[str, Any]) -> Result:
    """One result of several groups'. Raises UserError for what is no table."""
    if not all(isinstance(found, Result) for found in results.values()):
        raise UserError("only tables can be asked by groups: ask each of them in `runs`")
    first = next(iter(results.values()))
    tables = []
    for label, found in results.items():
        table = found.table.copy()
        table.insert(min(3, table.shape[1]), GROUP, label)
        tables.append(table)
    return Result(first.name, pd.concat(tables, ignore_index=True), first.caption)
