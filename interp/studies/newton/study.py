"""Study: do a transformer's layers run Newton's method in context? (Fu, Chen, Jia & Sharan, arXiv 2310.17086.)

Owns what is measured for each claim. Main-arm rows are means over seeds with Student's t; rows of a single run have
bootstraps over its test prompts where a figure has one, else no interval (and then "partly" at best). What the rows do
not show: a match is the nearest of the steps offered, and says no more than that; the rows "filter-..." ask which
family the readout's filter can be told to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_common import Bench
from interp.studies.newton import rates as rates
from interp.studies.newton.arms import conditioning, depth_and_heads, lstm, noise, nonlinear, widths
from interp.studies.newton.claims import CLAIMS
from interp.studies.newton.context import NAME, OGD, Study, exact, listed, task_of
from interp.studies.newton.filters import filter_rows
from interp.studies.newton.nets import Net, outside_span, relative_errors
from interp.studies.newton.runs import BUDGETS
from probes import stats

Say = Callable[[str], None]


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
                       note="errors " + listed(study.mains[0].errors())),
        study.main_row("a-order", lambda net: net.order(net.errors_by_prompt("t>d")).value,
                       note="errors at t > d " + listed(study.mains[0].errors("t>d"))),
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
        study.main_row("j-dip", dip, "by t of seed 0: " + listed(alike(study.mains[0]))),
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


def closed_forms(study: Study) -> list[Row]:
    """Claim n and the depth theorem: no training."""
    error, layers = rates.wired_newton_error()
    figures = {
        "n-gd": rates.gd_slope(), "n-newton": rates.newton_slope(), "n-quadratic": rates.newton_last_step(),
        "n-cg": rates.cg_slope(), "theorem": error, "theorem-depth": float(layers),
    }  # fmt: skip
    return [study.row(name, exact(value), "closed form") for name, value in figures.items()]


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
    task = task_of(run)
    long = relative_errors(run, task.model_copy(update={"n": 2 * task.n}), 1024)
    note = "errors at n and 2n " + listed(long.mean(0)[[task.n, 2 * task.n]])
    beyond = stats.ratio(long[:, task.n + 1 :].mean(1), long[:, task.n], draws=study.budget.draws).one()
    return [
        study.main_row("ood-x", worse({"x_scale": 2.0})),
        study.main_row("ood-w", worse({"weight_scale": 2.0})),
        study.main_row("ood-spectrum", worse({"kappa": 10.0, "basis": "prompt"})),
        study.row("long", beyond, "any-length", note),
    ]
