"""What `interp patch` and `interp circuit` print of their tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.analysis.conclusion import fixed
from interp.analysis.result import Result
from interp.causal.graph import edges as edges_of
from interp.causal.over_training import circuit_at
from interp.causal.random_circuits import chance_overlap
from interp.causal.report_lines import (
    curve_rows,
    heads_line,
    random_line,
    search_line,
    size_line,
    test_lines,
)
from interp.causal.stability import jaccard
from interp.cli import show
from interp.pictures.labels import relation_label
from interp.run import Run

SIZES = 12  # lines of a curve
COMPARED = (
    "edge precision", "edge recall", "node precision", "node recall", "edge recall, not positional",
    "edge recall, positional",
)  # fmt: skip
TOP_SHOWN = 32  # largest edges of an estimate that were run exactly


def print_grids(result: Result) -> None:
    """A patching grid for every checkpoint."""
    for step, rows in _by_step(result.table):
        if rows["value"].isna().all():
            show.note(f"step {step}: {rows['note'].iloc[0]}")
            continue
        show.table(_grid(rows), f"normalised effect at step {step}")
    show.note(result.caption)


def _by_step(table: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    steps = sorted(table["step"].dropna().astype(int).unique().tolist())
    return [(step, table[table["step"] == step]) for step in steps]


def _grid(rows: pd.DataFrame) -> pd.DataFrame:
    """Layers and heads down, positions across, in pieces that fit a line; a list where there is one axis only."""
    rows = rows.assign(value=[fixed(value) for value in rows["value"]])
    keys = [key for key in ("layer", "head") if key in rows and (rows[key] >= 0).any()]
    if "position" not in rows or rows["position"].nunique() < 2 or rows["position"].nunique() > 16:
        names = [*keys, *(["position"] if "position" in rows and rows["position"].nunique() > 1 else [])]
        return rows[[*names, "value", "ci_low", "ci_high"]]
    wide = rows.pivot(index=keys, columns="position", values="value")[list(dict.fromkeys(rows["position"]))]
    return wide.reset_index().rename_axis(columns=None)


def print_circuits(result: Result, agreed: pd.DataFrame | None, threshold: float, edges: int) -> None:
    """For every checkpoint what its search did, how much the circuit carries, its curve, heads and heaviest edges."""
    steps = _by_step(result.table)
    for step, rows in steps:
        _show(step, rows, agreed, edges, threshold)
        if step != steps[-1][0]:  # of the last one the conclusion reports them
            _remarks(rows)


def _show(
    step: object, rows: pd.DataFrame, agreed: pd.DataFrame | None, edges: int, threshold: float
) -> None:
    """One checkpoint's circuit: what the search did, how much it carries, its curve, heads and heaviest edges."""
    found = rows[rows["metric"] == "edge"]
    for line in _estimated(rows[rows["metric"] == "attribution estimate"], threshold):
        show.note(line)
    if found["value"].isna().all():
        show.note(f"step {step}: {found['note'].iloc[0]}")
        if rows["metric"].isin(COMPARED).any():
            show.note("nothing was found: recall of the known circuit 0, no precision")
        return
    if did := search_line(rows):
        show.note(f"step {step}: {did}")
    judged = rows[
        rows["metric"].isin(("faithfulness", "completeness", "minimality")) & (rows["control"] != "curve")
    ]
    show.table(_judged(judged), f"how much of the behaviour it carries, step {step}")
    curve = curve_rows(rows)
    if len(curve):
        show.table(_curve(curve), f"faithfulness against size, step {step} ({size_line(rows)})")
    against = rows[rows["metric"].isin(COMPARED)]
    if len(against):
        against = against[["metric", "value", "n", "note"]].assign(n=against["n"].astype(int))
        show.table(against, f"compared with the known circuit, step {step} (n: what it is a share of)")
    if agreed is not None:
        show.table(*_agreed(agreed[agreed["step"] == step], step))
    if edges:
        show.table(*_heaviest(_with_tests(found, rows), step, edges))


def _remarks(rows: pd.DataFrame) -> None:
    """What random circuits carry, what tests report, whether heads are distinguished."""
    for line in (random_line(rows), *test_lines(rows), heads_line(rows)):
        if line:
            show.note(line)


def _curve(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a size, the chosen one marked; at most `SIZES` lines, the chosen one among them."""
    marks = ["chosen" if note == "chosen" else "" for note in rows["note"]]
    shown = rows[["edges", "heads", "value", "ci_low", "ci_high"]].assign(
        edges=rows["edges"].astype(int), heads=rows["heads"].astype(int), point=marks
    )
    if len(shown) <= SIZES:
        return shown
    kept = {round(i * (len(shown) - 1) / (SIZES - 1)) for i in range(SIZES)} | {
        i for i, mark in enumerate(marks) if mark
    }
    return shown.iloc[sorted(kept)]


def _with_tests(found: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The circuit's edges with their p values of minimality, where they were tested."""
    tested = rows[rows["metric"] == "minimality test"].set_index(["sender", "receiver"])["value"]
    if tested.empty:
        return found
    return found.assign(p=[tested[edge] for edge in zip(found["sender"], found["receiver"], strict=True)])


def _heaviest(rows: pd.DataFrame, step: object, most: int) -> tuple[pd.DataFrame, str]:
    """The edges of largest effect either way, and how many there are."""
    ordered = rows.loc[rows["value"].abs().sort_values(ascending=False, kind="stable").index]
    of = f"the {most} largest of {len(rows)} edges" if len(rows) > most else f"all {len(rows)} edges"
    more = f" (--edges {len(rows)} prints all)" if len(rows) > most else ""
    shown = [column for column in ("sender", "receiver", "value", "p") if column in ordered]
    return ordered[shown].head(most), f"{of} of the circuit at step {step}{more}"


def overlap(
    run: Run, table: pd.DataFrame, steps: str, resamples: int, settings: dict[str, Any]
) -> dict[str, float]:
    """Mean overlap of the last step's circuit with those on the prompts of other seeds, and that of matched random
    circuits; nothing if all are empty.
    """
    last = run.resolve(steps)[-1]
    settings = {**settings, "tests": False}
    others = [run.circuit(steps=last, seed=seed, **settings).table for seed in range(1, resamples + 1)]
    found = [circuit_at(one, last) for one in (table, *others)]
    if not any(one.edges for one in found):
        return {}
    chance = chance_overlap(edges_of(run.untrained_model()), [one.edges for one in found])
    return {"overlap": jaccard(found), "overlap_by_chance": chance}


def _estimated(rows: pd.DataFrame, threshold: float) -> list[str]:
    """What the attribution estimate is worth: completeness, correlation with exact effects, and what it missed."""
    if rows.empty:
        return []
    known = rows[rows["exact"].notna()]
    needed = known[known["exact"] > threshold]
    seen = int((needed["value"].abs() > threshold).sum())
    r, error, steps = (rows[name].iloc[0] for name in ("correlation", "completeness_error", "ig_steps"))
    first = (
        f"{rows['method'].iloc[0]} is an attribution estimate: completeness error {error:.2g} of the loss difference"
        + (f" at {int(steps)} steps" if steps else "")
        + f"; over {len(known)} random and largest edges run exactly as well, correlation "
        f"{'undefined (no spread)' if pd.isna(r) else f'{r:.2f}'}; {len(needed)} of them pass the threshold, of "
        f"which the estimate sees {seen}"
    )
    top = rows[rows["checked"].isin(("largest", "random")) & rows["exact"].notna()]
    top = top.loc[top["value"].abs().sort_values(ascending=False).index].head(TOP_SHOWN)
    held = int((top["exact"] > threshold).sum())
    return [first, f"of its {len(top)} largest edges {held} have an exact effect above {threshold:g}"]


def _agreed(rows: pd.DataFrame, step: object) -> tuple[pd.DataFrame, str]:
    """One line a head that is in the circuit or has a role, with its largest edge, and the count over all heads."""
    told = rows[rows["found"] != "neither"].rename(columns={"score": "attention"})
    told = told.assign(
        agrees=["yes" if value else "no" for value in told["value"]], role=told["role"].map(relation_label)
    )
    chance = rows["chance"].iloc[0]
    by_chance = f"{chance * len(rows):.1f} by chance" if chance < 1 else "as they must"
    title = (
        f"circuit and attention roles at step {step}: {int(rows['value'].sum())} of {len(rows)} heads agree "
        f"({by_chance}); heads with neither are left out"
    )
    columns = ["layer", "head", "agrees", "found", "role", "attention", "edge", "verdict"]
    return told[[*columns, *(["partner"] if (told["partner"] != "").any() else [])]], title


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a figure; the matched random circuits' range in one line."""
    own = rows[rows["control"] != "random"][["metric", "control", "edges", "value", "ci_low", "ci_high", "n"]]
    drawn = rows[rows["control"] == "random"]["value"]
    if drawn.empty:
        return own
    spread = {
        "metric": "faithfulness",
        "control": f"matched random, {len(drawn)} (range)",
        "value": drawn.median(),
    }
    limits = {"ci_low": drawn.min(), "ci_high": drawn.max(), "edges": own["edges"].iloc[0]}
    return pd.concat([own, pd.DataFrame([{**spread, **limits}])], ignore_index=True)
