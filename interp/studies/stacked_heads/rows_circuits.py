"""Rows of the study on circuits: ablation effects of heads, which circuit was learned, edges over time, transplants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from interp.causal.over_training import CircuitSearch, EdgeEffects, circuit_at
from interp.emergence.dating import date_edges
from interp.heads.mechanism import Mechanism, identified_circuit
from interp.heads.roles import roles
from interp.heads.transplant import transplant_table
from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.stacked_heads.measure import HOPS, onsets
from interp.studies.stacked_heads.runs import Study, row
from probes.stats import share

LINK_ATTENTION = ("query -> link_1", "query -> link_2")
AHEAD = ("link_1 -> link_2", "link_2 -> link_3", "rival link -> next")
STRONG, VERY_STRONG = 0.8, 0.9


def rows(study: Study, runs: Sequence[Run]) -> list[Row]:
    """Rows on the circuits of the condition with every hop in the target."""
    return [*_heads(study, runs), *_named(study, runs), _edges(study, runs), *_transplants(study, runs)]


def _heads(study: Study, runs: Sequence[Run]) -> list[Row]:
    """What the heads of the last checkpoint attend to, and whether they matter."""
    planned = [
        ahead > STRONG and one > VERY_STRONG and two > VERY_STRONG for ahead, one, two in map(_tops, runs)
    ]
    each = [roles(run.model(), run.task) for run in runs]
    held = [table[table["role"] != ""] for table in each]
    with_roles = [table for table in held if len(table)]
    most = [float((table["verdict"] != "idle").mean()) > 0.5 for table in with_roles]
    matter = share(sum(most), len(most)) if most else nothing(0, "no head has a role")
    verdicts = pd.concat(held)["verdict"].value_counts()
    note = "heads of all runs: " + ", ".join(f"{n} {name}" for name, n in verdicts.items())
    return [
        row(study, "retrieval-heads", share(sum(planned), len(planned)), "ic"),
        row(study, "heads-matter", matter, "ic", note),
    ]


def _tops(run: Run) -> tuple[float, float, float]:
    """Best scores at the end: first-layer look-ahead, later layers on links 1 and 2."""
    table = run.heads(steps="last").table
    table = table[table["control"] == "none"]

    def best(metrics: Sequence[str], layers: slice) -> float:
        rows = table[table["metric"].isin(metrics) & table["layer"].between(layers.start, layers.stop)]
        return float(rows["value"].max()) if len(rows) else 0.0

    return (
        best(AHEAD, slice(0, 0)),
        best(LINK_ATTENTION[:1], slice(1, 99)),
        best(LINK_ATTENTION[1:], slice(1, 99)),
    )


def _named(study: Study, runs: Sequence[Run]) -> list[Row]:
    """Which of the two circuits answers the last hop."""
    tables = [identified_circuit(run.tables([Mechanism()], "last")["mechanism"]) for run in runs]
    last = [str(table.iloc[0].get(HOPS[2], "not solved")) for table in tables]
    names = ", ".join(f"{last.count(name)} {name}" for name in dict.fromkeys(last))
    return [
        row(study, "stacked-circuit", share(last.count("stacked"), len(last)), "ic", f"hop 3: {names}"),
        row(study, "merging-circuit", share(last.count("look-ahead"), len(last)), "ic", f"hop 3: {names}"),
    ]


def dated_edges(run: Run) -> pd.DataFrame:
    """Onsets of the edges of a run's final circuit; no row where there is no circuit."""
    kept = circuit_at(run.tables([CircuitSearch()], "last")["circuit"], run.steps[-1]).edges
    if not kept:
        return pd.DataFrame({"step": [], "last": []})
    return date_edges(run.tables([EdgeEffects()])["edges"], kept)


def _edges(study: Study, runs: Sequence[Run]) -> Row:
    """Do edges of the final circuit first matter at different stages: some by the onset of hop 1, some after
    that of hop 2?
    """
    chosen = runs[: study.budget.seeds]
    built, said = [], []
    for run in chosen:
        steps = dated_edges(run)["step"].to_numpy(dtype=float, na_value=math.inf)
        first, second = (float(onsets([run], hop)[0]) for hop in HOPS[:2])
        early, late = int((steps <= first).sum()), int(((steps > second) & (steps < math.inf)).sum())
        built.append(early > 0 and late > 0)
        said.append(f"{early} by hop 1, {late} after hop 2, {int((steps < math.inf).sum())} in all")
    note = f"edges that alone carry 5% of the behaviour, a run: {'; '.join(said)}"
    return row(study, "edges-in-stages", share(sum(built), len(built)), "ic", note)


def _transplants(study: Study, runs: Sequence[Run]) -> list[Row]:
    """What the final heads on link 2 add to hop 2 in checkpoints before hop 1, and between hops 1 and 2."""
    before, between, no_head = [], [], 0
    for run in runs:
        first, second = (float(onsets([run], hop)[0]) for hop in HOPS[:2])
        if not math.isfinite(second):
            continue
        early = max(step for step in run.steps if step < max(first, 1))
        late = max(step for step in run.steps if step < second)
        table = transplant_table(run, sorted({early, late}), prompts=256)
        table = table[(table["control"] == "none") & (table["team"] == LINK_ATTENTION[1])]
        gain = table[table["position"] == HOPS[1]].set_index("step")["value"]
        no_head += int(gain.empty)
        before += [] if gain.empty else [float(gain[early])]
        between += [] if gain.empty else [float(gain[late])]
    note = f"{no_head} of {len(runs)} runs have no head on link 2 to transplant" if no_head else ""
    none = nothing(0, "no run learned hop 2")
    return [
        row(study, c, v or none, "ic", note)
        for c, v in (("transplant-before", before), ("transplant-between", between))
    ]
