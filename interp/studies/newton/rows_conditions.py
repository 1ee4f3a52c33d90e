"""Rows of the study of layers against Newton's method on conditions beside the main one: other tasks, sizes and nets.

One figure a training seed; a comparison of two conditions pairs their seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interp.studies.ledger import Row
from interp.studies.newton.measure import MatchedNet, forgetting, relative_errors
from interp.studies.newton.measure_two_layer import peak, two_layer_match
from interp.studies.newton.rows_common import (
    OGD,
    OLS,
    Study,
    best_of,
    lacks,
    listed,
    nets_of,
    row,
    runs_of,
    task_of,
    untested,
)
from probes.algorithms.iterates import Algorithm


def _paired(
    study: Study, top: str, bottom: str, figure: Callable[[MatchedNet], float]
) -> tuple[list[float], str]:
    """A figure of one condition over that of another, seed by seed, and the Newton steps of both in words."""
    pairs = list(zip(nets_of(study, top), nets_of(study, bottom), strict=True))
    return [figure(a) / figure(b) for a, b in pairs], best_of(pairs[0][1], pairs[0][0])


def conditioning(study: Study) -> list[Row]:
    """Claim f: one Sigma a prompt, trace-normalised."""
    rows = []
    for claim, condition, family in (
        ("f-mild", "kappa-10", "newton"), ("f-newton", "kappa-100", "newton"), ("f-gd", "kappa-100", "gd"),
    ):  # fmt: skip
        found, note = _paired(study, condition, "base", lambda net, f=family: net.best_steps(f).value)
        rows.append(row(study, claim, found, f"base and {condition}", note, "log"))
    if not study.budget.to_the_end:
        return [*rows, *untested(study, "f-solved", why="nets that are trained to the end")]
    errors = [float(net.errors("t>d")[-1]) for net in nets_of(study, "kappa-100")]
    isotropic = float(nets_of(study, "base")[0].errors("t>d")[-1])
    return [*rows, row(study, "f-solved", errors, "kappa-100", f"at Sigma = I {isotropic:.2g}")]


def widths(study: Study) -> list[Row]:
    """Claim g: one head, widths below and above d."""
    errors = {
        width: [
            float(relative_errors(run, task_of(run), 512)[:, task_of(run).d + 1 :].mean())
            for run in runs_of(study, f"width-{width}")
        ]
        for width in study.budget.widths
    }
    low, high = min(errors), max(errors)
    note = "errors of the first seed at t > d: " + ", ".join(f"{e[0]:.3g} at {w}" for w, e in errors.items())
    narrow = [a / b for a, b in zip(errors[low], errors[high], strict=True)]
    rows = [row(study, "g-narrow", narrow, f"width-{low} and width-{high}", note, "log")]
    if not study.budget.to_the_end:
        return [*rows, *untested(study, "g-wide", why="nets that are trained to the end")]
    wide = [net.similarity(OLS).value for net in nets_of(study, f"width-{high}")]
    return [*rows, row(study, "g-wide", wide, f"width-{high}")]


def lstm(study: Study) -> list[Row]:
    """Claim h, and the LSTM's rows of Table 1."""
    nets = nets_of(study, "lstm")

    def gain(net: MatchedNet) -> float:
        error = (net.layers[[1, -1]] - net.answers).square().mean((1, 2))
        return float(error[1] / error[0])

    rows = [
        row(study, "h-flat", [gain(net) for net in nets], "lstm", "errors " + listed(nets[0].errors())),
        row(study, "h-newton", [net.best_steps("newton").value for net in nets], "lstm"),
        *(row(study, f"table-lstm-{family}", [float(net.match(family).point[-1].max()) for net in nets], "lstm")
          for family in ("newton", "gd")),
        row(study, "table-lstm-ogd", [net.similarity(OGD).value for net in nets], "lstm"),
    ]  # fmt: skip
    for claim, condition in (("h-recent", "lstm"), ("h-keeps", "base")):
        runs = runs_of(study, condition)
        ages = (1, task_of(runs[0]).n)
        both = [forgetting(run, 1024, ages).mean(0) for run in runs]
        note = f"ages {ages[1]} and {ages[0]}: errors of the first seed " + listed(both[0].flip(0))
        rows.append(row(study, claim, [float(e[1] / e[0]) for e in both], condition, note, "log"))
    return rows


def depth_and_heads(study: Study) -> list[Row]:
    """Claim i."""

    def slope(net: MatchedNet) -> float:
        return net.slope(net.match("newton")).value

    if lacks(study, "one-head", "half-depth"):
        why = (
            "more than the two or three climbing layers of small nets, whose slopes rest on few whole numbers"
        )
        return untested(study, "i-one-head", "i-depth", why=why)
    heads, heads_note = _paired(study, "one-head", "base", slope)
    depth, depth_note = _paired(study, "base", "half-depth", slope)
    return [
        row(study, "i-one-head", heads, "base and one-head", heads_note, "log"),
        row(study, "i-depth", depth, "base and half-depth", depth_note, "log"),
    ]


def noise(study: Study) -> list[Row]:
    """Claim l: the target is ridge."""
    nets = nets_of(study, "noise")
    left = [net.distances(Algorithm("ridge", sizes={"mu": net.task.noise**2}), "t>d") for net in nets]
    orders = [net.order(distances).value for net, distances in zip(nets, left, strict=True)]
    slopes = [net.slope(net.match("newton")).value for net in nets]
    best = f"best steps of the first seed {nets[0].match('newton').best[1:]}"
    return [
        row(study, "l-order", orders, "noise", "distance to Bayes' ridge " + listed(left[0].mean(0))),
        row(study, "l-slope", slopes, "noise", best),
    ]


def nonlinear(study: Study) -> list[Row]:
    """Claim m."""
    if lacks(study, "relu-net", "tanh-net"):
        return untested(study, "m-gd", "m-lower", "m-tanh", why="longer training on targets that are nets")
    nets, bases = nets_of(study, "relu-net"), nets_of(study, "base")
    slopes, lower, notes = [], [], []
    for net, base in zip(nets, bases, strict=True):
        test = net.accumulator.splits["test"]
        match, size = two_layer_match(net.layers, test.x(), test.y(), net.task.contexts, study.budget.draws)
        slopes.append(net.slope(match, log2=True).value)
        lower.append(peak(base.match("gd")).value - peak(match).value)
        notes.append(f"GD of size {size:g}, best steps {match.best[1:]}")
    quiet = {name: _quiet(study, nets_of(study, f"{name}-net")) for name in ("tanh", "relu")}
    errors = "errors of the first seed "
    return [
        row(study, "m-gd", slopes, "relu-net", f"{notes[0]}; {errors}" + listed(nets[0].errors())),
        row(study, "m-lower", lower, "base and relu-net"),
        row(study, "m-tanh", quiet["tanh"], "tanh-net",
            f"ReLU nets {quiet['relu'][0]:.2g}; {errors}" + listed(nets_of(study, "tanh-net")[0].errors())),
    ]  # fmt: skip


def _quiet(study: Study, nets: Sequence[MatchedNet]) -> list[float]:
    """Share of layers that beat no control."""
    return [1 - len(net.speaking) / study.budget.side.layers for net in nets]
