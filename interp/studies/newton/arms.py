"""Claims of the study of layers against Newton's method that rest on arms with one seed: other laws, sizes and nets.

Owns the rows; their intervals are bootstraps over the test prompts of one run, so they do not show what another seed
would give.
"""

from __future__ import annotations

from interp.studies.ledger import Row
from interp.studies.newton.context import OLS, Study, best_of, exact, listed, quotient, task_of
from interp.studies.newton.nets import forgetting, relative_errors
from interp.studies.newton.two_layer import peak, two_layer_match
from probes import stats
from probes.algorithms.iterates import Algorithm
from probes.stats import Interval


def conditioning(study: Study) -> list[Row]:
    """Claim f: one Sigma a prompt, trace-normalised."""
    base = study.arm("base")
    rows = []
    for claim, arm, family in (
        ("f-mild", "kappa-10", "newton"), ("f-newton", "kappa-100", "newton"), ("f-gd", "kappa-100", "gd"),
    ):  # fmt: skip
        steps = [net.best_steps(family) for net in (base, study.arm(arm))]
        rows.append(
            study.row(claim, quotient(steps[1], steps[0]), f"base and {arm}", best_of(base, study.arm(arm)))
        )
    net = study.arm("kappa-100")
    places = net.reads("t>d")
    error = (net.layers[-1] - net.answers)[:, places].square().mean(1) / net.task.label_variance
    found = stats.bootstrap(error, draws=study.budget.draws).one()
    return [
        *rows,
        study.row("f-solved", found, "kappa-100", f"at Sigma = I {float(base.errors('t>d')[-1]):.2g}"),
    ]


def widths(study: Study) -> list[Row]:
    """Claim g: one head, widths below and above d."""
    runs = {width: study.run(f"width-{width}") for width in study.budget.widths}
    errors = {w: relative_errors(r, task_of(r), 512)[:, task_of(r).d + 1 :].mean(1) for w, r in runs.items()}
    low, high = min(runs), max(runs)
    note = "errors at t > d: " + ", ".join(f"{float(e.mean()):.3g} at {w}" for w, e in errors.items())
    wide = study.arm(f"width-{high}")
    return [
        study.row("g-wide", wide.similarity(OLS), f"width-{high}"),
        study.row("g-narrow", stats.ratio(errors[low], errors[high], draws=study.budget.draws).one(),
                  f"width-{low} and width-{high}", note),
    ]  # fmt: skip


def lstm(study: Study) -> list[Row]:
    """Claim h."""
    net = study.arm("lstm")
    error = (net.layers[[1, -1]] - net.answers).square().mean(2)
    rows = [
        study.row("h-flat", stats.ratio(error[1], error[0], draws=study.budget.draws).one(), "lstm",
                  "errors " + listed(net.errors())),
        study.row("h-newton", net.best_steps("newton"), "lstm"),
    ]  # fmt: skip
    for claim, run, arm in (("h-recent", net.run, "lstm"), ("h-keeps", study.arm("base").run, "base")):
        ages = (1, task_of(run).n)
        both = forgetting(run, 1024, ages)
        found = stats.ratio(both[:, 1], both[:, 0], draws=study.budget.draws).one()
        note = f"ages {ages[1]} and {ages[0]}: errors " + listed(both.mean(0).flip(0))
        rows.append(study.row(claim, found, arm, note))
    return rows


def depth_and_heads(study: Study) -> list[Row]:
    """Claim i."""
    nets = {name: study.arm(name) for name in ("base", "one-head", "half-depth")}
    slopes = {name: net.slope(net.match("newton")) for name, net in nets.items()}
    base = slopes["base"]
    return [
        study.row("i-one-head", quotient(slopes["one-head"], base), "base and one-head",
                  best_of(study.arm("base"), study.arm("one-head"))),
        study.row("i-depth", quotient(base, slopes["half-depth"]), "base and half-depth",
                  best_of(study.arm("base"), study.arm("half-depth"))),
    ]  # fmt: skip


def noise(study: Study) -> list[Row]:
    """Claim l: the target is ridge."""
    net = study.arm("noise")
    best = net.distances(Algorithm("ridge", sizes={"mu": net.task.noise**2}), "t>d")
    return [
        study.row("l-order", net.order(best), "noise", "distance to Bayes' ridge " + listed(best.mean(0))),
        study.row(
            "l-slope", net.slope(net.match("newton")), "noise", f"best steps {net.match('newton').best[1:]}"
        ),
    ]


def nonlinear(study: Study) -> list[Row]:
    """Claim m."""
    net, base = study.arm("relu-net"), study.arm("base")
    test = net.reader.splits["test"]
    match, size = two_layer_match(net.layers, test.x(), test.y(), net.task.contexts, study.budget.draws)
    own, linear = peak(match), peak(base.match("gd"))
    lower = Interval(
        linear.value - own.value, linear.low - own.high, linear.high - own.low, own.n, "bounds over prompts"
    )
    quiet = [
        1 - len(study.arm(f"{name}-net").speaking) / study.budget.arm.layers for name in ("tanh", "relu")
    ]
    note = f"GD of size {size:g}, best steps {match.best[1:]}; errors " + listed(net.errors())
    return [
        study.row("m-gd", net.slope(match, log2=True), "relu-net", note),
        study.row("m-lower", lower, "base and relu-net", f"{linear.value:.3f} and {own.value:.3f}"),
        study.row("m-tanh", exact(quiet[0]), "tanh-net",
                  f"ReLU nets {quiet[1]:.2g}; errors " + listed(study.arm("tanh-net").errors())),
    ]  # fmt: skip
