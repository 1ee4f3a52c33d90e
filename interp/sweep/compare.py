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
from interp.emergence.choices import Of
from interp.heads.heads import has_roles
from interp.pictures.labels import relation_label
from interp.pictures.over_runs import EACH, ONSET, side_by_side
from interp.run import Run, load
from interp.runs.names import distinct
from interp.sweep import matched
from interp.sweep.matched import caption, means
from interp.sweep.onsets import MEDIANS, onset_tables
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
        """The parts side by side with their limits over runs, by matplotlib: their axes, in the order of `parts`. Into
        `ax` only the scores are drawn, and it is returned. Raises UserError where matplotlib is missing.
        """
        if ax is not None:
            return self.scores.plot(ax)
        drawn = side_by_side(len(self.parts))
        for part, place in zip(self.parts, drawn, strict=True):
            try:
                part.plot(place).set_title(part.name)
            except UserError as nothing:  # such as no onset at all
                place.set_axis_off()
                place.set_title(f"{part.name}: {nothing}", wrap=True)
        return drawn

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
            means(scores, ["step", "position", "metric", "control"]),
            caption(len(opened)),
        ),
        emergence(opened, shared, progress=progress) if len(shared) > 2 else None,
        matched.roles(opened, shared[-1], progress) if with_heads else None,
        matched.circuits(opened, shared[-1], progress) if circuits and _searchable(opened) else None,
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
    each = events.assign(event=events["event"].map(relation_label), metric=ONSET + EACH, unit="steps")
    each = each.rename(columns={"step": "value"}).drop(columns="last")
    parts = [medians, tables.get("order of the hops", medians.iloc[:0]), each]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    table = table.assign(step=float(events["last"].max()), control="none")
    words = caption(events["run"].nunique(), "medians", "by order statistics")
    return Result("emergence over runs", table, words)


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


def _searchable(runs: Sequence[Run]) -> bool:
    return all(entry("circuit").applies_to(run.config.model, run.task) for run in runs)
