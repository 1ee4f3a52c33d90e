"""What `interp patch` and `interp circuit` print of their tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.analysis.result import Result
from interp.causal.over_training import circuit_at
from interp.causal.stability import jaccard
from interp.cli import show
from interp.run import Run


def print_grids(result: Result) -> None:
    """A patching grid for every checkpoint."""
    for step, rows in result.table.groupby("step", sort=True):
        show.table(_grid(rows), f"normalised effect at step {step}")
    show.note(result.caption)


def _grid(rows: pd.DataFrame) -> pd.DataFrame:
    """Layers and heads down, positions across, in pieces that fit a line; a list where there is one axis only."""
    rows = rows.assign(value=[f"{value:.2f}" for value in rows["value"]])
    keys = [key for key in ("layer", "head") if key in rows and rows[key].notna().any()]
    if "position" not in rows or rows["position"].nunique() < 2 or rows["position"].nunique() > 16:
        names = [*keys, *(["position"] if "position" in rows and rows["position"].nunique() > 1 else [])]
        return rows[[*names, "value", "ci_low", "ci_high"]]
    wide = rows.pivot(index=keys, columns="position", values="value")[list(dict.fromkeys(rows["position"]))]
    return wide.reset_index().rename_axis(columns=None)


def print_circuits(
    result: Result, agreed: pd.DataFrame | None, method: str, threshold: float, edges: int
) -> None:
    """For every checkpoint the faithfulness of its circuit, its heads' roles, and its edges of largest effect."""
    for step, rows in result.table.groupby("step", sort=True):
        found = rows[rows["metric"] == "edge"]
        judged = rows[~rows["metric"].isin(("edge", "screened edge"))]
        if method != "exact":
            show.note(_screened(rows[rows["metric"] == "screened edge"], method, threshold))
        if judged.empty:
            show.note(f"step {step}: {found['note'].iloc[0]}")
            continue
        show.table(_judged(judged), f"faithfulness of the circuit, step {step}")
        if agreed is not None:
            show.table(*_agreed(agreed[agreed["step"] == step], step))
        if edges:
            show.table(*_heaviest(found, step, edges))


def _heaviest(rows: pd.DataFrame, step: object, most: int) -> tuple[pd.DataFrame, str]:
    """The edges of largest effect either way, and how many there are."""
    ordered = rows.loc[rows["value"].abs().sort_values(ascending=False, kind="stable").index]
    of = f"the {most} largest of {len(rows)} edges" if len(rows) > most else f"all {len(rows)} edges"
    more = f" (--edges {len(rows)} prints all)" if len(rows) > most else ""
    return ordered[["sender", "receiver", "value"]].head(most), f"{of} of the circuit at step {step}{more}"


def overlap(
    run: Run, table: pd.DataFrame, steps: str, resamples: int, settings: dict[str, Any]
) -> dict[str, float]:
    """Mean overlap of the last step's circuit with those on the prompts of other seeds; nothing if all are empty."""
    last = run.resolve(steps)[-1]
    others = [run.circuit(steps=last, seed=seed, **settings).table for seed in range(1, resamples + 1)]
    found = [circuit_at(one, last) for one in (table, *others)]
    value = jaccard(found)
    return {"overlap": value} if any(one.edges for one in found) else {}


def _screened(rows: pd.DataFrame, method: str, threshold: float) -> str:
    """Accuracy of the attribution estimate: correlation with exact effects of a sample of edges, and missed edges."""
    if rows.empty:
        return f"{method}: an attribution estimate, without exact effects to compare it with (no behaviour)"
    known = rows[rows["exact"].notna()]
    needed = known[known["exact"] > threshold]
    seen = int((needed["value"].abs() > threshold).sum())
    r = rows["correlation"].iloc[0]
    return (
        f"{method} is a first-order attribution estimate: over {len(known)} edges also ablated exactly, correlation "
        f"{'undefined (no spread)' if pd.isna(r) else f'{r:.2f}'}; {len(needed)} of them pass the threshold, "
        f"of which the estimate finds {seen}"
    )


def _agreed(rows: pd.DataFrame, step: object) -> tuple[pd.DataFrame, str]:
    """One line a head that is in the circuit or has a role, with its largest edge, and the count over all heads."""
    told = rows[rows["found"] != "neither"].rename(columns={"score": "attention"})
    told = told.assign(agrees=["yes" if value else "no" for value in told["value"]])
    title = (
        f"circuit and attention roles at step {step}: {int(rows['value'].sum())} of {len(rows)} heads agree "
        f"({rows['chance'].iloc[0] * len(rows):.1f} by chance); heads with neither are left out"
    )
    return told[["layer", "head", "agrees", "found", "role", "attention", "edge", "verdict"]], title


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a figure; the range over random circuits in one line."""
    own = rows[rows["control"] != "random"][["metric", "control", "edges", "value", "ci_low", "ci_high", "n"]]
    drawn = rows[rows["control"] == "random"]["value"]
    spread = {
        "metric": "faithfulness",
        "control": f"random, {len(drawn)} drawn (range)",
        "value": drawn.median(),
    }
    ends = {"ci_low": drawn.min(), "ci_high": drawn.max(), "edges": own["edges"].iloc[0]}
    return pd.concat([own, pd.DataFrame([{**spread, **ends}])], ignore_index=True)
