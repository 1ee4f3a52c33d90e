"""The cached table of an analysis in its usual settings, read without torch: for a terminal that only looks.

`cached` vouches for what `interp.analysis.stream.analyse` would return without measuring anything, by the same checks:
every byte of header, metrics, checkpoints and table, and the key of the analysis. It has nothing where any of them
fails, where code from outside may be involved, where the run was trained with interventions, or where the model is so
large that other settings are usual: then the long way answers, and says what is wrong. Keys of usual settings are kept
in `KEYS`, since a class that states them loads torch; `python -m interp.analysis.cached` prints them, and a test holds
them to the classes.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from interp.analysis import nameable
from interp.analysis.applies import large
from interp.analysis.registry import entry
from interp.analysis.result import Result
from interp.analysis.schema import conformed, upgraded
from interp.io.tables import Stamp, read_table
from interp.io.whole import whole
from interp.runs.steps import resolve
from interp.runs.stored import StoredRun, stated
from tasks.errors import UserError

KEYS = {
    "scores": "45a2c9b8f4c6d53e",
    "heads": "fe472afc441af03f",
    "head-statistics": "4ef87003f2200846",
    "chain": "999ab711fcb69776",
    "roles": "abc34fca375e5562",
    "mechanism": "bff849994e41fd5f",
    "composition": "2fa7c564498465de",
}
ELSEWHERE = ("language-model", "adopted")  # kinds whose weights lie in files that are checked as well
OUTSIDE = ("ALGOSCOPE_TASKS", "ALGOSCOPE_MODELS", "ALGOSCOPE_ANALYSES")


def cached(path: Path, name: str, steps: str = "all") -> Result | None:
    """The rows of an analysis for some steps, under the run's name; None where they are not all there and sound."""
    head = stated(path)
    if name not in KEYS or head is None or any(os.environ.get(variable) for variable in OUTSIDE):
        return None
    if "recorded" in head.settings or head.settings.get("train", {}).get("clamps"):
        return None
    model = head.settings["model"]
    if model["kind"] in ELSEWHERE or large(SimpleNamespace(**model)):
        return None
    run = StoredRun(path, head)
    try:
        asked = resolve(run, steps)
        found = read_table(run.table_path(name))
    except UserError:
        return None
    if found is None or not _holds(run, name, found[1], asked):
        return None
    table = _rows(run, name, found[0], asked)
    if name != "heads":
        return Result(name, table, entry(name).caption)
    known = nameable.read(run.analysis_path, run.config_hash)
    if known is None:
        return None
    named = nameable.reachable(pd.DataFrame(table), known)
    return Result(name, table, entry(name).caption, named=named)


def _holds(run: StoredRun, name: str, stamp: Stamp, steps: tuple[int, ...]) -> bool:
    """Whether a table is of these weights, the usual settings and this package's code, measured on a cpu."""
    if (stamp.analysis, stamp.key, stamp.config, stamp.code) != (name, KEYS[name], run.config_hash, ""):
        return False
    return not any(step in stamp.devices or stamp.checkpoints.get(step) != _hash(run, step) for step in steps)


def _hash(run: StoredRun, step: int) -> str | None:
    """The hash of a checkpoint's weights, every byte read; of a copy without them as the metrics state it."""
    if run.weightless:
        return run.stated_weights.get(step)
    facts = whole(run.checkpoint_path(step), run.facts(step))
    return None if facts is None else facts["hash"]


def _rows(run: StoredRun, name: str, table: pd.DataFrame, steps: tuple[int, ...]) -> pd.DataFrame:
    table = conformed(name, upgraded(nameless(table)))
    return chosen(table, steps, run.path.resolve().name)


def nameless(table: pd.DataFrame) -> pd.DataFrame:
    """Rows without what the run was called when they were measured (tables of version 0.1 hold it)."""
    return table.drop(columns="run", errors="ignore")


def chosen(table: pd.DataFrame, steps: Any, name: str) -> pd.DataFrame:
    """The rows of some steps, and those of none, under a run's name."""
    found = table[table["step"].isna() | table["step"].isin(list(steps))].reset_index(drop=True)
    found.insert(0, "run", name)
    return found


def usual_keys() -> dict[str, str]:
    """The keys that `KEYS` has to hold, from the classes."""
    return {name: entry(name).load()().key for name in KEYS}


if __name__ == "__main__":
    for name, key in usual_keys().items():
        print(f'    "{name}": "{key}",')
