"""Several runs together: scores, onsets, roles and circuits aligned, with intervals over training seeds.

`compare` takes runs that differ in their seeds. Up to three runs have a range and no 95% interval (`probes.seeds`); a
run that is there twice counts once. A head's number means nothing in another seed, so heads are compared by what they
do: the strongest head of each relation, and how many heads of a role are needed. Circuits share edges by number only,
so their overlap is stated with that of matched random circuits of the same sizes.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.conclusion import Sentence
from interp.analysis.registry import entry
from interp.analysis.result import Result
from interp.causal.graph import edges as edges_of
from interp.causal.over_training import circuit_at
from interp.causal.random_circuits import chance_overlap
from interp.causal.stability import jaccard
from interp.emergence.choices import Of
from interp.heads.heads import has_roles
from interp.run import Run, load
from interp.runs.names import distinct
from interp.sweep.bounds import possible
from interp.sweep.conclusions import ONSET
from interp.sweep.onsets import MEDIANS, onset_tables
from probes.seeds import over_seeds
from tasks.errors import UserError

Runs = Sequence[Run | str | Path]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: each part is a `Result` with its own table, conclusion and plot; None where it does not apply.

    `scores` over training, `onsets` (medians), `roles` (strongest head of each relation, needed heads of each role) and
    `circuits` (size and faithfulness of each run's circuit, and their overlap).
    """

    runs: tuple[str, ...]
    scores: Result
    onsets: Result | None
    roles: Result | None
    circuits: Result | None

    @property
    def parts(self) -> tuple[Result, ...]:
        """The parts that there are."""
        return tuple(
            part for part in (self.scores, self.onsets, self.roles, self.circuits) if part is not None
        )

    @property
    def conclusion(self) -> tuple[Sentence, ...]:
        """What the parts conclude."""
        return tuple(sentence for part in self.parts for sentence in part.conclusion)

    def plot(self, ax: Any = None) -> Any:
        """Scores over training with their limits over runs, by matplotlib."""
        return self.scores.plot(ax)

    def __repr__(self) -> str:
        shown = [f"{part.caption}\n{part.table.tail(part.rows_shown)}" for part in self.parts]
        return "\n\n".join(["\n".join(map(str, self.conclusion)), *shown])

    def _repr_html_(self) -> str:
        first = html.escape(f"{len(self.runs)} runs: {', '.join(self.runs)}")
        return f"<p>{first}</p>" + "".join(part._repr_html_() for part in self.parts)


def compare(runs: Runs, *, circuits: bool = True, progress: Progress | None = None) -> Comparison:
    """Runs that differ in their seeds, aligned at the checkpoints that all of them have.

    `runs`: runs or their folders. Without `circuits` no circuit is searched (seconds a run). Raises UserError for fewer
    than two different runs, for other tasks than the first one's, and for runs that share no checkpoint.
    """
    opened = together(runs)
    shared = _shared(opened)
    names = tuple(run.name for run in opened)
    scores = [run.scores(shared, progress).table for run in opened]
    with_heads = all(has_roles(run.config.model, run.task) for run in opened)
    return Comparison(
        names,
        Result(
            "scores over runs",
            _means(scores, ["step", "position", "metric", "control"]),
            _caption(len(opened)),
        ),
        emergence(opened, shared, progress=progress) if len(shared) > 2 else None,
        _roles(opened, shared[-1], progress) if with_heads else None,
        _circuits(opened, shared[-1], progress) if circuits and _searchable(opened) else None,
    )


def emergence(
    runs: Runs, steps: Any = "all", *, of: Of = "skills", progress: Progress | None = None
) -> Result:
    """Median onset of every event over runs, with exact limits (order statistics); what never emerged is
    right-censored.

    An event is an output position's score, or the first head to take a role. Raises UserError for runs with other
    checkpoints, and as `compare`.
    """
    return onsets_result(onset_tables(together(runs), of, steps, progress))


def onsets_result(tables: Mapping[str, pd.DataFrame]) -> Result:
    """The medians of `onset_tables`, with how firmly hops keep their order."""
    events, medians = tables["events"], tables[MEDIANS].assign(metric=ONSET, unit="steps")
    table = pd.concat([medians, tables.get("order of the hops", medians.iloc[:0])], ignore_index=True)
    table = table.assign(step=float(events["last"].max()), control="none")
    return Result(
        "emergence over runs", table, _caption(events["run"].nunique(), "medians", "by order statistics")
    )


def together(runs: Runs) -> list[Run]:
    """The runs, opened and each counted once. Raises UserError for fewer than two, and for several tasks."""
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    if len(opened) < 2:
        raise UserError(f"a comparison needs at least two runs, not {len(opened)}")
    for run in opened[1:]:
        if run.task.output_names != opened[0].task.output_names or run.task.kind != opened[0].task.kind:
            raise UserError(
                f"{run.path}: another task than that of {opened[0].path}; compare runs of one task"
            )
    return distinct(opened)


def _shared(runs: Sequence[Run]) -> list[int]:
    found = sorted(set.intersection(*(set(run.steps) for run in runs)))
    if not found:
        raise UserError(f"{', '.join(str(run.path) for run in runs)}: have no checkpoint in common")
    return found


def _caption(n: int, what: str = "Mean", how: str = "") -> str:
    limits = (
        "their range (too few runs for a 95% interval)"
        if n < 4
        else f"95% intervals{f' {how}' if how else ''}"
    )
    return f"{what.capitalize()} over {n} runs; limits are {limits}."


def _means(tables: Sequence[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Mean over runs of what all of them have, by `keys`, with limits and what these are."""
    joined = pd.concat([table.assign(_run=i) for i, table in enumerate(tables)], ignore_index=True)
    rows = []
    for values, part in joined.groupby(keys, sort=False, dropna=False):
        part = part.dropna(subset=["value"])
        if part["_run"].nunique() == len(tables):
            found = over_seeds(part["value"].tolist(), *possible(part))
            unit = part["unit"].iloc[0] if "unit" in part else ""
            rows.append(
                {**dict(zip(keys, values, strict=True)), **found.row(), "unit": unit, "method": found.method}
            )
    return pd.DataFrame(rows)


def _roles(runs: Sequence[Run], step: int, progress: Progress | None) -> Result | None:
    """The strongest head on each relation, and how many heads of each role are needed, at one checkpoint."""
    scored, needed = [], []
    for run in runs:
        table = run.heads(step, progress).table
        own = table[table["control"] == "none"]
        scored.append(own.groupby(["metric", "unit"], sort=False, as_index=False)["value"].max())
        roles = run.roles(step, progress).table
        counts = roles[roles["role"] != ""].assign(value=(roles["verdict"] == "needed").astype(float))
        needed.append(counts.groupby("role", sort=False, as_index=False)["value"].sum())
    every = list(dict.fromkeys(role for table in needed for role in table["role"]))
    full = [t.set_index("role")["value"].reindex(every, fill_value=0.0).reset_index() for t in needed]
    parts = [_means(scored, ["metric"]).rename(columns={"metric": "role"}).assign(metric="strongest head")]
    if every:
        counted = _means([t.assign(unit="heads") for t in full], ["role"])
        parts.append(counted.assign(metric="needed heads"))
    table = pd.concat(parts, ignore_index=True).assign(step=float(step), control="none")
    return Result("roles over runs", table, _caption(len(runs)))


def _searchable(runs: Sequence[Run]) -> bool:
    return all(entry("circuit").applies_to(run.config.model, run.task) for run in runs)


def _circuits(runs: Sequence[Run], step: int, progress: Progress | None) -> Result:
    """Each run's circuit, and the mean overlap of every two."""
    rows, found = [], []
    for run in runs:
        table = run.circuit(steps=step, progress=progress).table
        own = table[(table["metric"] == "faithfulness") & (table["control"] == "none")]
        circuit = circuit_at(table, step)
        found.append(circuit)
        limits = (
            own[["value", "ci_low", "ci_high", "n"]].iloc[0].to_dict()
            if len(own)
            else {"value": float("nan")}
        )
        rows.append({"run": run.name, "metric": "faithfulness", "edges": float(len(circuit.edges)), **limits})
    table = pd.DataFrame(rows).assign(control="none", unit="share of the behaviour")
    if all(circuit.edges for circuit in found):
        every = edges_of(runs[0].untrained_model())
        chance = chance_overlap(every, [circuit.edges for circuit in found])
        shared = {"metric": "edge overlap", "unit": "Jaccard", "n": float(len(runs))}
        overlap = [{**shared, "control": "none", "value": jaccard(found)},
                   {**shared, "control": "matched random", "value": chance}]  # fmt: skip
        table = pd.concat([table, pd.DataFrame(overlap)], ignore_index=True)
    caption = "Circuit of each run (95% CI over prompts), and overlap of every two; head numbers permute over seeds."
    return Result("circuits over runs", table.assign(step=float(step)), caption)
