"""Runs of one condition side by side, as the page draws it: onsets, roles and circuits over seeds, with their limits.

The parts and their sentences are those of `interp.compare` (`interp.sweep`), of the runs of a condition, each once; a
part that cannot be had says why. Lines are drawn as SVG, with a table beside it, so that figures are whole without
scripts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from interp.analysis.base import Progress
from interp.analysis.registry import entry
from interp.analysis.result import Result
from interp.heads.heads import has_roles
from interp.pictures.over_runs import AXES_LABELS, NEEDED, ONSET, OVERLAP, STRONGEST, Compared, lines
from interp.report.cells import JsonRow
from interp.report.circuit_view import is_searched
from interp.report.compare import groups
from interp.report.model import RunReport
from interp.report.phase import phases
from interp.report.together import Together
from interp.run import Run
from interp.sweep import matched
from interp.sweep.compare import emergence
from tasks.errors import UserError

HEADINGS = {
    "onsets": "When does it emerge, over seeds?",
    "roles": "Which heads take which role, over seeds?",
    "circuits": "How alike are the circuits, over seeds?",
}
DRAWN = {"onsets": (ONSET,), "roles": (STRONGEST, NEEDED), "circuits": (OVERLAP,)}
COMMANDS = {"onsets": "interp emergence RUN RUN", "roles": "interp.compare(runs).roles",
            "circuits": "interp.compare(runs).circuits"}  # fmt: skip
FEWEST_STEPS = 3
LEFT, WIDE, ROW, TOP = 250, 560, 24, 16  # of a forest, in the units of its own


def together(
    pages: Sequence[RunReport], runs: Sequence[Run], progress: Progress | None = None
) -> list[Together]:
    """What is drawn of each of `groups(pages)`; `runs` are those of the pages."""
    found = []
    for group in groups(pages):
        conditions = []
        for condition in group["conditions"]:
            own = _once(pages, condition["runs"])
            if len(own) > 1:
                conditions.append((condition["name"], compared([runs[i] for i in own], progress)))
        every = [runs[i] for i in _once(pages, group["runs"])]
        found.append(Together(tuple(conditions), tuple(phases(every, progress))))
    return found


def _once(pages: Sequence[RunReport], places: Sequence[int]) -> list[int]:
    """The places of runs, of copies the first alone."""
    known = {pages[i].identity or str(i): i for i in reversed(places)}
    return sorted(known.values())


def compared(runs: Sequence[Run], progress: Progress | None = None) -> tuple[JsonRow, ...]:
    """The parts of runs that differ in their seeds, each as the template takes it."""
    shared = sorted(set.intersection(*(set(run.steps) for run in runs)))
    wanted: dict[str, Callable[[], Result]] = {}
    if len(shared) >= FEWEST_STEPS:
        wanted["onsets"] = lambda: emergence(runs, shared, progress=progress)
    if shared and all(has_roles(run.config.model, run.task) for run in runs):
        wanted["roles"] = lambda: matched.roles(runs, shared[-1], progress)
    if shared and all(_has_circuits(run) for run in runs):
        wanted["circuits"] = lambda: matched.circuits(runs, shared[-1], progress)
    return tuple(_part(name, ask, runs) for name, ask in wanted.items())


def _has_circuits(run: Run) -> bool:
    return entry("circuit").applies_to(run.config.model, run.task) and is_searched(run)


def _part(name: str, ask: Callable[[], Result], runs: Sequence[Run]) -> JsonRow:
    part: JsonRow = {"heading": HEADINGS[name], "command": COMMANDS[name], "missing": "", "forests": []}
    try:
        found = ask()
    except UserError as why:
        return {**part, "missing": str(why)}
    drawn = {metric: lines(found.table, metric) for metric in DRAWN[name]}
    end = float(found.table["step"].max())
    return {
        **part,
        "conclusion": [str(sentence) for sentence in found.conclusion],
        "caption": found.caption,
        "forests": [_forest(metric, some, end) for metric, some in drawn.items() if some],
        "table": _table(found, drawn, [run.name for run in runs]),
    }


def _forest(metric: str, found: Sequence[Compared], last: float) -> JsonRow:
    """Lines with their places in the picture; what did not emerge stands at the end."""
    known = [v for line in found for v in _all(line) if math.isfinite(v)]
    end = last if metric == ONSET else 1.0 if metric in (STRONGEST, OVERLAP) else max([1.0, *known])
    end = max([end, *known]) or 1.0

    def x(value: float) -> float:
        return round(LEFT + WIDE * min(max(value, 0.0), end) / end, 1)

    rows = []
    for place, line in enumerate(found):
        spans = not (math.isnan(line.low) or math.isnan(line.high))
        rows.append(
            {
                "name": line.name, "y": TOP + ROW * place + ROW / 2, "text": _said(metric, line),
                "x": x(line.value), "came": math.isfinite(line.value),
                "low": x(line.low) if spans else None, "high": x(line.high) if spans else None,
                "open": math.isinf(line.high),
                "points": [
                    {"x": x(p.value), "came": math.isfinite(p.value), "text": _point(metric, p.run, p.value, p.head)}
                    for p in line.points
                ],
            }
        )  # fmt: skip
    height = TOP + ROW * len(found)
    ticks = [{"x": x(end * i / 4), "text": _number(metric, end * i / 4)} for i in range(5)]
    told = "; ".join(f"{row['name']} {row['text']}" for row in rows)
    label = AXES_LABELS[metric]
    return {"label": label, "rows": rows, "ticks": ticks, "bottom": height, "title": f"{label}: {told}"}


def _all(line: Compared) -> list[float]:
    return [line.value, line.low, line.high, *(point.value for point in line.points)]


def _number(metric: str, value: float) -> str:
    if math.isinf(value):
        return "not by then"
    if metric == ONSET:
        return f"{value:,.0f}"
    return f"{value:.2g}" if metric == NEEDED else f"{value:.2f}"


def _said(metric: str, line: Compared) -> str:
    """A value with its limits in words; a range says so."""
    if math.isnan(line.low) or math.isnan(line.high):
        return _number(metric, line.value)
    word = "range " if line.is_range else ""
    return f"{_number(metric, line.value)} [{word}{_number(metric, line.low)}, {_number(metric, line.high)}]"


def _point(metric: str, run: str, value: float, head: str) -> str:
    return f"{run}: {head + ' ' if head else ''}{_number(metric, value)}"


def _table(found: Result, drawn: Mapping[str, Sequence[Compared]], runs: Sequence[str]) -> JsonRow:
    """The same as text: a row a line, a column a run; of circuits one row a run besides."""
    rows = []
    for metric, some in drawn.items():
        for line in some:
            own = {p.run: _point(metric, "", p.value, p.head).removeprefix(": ") for p in line.points}
            rows.append(
                [AXES_LABELS[metric], line.name, _said(metric, line), *(own.get(run, "–") for run in runs)]
            )
    table = found.table
    if "edges" in table:
        each = table[table["metric"] == "faithfulness"].set_index("run")
        sizes = [f"{each['edges'][run]:.0f}" if run in each.index else "–" for run in runs]
        carried = [f"{each['value'][run]:.2f}" if run in each.index else "–" for run in runs]
        over = {str(row.metric): row for row in table.itertuples() if str(row.metric).startswith("mean ")}
        rows.append(["edges of the circuit", "", _mean(over.get("mean size"), ".1f"), *sizes])
        rows.append(["faithfulness", "", _mean(over.get("mean faithfulness"), ".2f"), *carried])
    return {"columns": ["measure", "of", "over runs", *runs], "rows": rows, "left_out": 0}


def _mean(row: object, digits: str) -> str:
    from interp.sweep.conclusions import over

    return "–" if row is None else over(row, digits)
