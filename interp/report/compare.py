"""Several runs side by side: which of them may be compared, in words, and averages over seeds with their intervals.

Runs that ask the same of their models (`reads`) stand in one group; within it, runs of one arm (settings alike but for
the seeds) are averaged at the steps they share. Averages are Student's t over runs (`probes.stats.student`), no
interval for a single run. Heads are matched over seeds by what they do, not by their number: the ribbon of a relation
is the strongest head's score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.report.model import RunReport
from interp.report.payload import Row, number
from probes.stats import student

MOST_DIFFERENCES = 4


def groups(pages: Sequence[RunReport]) -> list[Row]:
    """Groups of two or more runs that can stand side by side."""
    together: dict[tuple[str, ...], list[int]] = {}
    for index, page in enumerate(pages):
        if page.reads:
            together.setdefault(page.reads, []).append(index)
    return [_group(pages, members) for members in together.values() if len(members) > 1]


def _group(pages: Sequence[RunReport], members: list[int]) -> Row:
    arms: dict[str, list[int]] = {}
    for index in members:
        arms.setdefault(pages[index].arm, []).append(index)
    names = _names(
        [json.loads(arm or "{}") for arm in arms], [[pages[i].title for i in own] for own in arms.values()]
    )
    shown = [
        {"name": name, "runs": own, **_averages([pages[i] for i in own])}
        for name, own in zip(names, arms.values(), strict=True)
    ]
    return {
        "runs": members,
        "arms": shown,
        "words": [
            _words(name, [pages[i] for i in own]) for name, own in zip(names, arms.values(), strict=True)
        ],
    }


def _names(settings: list[dict[str, Any]], titles: list[list[str]]) -> list[str]:
    """Arms by what they differ in; the names of their runs where they differ in too much or in nothing told."""
    flat = [_flat(one) for one in settings]
    keys = [
        key
        for key in dict.fromkeys(k for one in flat for k in one)
        if len({str(one.get(key)) for one in flat}) > 1
    ]
    if 0 < len(keys) <= MOST_DIFFERENCES:
        return [", ".join(f"{key} {one.get(key, '–')}" for key in keys) for one in flat]
    return ["all runs"] if len(settings) == 1 else [" + ".join(own) for own in titles]


def _flat(value: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {above: value}
    return {
        k: v
        for name, part in value.items()
        for k, v in _flat(part, f"{above}.{name}" if above else name).items()
    }


def _averages(pages: list[RunReport]) -> Row:
    """Averages of the scores per read, and of the strongest head per relation."""
    scores = [_keyed(page.scores, "position") for page in pages]
    heads = [_keyed(page.heads, None) for page in pages]
    return {"scores": _panels(scores), "heads": _panels(heads)}


Curves = dict[tuple[str, str], dict[int, float]]


def _keyed(table: pd.DataFrame | None, row: str | None) -> Curves:
    """Curves by metric and row, one number a step: of heads the strongest one's."""
    if table is None:
        return {}
    own = table[table["control"] == "none"] if "control" in table else table
    keys = ["metric", *([row] if row else []), "step"]
    found: Curves = {}
    for key, value in own.groupby(keys, sort=False)["value"].max().items():
        parts: Any = key
        found.setdefault((str(parts[0]), str(parts[1]) if row else "strongest head"), {})[int(parts[-1])] = (
            float(value)
        )
    return found


def _panels(runs: list[Curves]) -> list[Row]:
    """Means over runs at the steps all have, as the panels of `interp.report.payload`; `each` holds every run."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    panels: dict[str, Row] = {}
    for metric, name in keys:
        curves = [run[metric, name] for run in runs]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        panel = panels.setdefault(metric, {"keys": {"metric": metric}, "rows": [], "steps": steps})
        found = [student([curve[step] for curve in curves]) for step in steps]
        panel["rows"].append(name)
        for column, part in {"value": "value", "low": "low", "high": "high"}.items():
            panel.setdefault(column, []).append([number(getattr(one, part)) for one in found])
    return list(panels.values())


def _words(name: str, pages: list[RunReport]) -> str:
    """One line an arm: how many runs, their final scores, how often each order came."""
    many = f"{len(pages)} runs" if len(pages) > 1 else "1 run"
    return f"{name} ({many}: {', '.join(page.title for page in pages)}): {_final(pages)}{_orders(pages)}"


def _final(pages: list[RunReport]) -> str:
    tables = [page.scores for page in pages if page.scores is not None]
    if not tables:
        return "no scores."
    metric = "accuracy" if (tables[0]["metric"] == "accuracy").any() else str(tables[0]["metric"].iloc[0])
    last = [
        t[(t["metric"] == metric) & (t["step"] == t["step"].max())].set_index("position")["value"]
        for t in tables
    ]
    if metric != "accuracy":
        return f"final {metric}, averaged over reads: {_told(student([float(one.mean()) for one in last]))}."
    said = [
        f"{read} {_told(student([float(one[read]) for one in last]))}"
        for read in last[0].index
        if all(read in one for one in last)
    ]
    return f"final accuracy {', '.join(said)}."


def _told(found: Any) -> str:
    return f"{found.value:.3g}" + (f" [{found.low:.3g}, {found.high:.3g}]" if found.low == found.low else "")


def _orders(pages: list[RunReport]) -> str:
    """The orders in which reads emerged, with the number of runs that show each."""
    counts: dict[str, int] = {}
    for page in pages:
        table = page.emergence
        if table is None or not (table["metric"] == "accuracy").any():
            return ""
        reads = table[(table["metric"] == "accuracy") & table["step"].notna()].sort_values(
            "step", kind="stable"
        )
        order = " < ".join(str(s) for s in reads["subject"]) or "nothing emerged"
        counts[order] = counts.get(order, 0) + 1
    return " Order: " + "; ".join(f"{order} in {n} of {len(pages)}" for order, n in counts.items()) + "."
