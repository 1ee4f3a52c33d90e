"""The numbers of a page as JSON: every long table becomes panels (rows x steps), rounded to five digits.

A panel holds one value of its keys (metric, control, target, ...), named rows (reads, heads, sites) and one array each
for the value and the two ends of its interval; null stands for "not measured".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from interp.report.model import Circuit, RunReport
from tasks.errors import UserError

MOST_POINTS = 1200
PROBE_KEYS = ("metric", "target", "algorithm", "k", "position", "control")


Row = dict[str, Any]


def number(value: Any) -> float | None:
    """Five significant digits, or None where there is no finite number."""
    return float(f"{float(value):.5g}") if given(value) and math.isfinite(value) else None


def given(value: Any) -> bool:
    """Whether a table's cell holds anything."""
    return value is not None and bool(pd.notna(value))


def rows_of(table: pd.DataFrame) -> list[Row]:
    """A table's rows as dictionaries."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def panels(rows: list[Row], label: Callable[[Row], str], keys: tuple[str, ...], name: str) -> list[Row]:
    """Split rows by `keys`, then spread each part over labels and steps; labels and parts in order of first sight.

    Raises UserError when a label has two values at one step.
    """
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(_key(row, key) for key in keys), []).append(row)
    return [
        {"keys": dict(zip(keys, values, strict=True)), **_spread(part, label, f"{name} {'/'.join(values)}")}
        for values, part in parts.items()
    ]


def _key(row: Row, key: str) -> str:
    return str(row[key]) if given(row.get(key)) else ("none" if key == "control" else "")


def _spread(part: list[Row], label: Callable[[Row], str], name: str) -> Row:
    cells: dict[tuple[str, int], Row] = {}
    for row in part:
        cell = (label(row), int(row["step"]))
        if cell in cells:
            raise UserError(
                f"table {name}: two values for {cell[0]} at step {cell[1]}; keep one, or name a column that"
                " tells them apart"
            )
        cells[cell] = row
    labels, steps = list(dict.fromkeys(where for where, _ in cells)), sorted({step for _, step in cells})
    grids = {
        key: [[number(cells.get((where, step), {}).get(column)) for step in steps] for where in labels]
        for key, column in {"value": "value", "low": "ci_low", "high": "ci_high"}.items()
        if key == "value" or any(given(row.get(column)) for row in part)
    }
    return {"rows": labels, "steps": steps, **grids}


def curves(metrics: pd.DataFrame) -> Row:
    """The loss columns over steps; runs of logged steps are averaged when there are more than a plot can show."""
    rows = sorted(rows_of(metrics), key=lambda row: row["step"])
    names = [str(c) for c in metrics.columns if "loss" in str(c)]
    each = math.ceil(len(rows) / MOST_POINTS)
    blocks = [rows[:1], *(rows[i : i + each] for i in range(1, len(rows), each))]  # the first one by itself
    return {
        "steps": [_mean(block, "step") for block in blocks],
        "each": each,
        "series": {name: [_mean(block, name) for block in blocks] for name in names},
    }


def _mean(block: list[Row], name: str) -> float | None:
    values = [float(row[name]) for row in block if given(row[name])]
    return number(sum(values) / len(values)) if values else None


def _levels(table: pd.DataFrame | None) -> list[Row]:
    return [
        {**{key: str(row[key]) for key in ("level", "metric", "position")}, "value": value}
        for row in ([] if table is None else rows_of(table))
        if (value := number(row["value"])) is not None
    ]


def _head(row: Row) -> str:
    return f"L{int(row['layer'])}H{int(row['head'])}"


def _heads(table: pd.DataFrame) -> list[Row]:
    rows = sorted(rows_of(table), key=lambda row: (int(row["layer"]), int(row["head"])))
    return panels(rows, _head, ("metric", "control"), "heads")


def _emergence(table: pd.DataFrame) -> list[Row]:
    known = "ci_low" in table.columns
    low, high = ("ci_low", "ci_high") if known else ("before", "step")
    return [
        {
            "subject": str(row["subject"]),
            "metric": str(row["metric"]),
            "step": number(row["step"]),
            "low": number(row.get(low)),
            "high": number(row.get(high)),
            "interval": known,
        }
        for row in rows_of(table)
    ]


def _circuit(circuit: Circuit) -> Row:
    rows = rows_of(circuit.edges)
    ends = {_edge(row): [str(row["source"]), str(row["target"])] for row in rows}
    return {
        "tokens": list(circuit.tokens),
        "nodes": [vars(node) for node in circuit.nodes],
        "unit": circuit.unit,
        "ends": list(ends.values()),
        **(panels(rows, _edge, (), "circuit")[0] if rows else {"rows": [], "steps": [], "value": []}),
    }


def _edge(row: Row) -> str:
    return f"{row['source']} → {row['target']}"


def payload(run: RunReport) -> Row:
    """Everything the page's script needs to know about a run, except the attention bytes."""
    tables = {
        name: run.table(name) for name in ("metrics", "scores", "levels", "heads", "probes", "emergence")
    }
    made = {
        "metrics": curves,
        "scores": lambda t: panels(rows_of(t), lambda row: str(row["position"]), ("metric",), "scores"),
        "heads": _heads,
        "probes": lambda t: panels(rows_of(t), lambda row: str(row["site"]), PROBE_KEYS, "probes"),
        "emergence": _emergence,
    }
    return {
        "title": run.title,
        "steps": list(run.steps),
        "lower": list(run.lower_is_better),
        "labels": dict(run.labels),
        "levels": _levels(tables["levels"]),
        **({"circuit": _circuit(run.circuit)} if run.circuit else {}),
        **{name: make(t) for name, make in made.items() if (t := tables[name]) is not None},
    }
