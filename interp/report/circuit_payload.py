"""The figures of a circuit's judgement as JSON: what it carries beside its controls, and every size of its curve."""

from __future__ import annotations

import pandas as pd

from interp.causal.report_lines import curve_rows
from interp.report.cells import JsonRow, number, rows_of

NAMES = {
    ("faithfulness", "full"): "full model",
    ("faithfulness", "none"): "the circuit",
    ("faithfulness", "random"): "matched random circuits",
    ("faithfulness", "empty"): "empty circuit (all resample-ablated)",
    ("completeness", "none"): "completeness (1: no effect outside the circuit)",
    ("minimality", "none"): "minimality: effect of its weakest edge",
}


def faithfulness(table: pd.DataFrame) -> JsonRow:
    """`judged`: named rows of points; `sizes`: the points of the curve, largest circuit first."""
    rows: dict[tuple[str, str], list[JsonRow]] = {}
    for row in rows_of(table):
        rows.setdefault((str(row["metric"]), str(row["control"])), []).append(_point(row))
    judged = [{"name": name, "points": rows[key]} for key, name in NAMES.items() if key in rows]
    sizes = [
        {**_point(row), "heads": number(row.get("heads")), "chosen": row.get("note") == "chosen"}
        for row in rows_of(curve_rows(table))
    ]
    return {"judged": judged, "sizes": sizes}


def _point(row: JsonRow) -> JsonRow:
    return {
        "value": number(row["value"]), "low": number(row.get("ci_low")), "high": number(row.get("ci_high")),
        "edges": number(row.get("edges")),
    }  # fmt: skip
