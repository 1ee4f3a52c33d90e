"""Comparison of several runs: which of them are comparable, in words, and means over seeds with their intervals.

Runs of one task that share an output position form one group (all hops in the target, or the last alone: both answer
the last); within it, runs of one condition (the same settings but for the seeds) are averaged at the steps they share.
Limits over runs are a range up to three, from there Student's t inside of what is possible (`probes.stats.over_seeds`);
none for a single run. Heads are matched over seeds by their function, not by their number: the ribbon of a relation is
the strongest head's score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.report.cells import JsonRow, number
from interp.report.model import RunReport
from interp.runs.conditions import condition_names
from probes.stats import Interval, over_seeds

UNKNOWN = (-math.inf, math.inf)
POSSIBLE = {"accuracy": (0.0, 1.0), "loss": (0.0, math.inf)}


def groups(pages: Sequence[RunReport]) -> list[JsonRow]:
    """Groups of two or more comparable runs."""
    together: list[list[int]] = []
    for index, page in enumerate(pages):
        alike = [own for own in together if any(_comparable(page, pages[other]) for other in own)]
        apart = [own for own in together if own not in alike]
        together = [*apart, [*(i for own in alike for i in own), index]]
    return [_group(pages, members) for members in together if len(members) > 1]


def _comparable(page: RunReport, other: RunReport) -> bool:
    """The same kind of task (the first of `outputs`), and an output position in common."""
    return page.outputs[:1] == other.outputs[:1] and bool(set(page.outputs[1:]) & set(other.outputs[1:]))


def _group(pages: Sequence[RunReport], members: list[int]) -> JsonRow:
    conditions: dict[str, list[int]] = {}
    for index in members:
        conditions.setdefault(pages[index].condition, []).append(index)
    titles = [" + ".join(pages[i].title for i in own) for own in conditions.values()]
    names = condition_names(
        [json.loads(condition or "{}") for condition in conditions],
        titles if len(titles) > 1 else ["all runs"],
    )
    shown = [
        {"name": name, "runs": own, **_averages(_once([pages[i] for i in own]))}
        for name, own in zip(names, conditions.values(), strict=True)
    ]
    conditions_named = (
        f"in {len(names)} conditions: {'; '.join(names)}"
        if len(names) > 1
        else "with the same settings but for their seeds"
    )
    return {
        "runs": members,
        "title": f"{len(members)} runs {conditions_named}",
        "conditions": shown,
        "no_circuit": {i: why for i in members if (why := pages[i].missing.get("circuit"))},
        "words": [
            _words(name, _once([pages[i] for i in own]))
            for name, own in zip(names, conditions.values(), strict=True)
        ]
        + _copies([pages[i] for i in members]),
    }


def _once(pages: list[RunReport]) -> list[RunReport]:
    """The pages without those of a run that is there already: an average over runs counts each once."""
    return [page for i, page in enumerate(pages) if not _again(page, pages[:i])]


def _again(page: RunReport, before: list[RunReport]) -> bool:
    return bool(page.identity) and page.identity in [other.identity for other in before]


def _copies(pages: list[RunReport]) -> list[str]:
    """One line for each run that is there more than once."""
    again = [page.identity for i, page in enumerate(pages) if _again(page, pages[:i])]
    same = [[page.title for page in pages if page.identity == which] for which in dict.fromkeys(again)]
    return [
        f"{' and '.join(titles)} are copies of one run (same settings, same first weights): counted once"
        for titles in same
    ]


def _averages(pages: list[RunReport]) -> JsonRow:
    """Means of the scores per output position, and of the strongest head's score per relation."""
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


def _panels(runs: list[Curves]) -> list[JsonRow]:
    """Means over runs at the steps all have, as the panels of `interp.report.payload`; `each` holds every run."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    panels: dict[str, JsonRow] = {}
    for metric, name in keys:
        curves = [run[metric, name] for run in runs]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        panel = panels.setdefault(metric, {"keys": {"metric": metric}, "rows": [], "steps": steps})
        found = [_mean(metric, [curve[step] for curve in curves]) for step in steps]
        panel["rows"].append(name)
        for column, part in {"value": "value", "low": "low", "high": "high"}.items():
            panel.setdefault(column, []).append([number(getattr(one, part)) for one in found])
    return list(panels.values())


def _mean(metric: str, values: list[float]) -> Interval:
    """Mean over runs, inside what is possible for the metric."""
    least, most = POSSIBLE.get(metric, UNKNOWN)
    return over_seeds(values, *((least, most) if least <= min(values) and max(values) <= most else UNKNOWN))


def _words(name: str, pages: list[RunReport]) -> str:
    """One line a condition: number of runs, their final scores, how often each order was observed."""
    many = f"{len(pages)} runs" if len(pages) > 1 else "1 run"
    said = f"{_final(pages)}{_onsets(pages)}{_orders(pages)}"
    return f"{name} ({many}: {', '.join(page.title for page in pages)}): {said}"


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
        means = _mean(metric, [float(one.mean()) for one in last])
        return f"final {metric}, averaged over output positions: {_formatted(means)}."
    said = [
        f"{output} {_formatted(over_seeds([float(one[output]) for one in last], 0.0, 1.0), share=True)}"
        for output in last[0].index
        if all(output in one for one in last)
    ]
    return f"final accuracy {', '.join(said)}."


def _formatted(found: Interval, share: bool = False) -> str:
    """A mean with its interval, or its range, which says so; shares in percent."""
    digits = ".1%" if share else ".3g"
    if math.isnan(found.low):
        return f"{found.value:{digits}}"
    word = "range " if found.is_range else ""
    return f"{found.value:{digits}} [{word}{found.low:{digits}}, {found.high:{digits}}]"


def _onsets(pages: list[RunReport]) -> str:
    """When each output position's accuracy emerged: the range over runs, and in how many runs it did."""
    steps: dict[str, list[float | None]] = {}
    for page in pages:
        if page.emergence is None:
            continue
        outputs = page.emergence[page.emergence["metric"] == "accuracy"]
        for subject, step in zip(outputs["subject"], outputs["step"], strict=True):
            steps.setdefault(str(subject), []).append(number(step))
    told = [f"{output} {_when(found)}" for output, found in steps.items()]
    return f" Emerged: {', '.join(told)}." if told else ""


def _when(steps: list[float | None]) -> str:
    came = sorted(step for step in steps if step is not None)
    if not came:
        return "in no run" if len(steps) > 1 else "not yet"
    when = f"at step {came[0]:,.0f}" + (f" to {came[-1]:,.0f}" if came[-1] > came[0] else "")
    return when + (f" in {len(came)} of {len(steps)}" if len(came) < len(steps) else "")


def _orders(pages: list[RunReport]) -> str:
    """The orders in which accuracies emerged, with the number of runs that show each; empty where fewer than two."""
    counts: dict[str, int] = {}
    for page in pages:
        table = page.emergence
        if table is None:
            continue
        outputs = table[(table["metric"] == "accuracy") & table["step"].notna()]
        if len(outputs) > 1:
            order = " < ".join(str(s) for s in outputs.sort_values("step", kind="stable")["subject"])
            counts[order] = counts.get(order, 0) + 1
    told = "; ".join(f"{order} in {n} of {len(pages)}" for order, n in counts.items())
    return f" Order: {told}." if told else ""
