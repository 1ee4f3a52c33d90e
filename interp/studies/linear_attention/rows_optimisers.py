"""Rows of the landscape study on the optimisers: who ends lower, curvature, smoothness, depth, other nets.

Ratios are SGD over
Adam unless the claim says otherwise, geometric means over seeds with Student's t on the log scale. What the
rows do not show: causes. An optimiser that is faster where curvature is milder may be so for another
reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from interp.emergence.curriculum import censored_median
from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.linear_attention import figures as figures
from interp.studies.linear_attention import measure_paths as curves
from interp.studies.linear_attention import runs as runs
from interp.studies.linear_attention import runs_searched as searching
from interp.studies.linear_attention.runs import Study
from probes.stats import Interval, share

LOSS_WORDS = (
    "Training loss of one batch, median over seeds in their range; squared error of labels as they are drawn."
)
TABLE_WORDS = (
    "Above 1, SGD's path is worse conditioned (R, max over median of |H_ii|), rougher, or ends higher."
)
DEPTH_WORDS = (
    "Rates of both optimisers are searched at every depth and fall to zero. Above 1, Adam ends lower."
)
SOFTMAX_WORDS = f"{LOSS_WORDS} Rates of the softmax nets are the best of a grid; their runs are shorter."


def _gap(study: Study, name: str, *, above: str = "sgd", below: str = "adam", **model) -> list[float]:
    """Final loss of one optimiser over another's, seed by seed; 0, infinite or NaN where an arm diverged."""
    trained = [runs.condition(study, name, optimiser, **model) for optimiser in (above, below)]
    return [runs.final_loss(a) / runs.final_loss(b) for a, b in zip(*trained, strict=True)]


def _won(ratios: Sequence[float]) -> Interval:
    """In how many seeds a ratio is above 1; a seed in which both runs diverged (NaN) is not counted."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return share(sum(ratio > 1 for ratio in known), len(known)) if known else nothing(0, "both diverged")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _rates(study: Study, name: str, **model) -> str:
    """The learning rates of both optimisers, in words."""
    trained = {o: runs.condition(study, name, o, **model)[0] for o in ("sgd", "adam")}
    unit = runs.label_variance(trained["sgd"])
    return f"{trained['sgd'].config.train.lr / unit:g}/{trained['adam'].config.train.lr:g}"


def gaps(study: Study) -> list[Row]:
    """Who ends lower, in each data setting."""
    for name in runs.LINEAR:
        trained = {optimiser: runs.condition(study, name, optimiser) for optimiser in ("sgd", "adam")}
        trained |= {"sign": runs.condition(study, name, "sign")} if name == "S1" else {}
        study.show(figures.loss_figure(trained), f"Adam beside SGD with momentum: {name}", LOSS_WORDS)
    words: dict[str, Any] = {
        "condition": "three layers, gd++ family",
        "budget": f"{study.budget.steps} steps of 1000 prompts",
    }
    return [
        *(study.ratios(f"gap-{name}", _gap(study, name), **words) for name in runs.LINEAR if name != "S3"),
        _heavy(study),
        study.ratios("gap-sign", _gap(study, "S1", below="sign"), **words),
    ]


def _heavy(study: Study) -> Row:
    steps = study.budget.gap_steps
    seeds = runs.first_seeds(study, study.budget.wide)
    ratios, rates = searching.searched_gap(study, "S3", runs.model_of(), steps, seeds)
    return study.row(
        "gap-S3", _won(ratios), condition="three layers, gd++ family, rates falling to 0",
        budget=f"{steps} steps of 1000 prompts", note=f"{rates}; loss ratios {_listed(ratios)}",
    )  # fmt: skip


def conditions(study: Study) -> list[Row]:
    """Robust condition numbers along both paths, by the diagonal that the paper measures; by eigenvalues in the
    notes. The paper's table, in the paper's own summary, goes to the page.
    """
    rows = []
    for name in ("S1", "S2", "S3"):
        sgd, adam = (runs.condition(study, name, optimiser) for optimiser in ("sgd", "adam"))
        asked = [step for step in runs.HESSIANS if (name, step) != ("S2", 250)]
        rows += [_condition(study, name, step, sgd, adam) for step in asked]
        table = figures.compared_with_paper(sgd, adam, [step for step in asked if step != 250], name)
        study.show(table, f"Beside the paper's figures: {name}", TABLE_WORDS)
    return rows


def _condition(study: Study, name: str, step: int, sgd: list[Run], adam: list[Run]) -> Row:
    ratios = figures.condition_ratios(sgd, adam, step)
    spectral = _geometric(figures.condition_ratios(sgd, adam, step, how="eigenvalues"))
    key = f"condition-{name}" if step == 750 else f"condition-{name}-{step}"
    words: dict[str, Any] = {
        "condition": "max over median of |H_ii|, zero rows counted",
        "budget": "1000 fixed prompts",
        "note": f"by eigenvalues {spectral:.3g}",
    }
    if name == "S3":
        words["note"] += f"; ratios {_listed(ratios)}"
        return study.row(key, _won(ratios), **words)
    return study.ratios(key, ratios, **words)


def _median_smoothness(run: Run) -> float:
    return float(curves.path(run)["directional smoothness"].median())


def _smoothness_ratio(trained: list[list[Run]]) -> list[float]:
    return [_median_smoothness(a) / _median_smoothness(b) for a, b in zip(*trained, strict=True)]


def paths(study: Study) -> list[Row]:
    """Directional smoothness of both paths, and how it goes with the gradient along Adam's."""
    trained = [runs.condition(study, "S1", optimiser) for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "condition": "S1",
        "budget": f"one true step in {runs.EVERY}, 1000 fixed prompts",
    }
    fits = [curves.path_fit(run) for run in trained[1]]
    study.show(
        figures.smoothness_figure({"sgd": trained[0][0], "adam": trained[1][0]}),
        "Curvature against the gradient (S1)", "One dot a true step of the first seed; lower is smoother.",
    )  # fmt: skip
    note = f"slopes {', '.join(f'{f.slope:.2f}' for f in fits)}"
    note += f"; negative curvature at {sum(f.negative for f in fits)} steps"
    return [
        study.row("smoothness", _smoothness_ratio(trained), scale="log", **words),
        study.row("l0-l1", [f.correlation for f in fits], note=note, **words),
    ]


def depth(study: Study) -> list[Row]:
    """Slope of the log loss ratio on log depth, seed by seed; learning rates are searched at every depth."""
    layers, steps = (2, 4, 6, 8), study.budget.depth_steps
    if not steps:
        return [_needs_cpu(study, "depth-gap", "2000 steps at depths 2 to 8, about 30 minutes on one core")]
    found = {n: searching.searched_gap(study, "S1", runs.model_of(n), steps, study.seeds) for n in layers}
    ratios = {n: one[0] for n, one in found.items()}
    study.show(figures.depth_figure(layers, ratios), "The gap against depth (S1)", DEPTH_WORDS)
    slopes = [_log_slope(layers, [ratios[n][k] for n in layers]) for k in range(len(study.seeds))]
    note = "; ".join(f"L={n}: ratio {_geometric(ratios[n]):.2f}, {found[n][1]}" for n in layers)
    return [study.values("depth-gap", slopes, condition="S1", budget=f"{steps} steps", note=note)]


def _needs_cpu(study: Study, claim: str, what: str) -> Row:
    return study.claims[claim].not_testable(would_need=f"scale cpu: {what}", command=study.command)


def _geometric(values: Sequence[float]) -> float:
    finite = [math.log(v) for v in values if 0 < v < math.inf]
    return math.exp(sum(finite) / len(finite)) if finite else math.nan


def _log_slope(x: Sequence[int], y: Sequence[float]) -> float:
    """Least-squares slope of log y on log x; NaN where a y is 0, infinite or no number."""
    if not all(0 < v < math.inf for v in y):
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def softmax(study: Study) -> list[Row]:
    """The same instruments on softmax attention with the same weights; learning rates are searched."""
    if not study.budget.softmax_steps:
        need = "4000 steps of softmax attention, about an hour on one core"
        names = ("softmax-gap", "softmax-smoothness", "softmax-l0-l1")
        return [_needs_cpu(study, name, need) for name in names]
    trained = [runs.condition(study, "S1", optimiser, attention="softmax") for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "condition": "S1, softmax, three layers",
        "budget": f"{study.budget.softmax_steps} steps of 1000 prompts, rates the best of a grid",
    }
    both = dict(zip(("softmax, sgd", "softmax, adam"), trained, strict=True))
    both |= {f"linear, {name}": runs.condition(study, "S1", name) for name in ("sgd", "adam")}
    study.show(figures.loss_figure(both), "Softmax attention beside linear attention (S1)", SOFTMAX_WORDS)
    ends = [sum(map(runs.final_loss, runs_of_one)) / len(runs_of_one) for runs_of_one in trained]
    note = (
        f"rates SGD/Adam {_rates(study, 'S1', attention='softmax')}; mean losses {ends[0]:.3g}/{ends[1]:.3g}"
    )
    fits = [curves.path_fit(run).correlation for run in trained[1]]
    return [
        study.ratios(
            "softmax-gap", _gap(study, "S1", attention="softmax"), note=note, **words
        ),
        study.row("softmax-smoothness", _smoothness_ratio(trained), scale="log", **words),
        study.row("softmax-l0-l1", fits, **words),
    ]  # fmt: skip


def features(study: Study) -> list[Row]:
    """The non-linear variant: targets linear in a frozen net, a trained net before full linear attention. The gap is
    that at searched rates, curvature is taken along the paths of the authors' settings.
    """
    steps = study.budget.mlp_steps
    if not steps:
        need = "4000 steps of nets with features, about an hour on one core"
        return [_needs_cpu(study, name, need) for name in ("mlp-gap", "mlp-condition")]
    trained = [runs.condition(study, "mlp", optimiser) for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "condition": "ReLU net 5-30-5, three full layers",
        "budget": f"{steps} steps of 2000 prompts",
    }
    named: dict[str, list[Run]] = {"sgd": trained[0], "adam": trained[1]}
    study.show(figures.loss_figure(named), "Targets through a frozen ReLU net", LOSS_WORDS)
    seeds = runs.seeds_of(study, "mlp")
    ratios, rates = searching.searched_gap(study, "mlp", runs.FEATURES, steps, seeds)
    return [
        study.row("mlp-gap", middle(ratios), note=f"{rates}; loss ratios {_listed(ratios)}", **words),
        study.ratios("mlp-condition", figures.condition_ratios(trained[0], trained[1], 750), **words),
    ]


def middle(ratios: Sequence[float]) -> Interval:
    """Median with exact order statistics; a seed in which both runs diverged (NaN) is not counted."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return censored_median(np.array(known)) if known else nothing(0, "both diverged")
