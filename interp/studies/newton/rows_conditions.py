"""Claims of the study of layers against Newton's method that rest on conditions with one seed: other
distributions, sizes and nets.

Owns the rows; their intervals are bootstraps over the test prompts of one run, so they do not show what another seed
would give.
"""

from __future__ import annotations

from interp.studies.context import exactly
from interp.studies.ledger import Row
from interp.studies.newton.measure import forgetting, relative_errors
from interp.studies.newton.measure_two_layer import peak, two_layer_match
from interp.studies.newton.rows_common import (
    OLS,
    Study,
    best_of,
    listed,
    net_of,
    quotient,
    row,
    run_of,
    task_of,
)
from probes import stats
from probes.algorithms.iterates import Algorithm
from probes.stats import Interval


def conditioning(study: Study) -> list[Row]:
    """Claim f: one Sigma a prompt, trace-normalised."""
    base = net_of(study, "base")
    rows = []
    for claim, condition, family in (
        ("f-mild", "kappa-10", "newton"), ("f-newton", "kappa-100", "newton"), ("f-gd", "kappa-100", "gd"),
    ):  # fmt: skip
        steps = [net.best_steps(family) for net in (base, net_of(study, condition))]
        rows.append(
            row(
                study,
                claim,
                quotient(steps[1], steps[0]),
                f"base and {condition}",
                best_of(base, net_of(study, condition)),
            )
        )
    net = net_of(study, "kappa-100")
    places = net.reads("t>d")
    error = (net.layers[-1] - net.answers)[:, places].square().mean(1) / net.task.label_variance
    found = stats.bootstrap(error, draws=study.budget.draws).one()
    return [
        *rows,
        row(study, "f-solved", found, "kappa-100", f"at Sigma = I {float(base.errors('t>d')[-1]):.2g}"),
    ]


def widths(study: Study) -> list[Row]:
    """Claim g: one head, widths below and above d."""
    runs = {width: run_of(study, f"width-{width}") for width in study.budget.widths}
    errors = {w: relative_errors(r, task_of(r), 512)[:, task_of(r).d + 1 :].mean(1) for w, r in runs.items()}
    low, high = min(runs), max(runs)
    note = "errors at t > d: " + ", ".join(f"{float(e.mean()):.3g} at {w}" for w, e in errors.items())
    wide = net_of(study, f"width-{high}")
    return [
        row(study, "g-wide", wide.similarity(OLS), f"width-{high}"),
        row(study, "g-narrow", stats.ratio(errors[low], errors[high], draws=study.budget.draws).one(),
                  f"width-{low} and width-{high}", note),
    ]  # fmt: skip


def lstm(study: Study) -> list[Row]:
    """Claim h."""
    net = net_of(study, "lstm")
    error = (net.layers[[1, -1]] - net.answers).square().mean(2)
    rows = [
        row(study, "h-flat", stats.ratio(error[1], error[0], draws=study.budget.draws).one(), "lstm",
                  "errors " + listed(net.errors())),
        row(study, "h-newton", net.best_steps("newton"), "lstm"),
    ]  # fmt: skip
    for claim, run, condition in (
        ("h-recent", net.run, "lstm"),
        ("h-keeps", net_of(study, "base").run, "base"),
    ):
        ages = (1, task_of(run).n)
        both = forgetting(run, 1024, ages)
        found = stats.ratio(both[:, 1], both[:, 0], draws=study.budget.draws).one()
        note = f"ages {ages[1]} and {ages[0]}: errors " + listed(both.mean(0).flip(0))
        rows.append(row(study, claim, found, condition, note))
    return rows


def depth_and_heads(study: Study) -> list[Row]:
    """Claim i."""
    nets = {name: net_of(study, name) for name in ("base", "one-head", "half-depth")}
    slopes = {name: net.slope(net.match("newton")) for name, net in nets.items()}
    base = slopes["base"]
    return [
        row(study, "i-one-head", quotient(slopes["one-head"], base), "base and one-head",
                  best_of(net_of(study, "base"), net_of(study, "one-head"))),
        row(study, "i-depth", quotient(base, slopes["half-depth"]), "base and half-depth",
                  best_of(net_of(study, "base"), net_of(study, "half-depth"))),
    ]  # fmt: skip


def noise(study: Study) -> list[Row]:
    """Claim l: the target is ridge."""
    net = net_of(study, "noise")
    best = net.distances(Algorithm("ridge", sizes={"mu": net.task.noise**2}), "t>d")
    return [
        row(study, "l-order", net.order(best), "noise", "distance to Bayes' ridge " + listed(best.mean(0))),
        row(
            study,
            "l-slope",
            net.slope(net.match("newton")),
            "noise",
            f"best steps {net.match('newton').best[1:]}",
        ),
    ]


def nonlinear(study: Study) -> list[Row]:
    """Claim m."""
    net, base = net_of(study, "relu-net"), net_of(study, "base")
    test = net.reader.splits["test"]
    match, size = two_layer_match(net.layers, test.x(), test.y(), net.task.contexts, study.budget.draws)
    own, linear = peak(match), peak(base.match("gd"))
    lower = Interval(
        linear.value - own.value, linear.low - own.high, linear.high - own.low, own.n, "bounds over prompts"
    )
    quiet = [
        1 - len(net_of(study, f"{name}-net").speaking) / study.budget.side.layers for name in ("tanh", "relu")
    ]
    note = f"GD of size {size:g}, best steps {match.best[1:]}; errors " + listed(net.errors())
    return [
        row(study, "m-gd", net.slope(match, log2=True), "relu-net", note),
        row(study, "m-lower", lower, "base and relu-net", f"{linear.value:.3f} and {own.value:.3f}"),
        row(study, "m-tanh", exactly(quiet[0]), "tanh-net",
                  f"ReLU nets {quiet[1]:.2g}; errors " + listed(net_of(study, "tanh-net").errors())),
    ]  # fmt: skip
