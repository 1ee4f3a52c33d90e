"""Study: do a transformer's layers run Newton's method in context? (Fu, Chen, Jia & Sharan, arXiv 2310.17086.)

Owns what is measured for each claim. Main-arm rows are means over seeds with Student's t; rows of a single run have
bootstraps over its test prompts where a figure has one, else no interval (and then "partly" at best). What the rows do
not show: a match is the nearest of the steps offered, and says no more than that; the rows "filter-..." ask which
family the readout's filter can be told to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from interp.develop.algorithms import AlgorithmMatch
from interp.models.lstm_config import LSTMConfig
from interp.models.transformer_config import TransformerConfig
from interp.run import Run
from interp.studies import newton_rates as rates
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_nets import Bench
from interp.studies.newton_claims import CLAIMS
from interp.studies.newton_filters import filter_rows
from interp.studies.newton_nets import Net, forgetting, outside_span, relative_errors
from interp.studies.newton_runs import BUDGETS, Budget, arm_config, arm_run, main_run
from interp.studies.newton_two_layer import peak as peak_of
from interp.studies.newton_two_layer import two_layer_match
from probes import stats
from probes.stats import Interval
from tasks.algorithms import Algorithm
from tasks.regression import InContextRegression

NAME = "newton"
OLS, OGD = Algorithm("ols"), Algorithm("ogd")
Say = Callable[[str], None]


@dataclass
class Study:
    """A study under way: where its runs are, what was read of them."""

    bench: Bench
    budget: Budget
    nets: dict[str, Net] = field(default_factory=dict)

    def settings(self, filters: int) -> AlgorithmMatch:
        return AlgorithmMatch(
            chunks=self.budget.chunks, filter_prompts=filters, weight_prompts=48, draws=self.budget.draws
        )

    @property
    def mains(self) -> list[Net]:
        """The seeds of the main arm, read with a filter verdict."""
        return [self._net(f"main-{seed}", lambda s=seed: self._main(s), True) for seed in self.bench.seeds]

    def _main(self, seed: int) -> Run:
        return main_run(self.budget, self.bench.out, seed)

    def arm(self, name: str) -> Net:
        """The one run of an arm."""
        return self._net(name, lambda: self.run(name), False)

    def run(self, name: str) -> Run:
        """The run of an arm, not read yet."""
        return arm_run(self.budget, self.bench.out, name, self.bench.seeds[0])

    def _net(self, name: str, run: Callable[[], Run], filters: bool) -> Net:
        if name not in self.nets:
            self.bench.say(f"{NAME}: {name}")
            settings = self.settings(self.budget.filter_prompts if filters else 2)
            self.nets[name] = Net.of(run(), settings)
        return self.nets[name]

    def main_row(self, claim: str, figure: Callable[[Net], float], note: str = "") -> Row:
        """A row of the main arm: one figure a seed."""
        return self.row(claim, [figure(net) for net in self.mains], "main", note)

    def row(self, claim: str, found: Interval | list[float], arm: str, note: str = "") -> Row:
        """A row; where a figure does not exist it is NaN, and the claim is not reproduced."""
        if not isinstance(found, Interval) and any(math.isnan(value) for value in found):
            each = ", ".join(f"{value:.3g}" for value in found)
            note = "; ".join(part for part in (note, f"not defined in every seed: {each}") if part)
            found = Interval(math.nan, math.nan, math.nan, len(found), "none")
        return self.bench.row(CLAIMS[claim], found, arm=arm, budget=self.words(arm), note=note)

    def words(self, arm: str) -> str:
        """The budget of an arm (or of several, joined by " and ") as a row says it."""
        if arm == "main":
            return str(self.budget.main)
        if arm.startswith("closed form"):
            return "no training"
        config = arm_config(self.budget, arm.split(" and ")[-1], 0)
        model, task = config.model, config.task
        assert isinstance(model, TransformerConfig | LSTMConfig)
        assert isinstance(task, InContextRegression)
        heads = f", {model.n_heads} heads" if isinstance(model, TransformerConfig) else " LSTM"
        size = f"{model.n_layers} layers x {model.d_model}{heads}"
        return f"d {task.d}, n {task.n}, {size}, {config.train.steps} steps"


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to those of the scale."""
    budget = BUDGETS[scale]
    chosen = tuple(range(budget.seeds)) if seeds is None else tuple(seeds)
    return measure(Study(Bench(NAME, scale, out, chosen, say), budget), scale)


def measure(study: Study, scale: Scale) -> Ledger:
    """The ledger of a study."""
    rows: list[Row] = []
    parts = (
        falling,
        newton_match,
        gd_match,
        induced,
        rivals,
        conditioning,
        widths,
        lstm,
        depth_and_heads,
        span,
    )
    for part in (*parts, noise, nonlinear, closed_forms, table_one, filters, causes, elsewhere):
        study.bench.say(f"{NAME}: {part.__name__.replace('_', ' ')}")
        rows += part(study)
    order = list(CLAIMS)
    return Ledger(NAME, scale, study.bench.seeds, tuple(sorted(rows, key=lambda row: order.index(row.id))))


def falling(study: Study) -> list[Row]:
    """Claim a."""

    def last_share(net: Net) -> float:
        gains = -net.errors("t>d").log().diff()
        return float(gains[-1] / gains.max()) if net.speaking else math.nan

    def steepest(net: Net) -> float:
        errors = net.errors()
        return max((float(errors[i] / errors[i - 1]) for i in net.speaking), default=math.nan)

    return [
        study.main_row("a-falls", steepest,
                       note="errors " + _listed(study.mains[0].errors())),
        study.main_row("a-order", lambda net: net.order(net.errors_by_prompt("t>d")).value,
                       note="errors at t > d " + _listed(study.mains[0].errors("t>d"))),
        study.main_row("a-flat", last_share),
    ]  # fmt: skip


def newton_match(study: Study) -> list[Row]:
    """Claim b."""

    def last_gain(net: Net) -> float:
        best = net.match("newton").best
        before = [best[i] for i in net.speaking[:-1]]
        return (
            (best[-1] - before[-1]) / ((before[-1] - before[0]) / (len(before) - 1))
            if len(before) > 2
            else math.nan
        )

    note = "best steps " + "; ".join(str(net.match("newton").best[1:]) for net in study.mains)
    return [
        study.main_row("b-slope", lambda net: net.slope(net.match("newton")).value, note),
        study.main_row("b-linear", lambda net: net.straightness(net.match("newton"))),
        study.main_row("b-saturates", last_gain),
    ]


def gd_match(study: Study) -> list[Row]:
    """Claim c."""

    def largest(net: Net) -> float:
        return float(np.diff(net.match("gd").best).max())

    note = "best steps " + "; ".join(str(net.match("gd").best[1:]) for net in study.mains)
    return [
        study.main_row("c-slope", lambda net: net.slope(net.match("gd"), log2=True).value, note),
        study.main_row("c-single", largest),
        study.main_row(
            "c-one-fact",
            lambda net: rates.gd_doublings(net.problems, net.answers),
            "no net: best GD step for Newton steps 2 to 12 on the prompts of the main arm",
        ),
    ]


def induced(study: Study) -> list[Row]:
    """Claims d and j."""

    def alike(net: Net) -> torch.Tensor:
        wanted = rates.ols_weights(net.reader)
        return torch.nn.functional.cosine_similarity(net.weights[-1], wanted, dim=-1).mean(0)

    def dip(net: Net) -> float:
        by_read, d = alike(net), net.task.d
        return float(by_read[d - 1] - (by_read[d // 2] + by_read[-1]) / 2)

    def first(net: Net) -> float:
        return max(float(net.match_weights(family).point[1].max()) for family in ("newton", "gd"))

    note = "best steps " + "; ".join(str(net.match_weights("newton").best[1:]) for net in study.mains)
    return [
        study.main_row("d-slope", lambda net: net.slope(net.match_weights("newton")).value, note),
        study.main_row("d-first", first),
        study.main_row("j-ols", lambda net: float(alike(net)[1:].mean()), "mean over t = 2 .. n"),
        study.main_row("j-dip", dip, "by t of seed 0: " + _listed(alike(study.mains[0]))),
    ]


def rivals(study: Study) -> list[Row]:
    """Claim e."""
    note = "CG ends after d steps, which at this d bounds its slope"
    return [
        study.main_row("e-bfgs", lambda net: net.straightness(net.match("bfgs")),
                       "step halved until Armijo's condition holds"),
        study.main_row("e-cg", lambda net: net.slope(net.match("cg")).value, note),
        study.main_row("e-lbfgs", lambda net: net.slope(net.match("lbfgs")).value, "d // 2 pairs"),
    ]  # fmt: skip


def conditioning(study: Study) -> list[Row]:
    """Claim f: one Sigma a prompt, trace-normalised."""
    base = study.arm("base")
    rows = []
    for claim, arm, family in (
        ("f-mild", "kappa-10", "newton"), ("f-newton", "kappa-100", "newton"), ("f-gd", "kappa-100", "gd"),
    ):  # fmt: skip
        steps = [net.best_steps(family) for net in (base, study.arm(arm))]
        rows.append(
            study.row(claim, _quotient(steps[1], steps[0]), f"base and {arm}", _best_of(base, study.arm(arm)))
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
    errors = {w: relative_errors(r, _task(r), 512)[:, _task(r).d + 1 :].mean(1) for w, r in runs.items()}
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
                  "errors " + _listed(net.errors())),
        study.row("h-newton", net.best_steps("newton"), "lstm"),
    ]  # fmt: skip
    for claim, run, arm in (("h-recent", net.run, "lstm"), ("h-keeps", study.arm("base").run, "base")):
        ages = (1, _task(run).n)
        both = forgetting(run, 1024, ages)
        found = stats.ratio(both[:, 1], both[:, 0], draws=study.budget.draws).one()
        note = f"ages {ages[1]} and {ages[0]}: errors " + _listed(both.mean(0).flip(0))
        rows.append(study.row(claim, found, arm, note))
    return rows


def depth_and_heads(study: Study) -> list[Row]:
    """Claim i."""
    nets = {name: study.arm(name) for name in ("base", "one-head", "half-depth")}
    slopes = {name: net.slope(net.match("newton")) for name, net in nets.items()}
    base = slopes["base"]
    return [
        study.row("i-one-head", _quotient(slopes["one-head"], base), "base and one-head",
                  _best_of(study.arm("base"), study.arm("one-head"))),
        study.row("i-depth", _quotient(base, slopes["half-depth"]), "base and half-depth",
                  _best_of(study.arm("base"), study.arm("half-depth"))),
    ]  # fmt: skip


def span(study: Study) -> list[Row]:
    """Claim k: reads with fewer examples than dimensions."""

    def share(net: Net) -> float:
        few = net.weights.shape[1]
        x = net.problems.x[:few]
        outside = torch.stack(
            [outside_span(net.weights[-1, :, t - 1], x[:, :t]) for t in range(1, net.task.d)]
        )
        return float(outside.mean() / net.weights[-1, :, : net.task.d - 1].square().sum(-1).mean())

    return [study.main_row("k-span", share, "random weights: half or so")]


def noise(study: Study) -> list[Row]:
    """Claim l: the target is ridge."""
    net = study.arm("noise")
    best = net.distances(Algorithm("ridge", sizes={"mu": net.task.noise**2}), "t>d")
    return [
        study.row("l-order", net.order(best), "noise", "distance to Bayes' ridge " + _listed(best.mean(0))),
        study.row(
            "l-slope", net.slope(net.match("newton")), "noise", f"best steps {net.match('newton').best[1:]}"
        ),
    ]


def nonlinear(study: Study) -> list[Row]:
    """Claim m."""
    net, base = study.arm("relu-net"), study.arm("base")
    test = net.reader.splits["test"]
    match, size = two_layer_match(net.layers, test.x(), test.y(), net.task.contexts, study.budget.draws)
    own, linear = peak_of(match), peak_of(base.match("gd"))
    lower = Interval(
        linear.value - own.value, linear.low - own.high, linear.high - own.low, own.n, "bounds over prompts"
    )
    quiet = [
        1 - len(study.arm(f"{name}-net").speaking) / study.budget.arm.layers for name in ("tanh", "relu")
    ]
    note = f"GD of size {size:g}, best steps {match.best[1:]}; errors " + _listed(net.errors())
    return [
        study.row("m-gd", net.slope(match, log2=True), "relu-net", note),
        study.row("m-lower", lower, "base and relu-net", f"{linear.value:.3f} and {own.value:.3f}"),
        study.row("m-tanh", _exact(quiet[0]), "tanh-net",
                  f"ReLU nets {quiet[1]:.2g}; errors " + _listed(study.arm("tanh-net").errors())),
    ]  # fmt: skip


def closed_forms(study: Study) -> list[Row]:
    """Claim n and the depth theorem: no training."""
    error, layers = rates.wired_newton_error()
    figures = {
        "n-gd": rates.gd_slope(), "n-newton": rates.newton_slope(), "n-quadratic": rates.newton_last_step(),
        "n-cg": rates.cg_slope(), "theorem": error, "theorem-depth": float(layers),
    }  # fmt: skip
    return [study.row(name, _exact(value), "closed form") for name, value in figures.items()]


def table_one(study: Study) -> list[Row]:
    """The paper's Table 1."""
    net = study.arm("lstm")

    def peak(net: Net, family: str) -> float:
        return float(net.match(family).point[-1].max())

    rows = [
        study.main_row("table-tf-newton", lambda net: peak(net, "newton")),
        study.main_row(
            "table-tf-gd", lambda net: peak(net, "gd"), "from w = 0; the paper's GD started at random"
        ),
        study.main_row("table-tf-ogd", lambda net: net.similarity(OGD).value),
        study.main_row("table-order", lambda net: peak(net, "newton") - peak(net, "gd")),
    ]
    for family in ("newton", "gd"):
        match = net.match(family)
        found = stats.percentile(
            match.point[-1].max(), match.draws[:, -1].amax(-1), net.layers.shape[1]
        ).one()
        rows.append(study.row(f"table-lstm-{family}", found, "lstm"))
    rows.append(study.row("table-lstm-ogd", net.similarity(OGD), "lstm"))
    return rows


def filters(study: Study) -> list[Row]:
    """What the filter of each climbing layer can be told to be."""
    found = [filter_rows(net) for net in study.mains]
    return [
        study.row("filter-named", [f.share_newton for f in found], "main", "; ".join(f.words for f in found)),
        study.row("filter-slope", [f.slope for f in found], "main"),
        study.row("filter-linear", [f.nonlinear for f in found], "main"),
    ]


def causes(study: Study) -> list[Row]:
    """Whether the directions that iterates are read from are used."""

    def mean(net: Net, family: str) -> float:
        return (
            float(np.mean(list(net.causal_slopes[family].values())))
            if net.causal_slopes[family]
            else math.nan
        )

    first = study.mains[0].causal_slopes
    note = "seed 0 by block: " + "; ".join(
        f"{family} " + ", ".join(f"{value:.2g} at {block}" for block, value in slopes.items())
        for family, slopes in first.items()
    )
    return [
        study.main_row("causal-newton", lambda net: mean(net, "newton"), note),
        study.main_row("causal-lead", lambda net: mean(net, "newton") - mean(net, "gd")),
    ]


def elsewhere(study: Study) -> list[Row]:
    """Prompts of other laws, and longer ones than in training."""

    def worse(change: dict[str, object]) -> Callable[[Net], float]:
        def figure(net: Net) -> float:
            d = net.task.d
            both = [
                float(relative_errors(net.run, net.task.model_copy(update=update), 1024)[:, d + 1 :].mean())
                for update in (change, {})
            ]
            return both[0] / both[1]

        return figure

    run = study.run("any-length")
    task = _task(run)
    long = relative_errors(run, task.model_copy(update={"n": 2 * task.n}), 1024)
    note = "errors at n and 2n " + _listed(long.mean(0)[[task.n, 2 * task.n]])
    beyond = stats.ratio(long[:, task.n + 1 :].mean(1), long[:, task.n], draws=study.budget.draws).one()
    return [
        study.main_row("ood-x", worse({"x_scale": 2.0})),
        study.main_row("ood-w", worse({"weight_scale": 2.0})),
        study.main_row("ood-spectrum", worse({"kappa": 10.0, "basis": "prompt"})),
        study.row("long", beyond, "any-length", note),
    ]


def _task(run: Run) -> InContextRegression:
    assert isinstance(run.task, InContextRegression)
    return run.task


def _exact(value: float) -> Interval:
    return Interval(value, value, value, 1, "exact")


def _quotient(top: Interval, bottom: Interval) -> Interval:
    """A quotient of two positive figures; its ends are quotients of the ends, so it is conservative."""
    if not (bottom.low > 0):
        return Interval(top.value / bottom.value, math.nan, math.nan, 1, "none: the divisor may be 0")
    return Interval(
        top.value / bottom.value,
        top.low / bottom.high,
        top.high / bottom.low,
        1,
        "bounds over prompts, one seed",
    )


def _listed(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.2g}" for value in values.tolist())


def _best_of(*nets: Net) -> str:
    return "best Newton steps " + " and ".join(str(net.match("newton").best[1:]) for net in nets)
