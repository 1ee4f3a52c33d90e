"""The numbers of a page as JSON: every long table becomes panels (rows x steps), rounded to five digits.

A panel holds one value of its keys (metric, control, target, ...), named rows (reads, heads, sites) and one array each
for the value and the two ends of its interval; null stands for "not measured".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from interp.report.model import RunReport
from tasks.errors import UserError

MOST_POINTS = 1200


def number(value: Any) -> float | None:
    """Five significant digits, or None where there is no finite number."""
    return float(f"{float(value):.5g}") if pd.notna(value) and math.isfinite(value) else None


def panels(table: pd.DataFrame, rows: pd.Series, keys: tuple[str, ...], name: str) -> list[dict[str, Any]]:
    """Split a long table by `keys`, then spread each part over rows and steps, both in order of first sight."""
    frame = table.assign(_row=rows.astype(str), step=table["step"].astype(int))
    for key in keys:
        given = frame[key] if key in frame.columns else pd.Series(pd.NA, index=frame.index)
        frame[key] = given.astype(object).where(given.notna(), "none" if key == "control" else "").astype(str)
    return [
        {"keys": dict(zip(keys, values, strict=True)), **_spread(part, f"{name} {'/'.join(values)}")}
        for values, part in frame.groupby(list(keys), sort=False)
    ]


def _spread(part: pd.DataFrame, name: str) -> dict[str, Any]:
    twice = part[part.duplicated(["_row", "step"])]
    if not twice.empty:
        where = f"{twice['_row'].iloc[0]} at step {twice['step'].iloc[0]}"
        raise UserError(
            f"table {name}: two values for {where}; keep one, or name a column that tells them apart"
        )
    order = list(dict.fromkeys(part["_row"]))
    grids = {}
    for key, column in {"value": "value", "low": "ci_low", "high": "ci_high"}.items():
        if column in part.columns and part[column].notna().any():
            grid = part.pivot(index="_row", columns="step", values=column).loc[order].sort_index(axis=1)
            grids[key] = [[number(v) for v in row] for row in grid.to_numpy(dtype=float)]
    return {"rows": order, "steps": sorted(int(s) for s in set(part["step"])), **grids}


def curves(metrics: pd.DataFrame) -> dict[str, Any]:
    """The loss columns over steps; runs of logged steps are averaged when there are more than a plot can show."""
    names = [c for c in metrics.columns if "loss" in c and pd.api.types.is_numeric_dtype(metrics[c])]
    frame = metrics[["step", *names]].sort_values("step")
    each = math.ceil(len(frame) / MOST_POINTS)
    block = np.maximum(np.arange(len(frame)) - 1, -1) // each  # the first logged step stays by itself
    means = frame.groupby(block).mean()
    return {
        "steps": [number(v) for v in means["step"]],
        "each": each,
        "series": {name: [number(v) for v in means[name]] for name in names},
    }


def _levels(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    return [
        {"level": str(r["level"]), "metric": str(r["metric"]), "position": str(r["position"]), "value": v}
        for r in table.to_dict("records")
        if (v := number(r["value"])) is not None
    ]


def _heads(table: pd.DataFrame) -> list[dict[str, Any]]:
    table = table.sort_values(["layer", "head"], kind="stable")
    rows = "L" + table["layer"].astype(int).astype(str) + "H" + table["head"].astype(int).astype(str)
    return panels(table, rows, ("metric", "control"), "heads")


def _emergence(table: pd.DataFrame) -> list[dict[str, Any]]:
    known = "ci_low" in table.columns
    ends = table.reindex(columns=["step", "ci_low", "ci_high"] if known else ["step", "before", "step"])
    ends.columns = ["step", "ci_low", "ci_high"]
    return [
        {
            "subject": str(s),
            "metric": str(m),
            "step": number(a),
            "low": number(b),
            "high": number(c),
            "interval": known,
        }
        for s, m, a, b, c in zip(
            table["subject"], table["metric"], ends["step"], ends["ci_low"], ends["ci_high"], strict=True
        )
    ]


def payload(run: RunReport) -> dict[str, Any]:
    """Everything the page's script needs to know about a run, except the attention bytes."""
    tables = {
        name: run.table(name) for name in ("metrics", "scores", "levels", "heads", "probes", "emergence")
    }
    made = {
        "metrics": curves,
        "scores": lambda t: panels(t, t["position"], ("metric",), "scores"),
        "heads": _heads,
        "probes": lambda t: panels(
            t, t["site"], ("metric", "target", "algorithm", "k", "position", "control"), "probes"
        ),
        "emergence": _emergence,
    }
    return {
        "title": run.title,
        "steps": list(run.steps),
        "lower": list(run.lower_is_better),
        "labels": dict(run.labels),
        "levels": _levels(tables["levels"]),
        **{name: make(t) for name, make in made.items() if (t := tables[name]) is not None},
    }
