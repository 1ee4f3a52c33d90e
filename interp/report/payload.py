"""The numbers of a page as JSON: every long table becomes panels (rows x steps), rounded to five digits.

A panel holds one value of its keys (metric, control, target, ...), named rows (output positions, heads, sites) and one
array each for the value and its two confidence limits; null stands for "not measured".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from interp.report import matched
from interp.report.cells import JsonRow, given, number, rows_of
from interp.report.circuit_payload import faithfulness
from interp.report.model import REQUIRED, DrawnCircuit, RunReport
from tasks.errors import UserError

MOST_POINTS = 1200
PROBE_KEYS = ("metric", "target", "algorithm", "k", "position", "control")


def panels(
    rows: list[JsonRow], label: Callable[[JsonRow], str], keys: tuple[str, ...], name: str
) -> list[JsonRow]:
    """Split rows by `keys`, then spread each part over labels and steps; labels and parts in order of first sight.

    Raises UserError when a label has two values at one step.
    """
    parts: dict[tuple[str, ...], list[JsonRow]] = {}
    for row in rows:
        parts.setdefault(tuple(_key(row, key) for key in keys), []).append(row)
    return [
        {"keys": dict(zip(keys, values, strict=True)), **_spread(part, label, f"{name} {'/'.join(values)}")}
        for values, part in parts.items()
    ]


def _key(row: JsonRow, key: str) -> str:
    return str(row[key]) if given(row.get(key)) else ("none" if key == "control" else "")


def _spread(part: list[JsonRow], label: Callable[[JsonRow], str], name: str) -> JsonRow:
    cells: dict[tuple[str, int], JsonRow] = {}
    for row in part:
        cell = (label(row), int(row["step"]))
        if cell in cells:
            raise UserError(
                f"table {name}: two values for {cell[0]} at step {cell[1]}; keep one, or name a column that"
                " distinguishes them"
            )
        cells[cell] = row
    labels, steps = list(dict.fromkeys(where for where, _ in cells)), sorted({step for _, step in cells})
    grids = {
        key: [[number(cells.get((where, step), {}).get(column)) for step in steps] for where in labels]
        for key, column in {"value": "value", "low": "ci_low", "high": "ci_high"}.items()
        if key == "value" or any(given(row.get(column)) for row in part)
    }
    return {"rows": labels, "steps": steps, **grids}


def curves(metrics: pd.DataFrame) -> JsonRow:
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


def _mean(block: list[JsonRow], name: str) -> float | None:
    values = [float(row[name]) for row in block if given(row[name])]
    return number(sum(values) / len(values)) if values else None


def _levels(table: pd.DataFrame | None) -> list[JsonRow]:
    return [
        {**{key: str(row[key]) for key in ("level", "metric", "position")}, "value": value}
        for row in ([] if table is None else rows_of(table))
        if (value := number(row["value"])) is not None
    ]


def _head(row: JsonRow) -> str:
    return f"L{int(row['layer'])}H{int(row['head'])}"


def _heads(table: pd.DataFrame) -> list[JsonRow]:
    rows = sorted(rows_of(table), key=lambda row: (int(row["layer"]), int(row["head"])))
    return panels(rows, _head, ("metric", "control"), "heads")


def _emergence(table: pd.DataFrame) -> list[JsonRow]:
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


def _circuit(circuit: DrawnCircuit) -> JsonRow:
    rows = rows_of(circuit.edges)
    endpoints = {_edge(row): [str(row["source"]), str(row["target"])] for row in rows}
    return {
        "tokens": list(circuit.tokens),
        "nodes": [vars(node) for node in circuit.nodes],
        "unit": circuit.unit,
        "columns": circuit.columns,
        "chain": [list(place) for place in circuit.chain],
        "endpoints": list(endpoints.values()),
        **(panels(rows, _edge, (), "circuit")[0] if rows else {"rows": [], "steps": [], "value": []}),
    }


def _edge(row: JsonRow) -> str:
    return f"{row['source']} → {row['target']}"


def _patching(table: pd.DataFrame) -> list[JsonRow]:
    """One panel a grid and kind of pair; its rows are cells, `layer/column`, layers first."""
    found = panels(
        rows_of(table), lambda row: f"{int(row['layer'])}/{row['column']}", ("grid", "pair"), "patching"
    )
    for panel in found:
        cells = [name.split("/", 1) for name in panel["rows"]]
        panel["layers"] = sorted({int(layer) for layer, _ in cells})
        panel["columns"] = list(dict.fromkeys(column for _, column in cells))
    return found


def _weights(table: pd.DataFrame) -> JsonRow:
    """Shares of every head over steps, and the head it composes with most at each."""
    rows = rows_of(table)
    shares = [row for row in rows if "share" in str(row["metric"])]
    joined = [row for row in rows if "composition" in str(row["metric"])]
    last = max((int(row["step"]) for row in rows), default=0)
    return {
        "shares": panels(shares, _head, ("metric",), "weights"),
        "joined": [
            {
                "head": _head(row),
                "metric": str(row["metric"]),
                "sender": str(row["sender"]),
                "value": number(row["value"]),
                "random": number(row["random_high"]),
            }
            for row in joined
            if int(row["step"]) == last
        ],
    }


def payload(run: RunReport) -> JsonRow:
    """Everything the page's script needs to know about a run, except the attention bytes."""
    tables = {name: run.table(name) for name in REQUIRED}
    made = {
        "metrics": curves,
        "scores": lambda t: panels(rows_of(t), lambda row: str(row["position"]), ("metric",), "scores"),
        "heads": _heads,
        "probes": lambda t: panels(rows_of(t), lambda row: str(row["site"]), PROBE_KEYS, "probes"),
        "emergence": _emergence,
        "patching": _patching,
        "faithfulness": faithfulness,
        "weights": _weights,
        "algorithms": matched.algorithms,
        "filters": matched.filters,
    }
    return {
        "title": run.title,
        "outputs": list(run.outputs),
        "steps": list(run.steps),
        "lower": list(run.lower_is_better),
        "labels": dict(run.labels),
        "levels": _levels(tables["levels"]),
        **({"circuit": _circuit(run.circuit)} if run.circuit else {}),
        **{name: make(t) for name, make in made.items() if (t := tables[name]) is not None},
    }
