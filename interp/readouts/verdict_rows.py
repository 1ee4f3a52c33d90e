"""Rows of the filter verdict: what is concluded of every site's readout, with the misfits that it rests on.

Owns: one row of metric "filter verdict" a site. Its `verdict` is one of `probes.verdict.Kind`, `families` the names it
is about, `algorithm` the family where one is identified and the verdict otherwise; `value` is the misfit beyond query
noise of the best family and `free_misfit` that of a free function of the eigenvalues, both with their 95% CI. Rows
"filter misfit" hold the same for every family and for the free filter. One row "filter growth" says how the filters
move from block to block (`probes.doubling`). A readout that is no better than a control has the verdict "none", and
`note` says which control.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from interp.readouts.iterates import PRECONDITIONED, Posed
from probes import doubling, filter_shape, filters, induced, verdict
from probes.algorithms.problems import Problems
from probes.filters import Evidence
from probes.observations import Observations
from probes.verdict import FREE, Verdict
from tasks import UserError

Row = dict[str, Any]
NAMED = "filter verdict"
MISFIT = "filter misfit"
GROWTH = "filter growth"


def verdict_rows(accumulator: Any, silent: Mapping[str, str]) -> list[Row]:
    """The filter verdict of every site of an `AlgorithmAccumulator`; `silent` says why a site is not judged."""
    asked = accumulator.questions()
    posed = Posed(accumulator.own, asked.x, asked.y, asked.basis, (accumulator.context,))
    labels = torch.cat(accumulator.labels, 2)
    rows: list[Row] = []
    blocks: dict[str, Observations] = {}
    memory: dict[str, Observations] = {}
    for i, site in enumerate(accumulator.sites):
        shared = {"site": site, "position": f"t={accumulator.context}", "control": "none", "split": "test"}
        if site in silent:
            none = {"algorithm": "none", "verdict": "none", "families": "", "note": silent[site]}
            rows.append({**shared, "metric": NAMED, **none})
            continue
        evidence = judged(accumulator, posed, asked, i, memory)
        found = [_verdict_row(evidence, verdict.decide(evidence)), *_misfit_rows(evidence)]
        found += _linearity_rows(accumulator, asked.queries, asked.outputs[i], labels[:, i])
        found.append(_power_row(evidence.seen, accumulator))
        rows += [{**shared, **row} for row in found]
        if site.endswith("hook_resid_post"):
            blocks[site] = evidence.seen
    return rows + _growth_rows(accumulator, blocks)


def judged(
    accumulator: Any, posed: Posed, asked: Any, layer: int, memory: dict[str, Observations] | None = None
) -> Evidence:
    """Evidence on one layer. Gradient descent preconditioned by the law is among the rivals where it is another, dMMSE
    where the run was trained on a pool of tasks.

    `memory` is kept from layer to layer: what depends on prompts and queries alone is computed once.
    """
    memory = {} if memory is None else memory
    outputs = asked.outputs[layer]

    def seen(name: str, problems: Problems) -> Observations:
        if name in memory:
            return memory[name].answering(outputs)
        memory[name] = Observations.of(problems, asked.queries, outputs)
        return memory[name]

    others = {}
    if len(set(posed.distribution.spectrum)) > 1:
        others[PRECONDITIONED] = seen(PRECONDITIONED, posed.whitened)
    config = accumulator.settings.filters(len(accumulator.sites))
    return filters.judge(seen("plain", posed.plain), config, others, posed.pooled)


def _verdict_row(evidence: Evidence, found: Verdict) -> Row:
    row: Row = {
        "metric": NAMED,
        **found.misfit.row(),
        "free_misfit": found.free.value,
        "free_low": found.free.low,
        "free_high": found.free.high,
        "verdict": found.kind,
        "families": ", ".join(found.families),
        "note": found.note,
    }
    if found.kind != "identified":
        return {**row, "algorithm": found.kind}
    best = evidence.of(found.families[0]).best
    return {**row, "algorithm": found.families[0], "k": best.k, "member": best.label}


def _misfit_rows(evidence: Evidence) -> list[Row]:
    rows: list[Row] = []
    for family in evidence.order:
        best = evidence.of(family).best
        own = {"algorithm": family, "k": best.k, "member": best.label}
        rows.append({**own, "metric": MISFIT, **evidence.misfit(family).row()})
        behind = evidence.difference(family, evidence.order[0])
        rows.append({**own, "metric": f"{MISFIT} above the best", **behind.row()})
    free = {"algorithm": FREE, "member": f"of eigenvalue, {evidence.free.of}"}
    rows.append({**free, "metric": MISFIT, **evidence.free_misfit.row()})
    smooth = {"metric": "smooth non-linear share in the query", **evidence.smooth.row()}
    return [*rows, smooth]


def _growth_rows(accumulator: Any, blocks: Mapping[str, Observations]) -> list[Row]:
    """Whether the residual filter doubles or adds over the blocks that are judged, with the misfit of either."""
    if len(blocks) < doubling.FEWEST:
        return []
    found = doubling.growth(list(blocks.values()), draws=accumulator.settings.draws)
    shared = {
        "site": "all blocks",
        "position": f"t={accumulator.context}",
        "control": "none",
        "split": "test",
    }
    moved = ", ".join(list(blocks)[i].split(".")[1] for i in found.layers)
    note = "; ".join(part for part in (f"layers that move: {moved or 'none'}", found.note) if part)
    rows: list[Row] = [{**shared, "metric": GROWTH, "algorithm": found.answer, "note": note}]
    for name, misfit in (("doubling", found.doubling), ("adding", found.adding)):
        rows.append({**shared, "metric": f"{GROWTH} misfit", "algorithm": name, **misfit.row()})
    return rows


def _power_row(seen: Observations, accumulator: Any) -> Row:
    """Power of the filter at small eigenvalues; a spectrum too narrow to read one on gives a note instead."""
    row: Row = {"metric": "small-eigenvalue slope"}
    try:
        return {**row, **filter_shape.shape(seen, accumulator.settings.filters(1)).power.row()}
    except (UserError, torch.linalg.LinAlgError):  # pyright: ignore[reportPrivateImportUsage]
        return {**row, "value": math.nan, "note": "eigenvalues of S too alike or too few to read a slope on"}


def _linearity_rows(accumulator: Any, queries: Tensor, outputs: Tensor, labels: Tensor) -> list[Row]:
    """Shares of the output that no weight vector, and no superposition of labels, explains."""
    draws = accumulator.settings.draws
    in_x = induced.induced_weights(queries, outputs).nonlinear_share(draws)
    first, second, both = labels[..., None].unbind(0)
    in_y = induced.label_nonlinearity(first, second, both, draws)
    return [
        {"metric": "non-linear share in the query", **in_x.row()},
        {"metric": "non-linear share in the labels", **in_y.row()},
    ]
