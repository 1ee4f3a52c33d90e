"""A sweep's results as one table: the runs' tables concatenated, with the varied settings as columns.

Aggregates over seeds use `probes.stats.over_seeds`: a range up to three seeds, from there Student's t on a scale that
keeps inside of what the quantity can be. Missing runs are missing rows, and are named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from interp.analysis.kept import nameless
from interp.analysis.schema import conformed, upgraded
from interp.io.files import canonical, sha256, write_atomically
from interp.io.tables import Stamp, read_table, write_table
from interp.pictures import plots
from interp.run import Run, load
from interp.runs.header import NAME
from interp.sweep.bounds import possible
from interp.sweep.plan import Cell, SweepPlan, cells, plain
from probes.stats import over_seeds
from tasks.errors import UserError

PLAN = "sweep.json"
FAILURES = "failures.json"
KEYS = (
    "rank",
    "layer",
    "position",
    "site",
    "metric",
    "distribution",
    "strategy",
    "algorithm",
    "k",
    "target",
    "control",
    "split",
    "readout",
    "chain",
    "row",
    "column",
    "eigenvalue",
    "draw",
    "gamma",
    "step_size",
)


PAIRS = ("sender", "receiver")  # columns that name a head, or one of its inputs


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk: its plan, its runs, and its tables over all of them."""

    path: Path
    plan: SweepPlan
    failures: Mapping[str, str]

    @property
    def cells(self) -> list[Cell]:
        """Every run of the plan, whether it is there or not."""
        return cells(self.plan)

    @property
    def runs(self) -> list[Run]:
        """The runs that are there, in the order of the plan."""
        return [load(self.path / cell.name) for cell in self.cells if (self.path / cell.name / NAME).exists()]

    def table(self, name: str) -> pd.DataFrame:
        """One analysis over every run. Raises UserError when the sweep did not measure it."""
        found = read_table(self.path / "analysis" / f"{name}.parquet")
        if found is None:
            raise UserError(f"{self.path}: has no table {name!r}; it has {list(self.plan.analyses)}")
        return found[0]

    def over_seeds(self, name: str) -> pd.DataFrame:
        """Mean over seeds of every value of an analysis, with its limits and, in `method`, what they are: the range of
        two or three seeds, a 95% interval of more, nothing for a single one.

        One row for each combination of the varied settings, step and what else names a measurement; `n` counts seeds.
        A head's number means nothing across seeds, so heads are taken by their rank in their own run: `rank` 1 is the
        strongest head of a relation, whichever it is. Raises UserError for tables of pairs of heads, and for those in
        which a run has several rows of one name.
        """
        table = self.table(name)
        if odd := [column for column in PAIRS if column in table]:
            raise UserError(
                f"{name}: its rows are of pairs of heads ({', '.join(odd)}), which have no counterpart in another "
                "seed: compare what has one, such as over_seeds('heads') by rank or the roles of each run"
            )
        if "head" in table:
            table = _ranked(table, [*self.plan.varied, "run"])
        keys = [key for key in (*self.plan.varied[:-1], "step", *KEYS) if key in table.columns]
        if (twice := table["value"].notna() & table.duplicated([*keys, "run"])).any():
            named = {key: table[key][twice].iloc[0] for key in ("metric", "control") if key in table}
            raise UserError(
                f"{name}: a run has several rows of {named}, with no name of their own over seeds"
            )
        rows = []
        for values, part in table.groupby(keys, sort=False, dropna=False):
            found = over_seeds(part["value"].tolist(), *possible(part))
            rows.append({**dict(zip(keys, values, strict=True)), **found.row(), "method": found.method})
        return pd.DataFrame(rows)

    def plot(self, name: str, ax: Any = None) -> Any:
        """Mean over seeds of an analysis at each of the varied settings with its limits, drawn by matplotlib into `ax`
        or a new figure; of heads the strongest of each run. Returns the axes. Raises as `over_seeds`.
        """
        table, varied = self.over_seeds(name), list(self.plan.varied[:-1])
        if "rank" in table:
            table = table[table["rank"].isna() | (table["rank"] == 1)].drop(columns="rank")
        settings = [", ".join(f"{k} {v}" for k, v in row.items()) for row in table[varied].to_dict("records")]
        table = table.assign(condition=settings).drop(columns=varied)
        return plots.series(table, plots.new_axes() if ax is None else ax)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Sweep({self.path}: {len(self.runs)} of {self.plan.size} runs{failed})"


def _ranked(table: pd.DataFrame, run: list[str]) -> pd.DataFrame:
    """Rows of heads by their rank, largest value first, among the heads of their run; other rows stay as they are."""
    of = table["head"] >= 0
    same = [key for key in (*run, "step", *KEYS) if key in table and key not in ("layer", "rank")]
    rank = table[of].groupby(same, sort=False, dropna=False)["value"].rank(ascending=False, method="first")
    return table.assign(rank=rank).drop(columns=["layer", "head"])


def load_sweep(path: str | Path) -> Sweep:
    """The sweep in a folder. Raises UserError when there is none."""
    path = Path(path)
    return Sweep(path, read_sweep_file(path)[1], _failures(path / FAILURES))


def _failures(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, str]).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError):
        raise UserError(f"{path}: not what a sweep wrote; run the sweep again") from None


def read_sweep_file(path: Path) -> tuple[str, SweepPlan]:
    """The version that made the sweep in a folder, and its plan. Raises UserError when there is none."""
    try:
        document = json.loads((path / PLAN).read_text(encoding="utf-8"))
        return str(document["version"]), SweepPlan.model_validate(document["plan"])
    except FileNotFoundError:
        raise UserError(f"{path}: holds no sweep ({PLAN} is missing)") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{path / PLAN}: not a sweep's plan; make the sweep again into another folder"
        ) from None


def gather(plan: SweepPlan, out: Path, todo: Sequence[Cell], failures: Mapping[str, str]) -> Sweep:
    """Write the sweep's tables from its runs' tables, in the order of the plan, and the reasons of failures."""
    for name in plan.analyses:
        _gather_one(plan, out, [cell for cell in todo if cell.name not in failures], name)
    write_atomically(out / FAILURES, canonical(dict(failures)).encode() + b"\n")
    return Sweep(out, plan, failures)


def _gather_one(plan: SweepPlan, out: Path, done: Sequence[Cell], name: str) -> None:
    parts: list[pd.DataFrame] = []
    stamps: dict[str, str] = {}
    for cell in done:
        found = read_table(load(out / cell.name).folder.table_path(name))
        if found is not None:
            rows = conformed(found[1].analysis, upgraded(nameless(found[0])))
            rows = rows.assign(**{key: plain(value) for key, value in cell.varied.items()})
            rows.insert(0, "run", cell.name)  # out of what varies, not where the folder lies
            parts.append(rows)
            stamps[cell.name] = sha256(found[1].model_dump_json())
    if parts:
        plan_hash = sha256(plan.model_dump_json())
        stamp = Stamp(
            analysis=name, key="sweep", config=plan_hash, checkpoints={}, settings={"stamps": stamps}
        )
        write_table(out / "analysis" / f"{name}.parquet", pd.concat(parts, ignore_index=True), stamp)


def _plain(value: Any) -> Any:
    """A varied setting as a cell of a table; lists as text."""
    return canonical(value) if isinstance(value, (list, tuple, dict)) else value
