"""Rows of the study of layers against Newton's method on filters: what each layer's is, and how layers follow.

Asked of the main nets, and at scales that train them of deeper problems (d = 10, whose rows are "claim, condition").
There the rivals' rows are asked again, too: conjugate gradient ends after d steps, which at d = 5 bounds its slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from interp.studies.context import nothing
from interp.studies.ledger import Claim, Row
from interp.studies.newton.measure import MatchedNet
from interp.studies.newton.measure_filters import UNREAD, Filters, filter_rows
from interp.studies.newton.measure_growth import difference, growths
from interp.studies.newton.rows_common import Study, deep_nets, mains, row
from interp.studies.newton.runs import DEEP
from probes.doubling import Growth
from probes.stats import share

Name = Callable[[str], Claim]


def filters(study: Study) -> list[Row]:
    """The main nets: how the filters move from layer to layer; the note says what each layer's alone could be."""
    nets = mains(study)
    found = [filter_rows(net) for net in nets]
    linear = row(study, "filter-linear", [f.nonlinear for f in found], "main")
    return [*growth_rows(study, nets, found, "main", lambda claim: study.claims[claim]), linear]


def deep(study: Study) -> list[Row]:
    """The same of nets that solve deeper problems, and how their layers match conjugate gradient and BFGS."""
    rows: list[Row] = []
    for condition in DEEP if study.budget.deep else ():
        nets = deep_nets(study, condition)

        def named(claim: str, condition: str = condition) -> Claim:
            return replace(study.claims[claim], id=f"{claim}, {condition}")

        rows += growth_rows(study, nets, [filter_rows(net) for net in nets], condition, named)
        for family in ("cg", "bfgs"):
            slopes = [net.slope(net.match(family)).value for net in nets]
            rows.append(row(study, named(f"e-{family}"), slopes, condition))
        study.memory.clear()
    return rows


def growth_rows(
    study: Study, nets: Sequence[MatchedNet], found: Sequence[Filters], condition: str, named: Name
) -> list[Row]:
    """How filters follow one another in nets of a condition: the test's answer, and the paired difference."""
    doubled = share(sum(f.growth.startswith("doubling") for f in found), len(found))
    if unread := sum(f.growth in UNREAD for f in found):
        doubled = nothing(len(found), f"{unread} nets have too few layers to ask")
    words = "; ".join(f"{f.growth}, layers: {f.words}" for f in found)
    courses = [growths(net) for net in nets]
    last = [_difference(list(course.values())[-1]) for course in courses]
    first = [next((_difference(g) for g in course.values() if g), math.nan) for course in courses]
    return [
        row(study, named("filter-growth"), doubled, condition, words),
        row(study, named("growth-difference"), last, condition, course_of(courses)),
        row(study, named("growth-first"), first, condition, _firsts(courses)),
    ]


def _difference(growth: Growth | None) -> float:
    return math.nan if growth is None else difference(growth)


def course_of(courses: Sequence[dict[int, Growth | None]]) -> str:
    """Both misfits over training, means of the nets that can be asked, and which is the smaller in how many."""
    lines = []
    for step in courses[0]:
        asked = [course[step] for course in courses]
        kept = [growth for growth in asked if growth is not None]
        if not kept:
            lines.append(f"step {step}: too few layers move")
            continue
        doubling, adding = (
            sum(values) / len(kept)
            for values in ([g.doubling.value for g in kept], [g.adding.value for g in kept])
        )
        nearer = sum(difference(growth) > 0 for growth in kept)
        lines.append(
            f"step {step}: misfit of doubling {doubling:.2g}, of adding {adding:.2g}, doubling nearer in {nearer} of "
            f"{len(kept)}"
        )
    return "; ".join(lines)


def _firsts(courses: Sequence[dict[int, Growth | None]]) -> str:
    steps = [next((str(step) for step, g in course.items() if g), "none") for course in courses]
    return f"first checkpoints: {', '.join(steps)}"
