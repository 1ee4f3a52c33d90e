"""Rows of the study of layers against Newton's method on its main condition, and its closed forms.

Rows of the main condition are means over seeds. What the rows do not show: a match is the nearest of
the steps offered, and says no more than that; the rows of `rows_growth` ask which family the readout's
filter can be identified as.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from interp.studies.context import exactly
from interp.studies.ledger import Row
from interp.studies.newton import theory as rates
from interp.studies.newton.measure import MatchedNet, outside_span, relative_errors
from interp.studies.newton.rows_common import (
    OGD,
    Study,
    lacks,
    listed,
    main_row,
    mains,
    row,
    runs_of,
    task_of,
    untested,
)

BETWEEN = (80, 96, 112, 144, 160, 192, 224)


def falling(study: Study) -> list[Row]:
    """Claim a."""

    def last_share(net: MatchedNet) -> float:
        gains = -net.errors("t>d").log().diff()
        return float(gains[-1] / gains.max()) if net.speaking else math.nan

    def steepest(net: MatchedNet) -> float:
        errors = net.errors()
        return max((float(errors[i] / errors[i - 1]) for i in net.speaking), default=math.nan)

    return [
        main_row(study, "a-falls", steepest,
                       note="errors " + listed(mains(study)[0].errors())),
        main_row(study, "a-order", lambda net: net.order(net.errors_by_prompt("t>d")).value,
                       note="errors at t > d " + listed(mains(study)[0].errors("t>d"))),
        main_row(study, "a-flat", last_share),
    ]  # fmt: skip


def newton_match(study: Study) -> list[Row]:
    """Claim b."""

    def last_gain(net: MatchedNet) -> float:
        best = net.match("newton").best
        before = [best[i] for i in net.speaking[:-1]]
        return (
            (best[-1] - before[-1]) / ((before[-1] - before[0]) / (len(before) - 1))
            if len(before) > 2
            else math.nan
        )

    note = "best steps " + "; ".join(str(net.match("newton").best[1:]) for net in mains(study))
    return [
        main_row(study, "b-slope", lambda net: net.slope(net.match("newton")).value, note),
        main_row(study, "b-linear", lambda net: net.straightness(net.match("newton"))),
        main_row(study, "b-saturates", last_gain),
    ]


def gd_match(study: Study) -> list[Row]:
    """Claim c."""

    def largest(net: MatchedNet) -> float:
        return float(np.diff(net.match_finely(BETWEEN).best).max())

    note = "best steps " + "; ".join(str(net.match("gd").best[1:]) for net in mains(study))
    return [
        main_row(study, "c-slope", lambda net: net.slope(net.match("gd"), log2=True).value, note),
        main_row(
            study, "c-single", largest, "steps offered between 64 and 256: " + ", ".join(map(str, BETWEEN))
        ),
        main_row(
            study,
            "c-one-fact",
            lambda net: rates.gd_doublings(net.problems, net.answers),
            "no net: best GD step for Newton steps 2 to 12 on the prompts of the main condition",
        ),
    ]


def induced(study: Study) -> list[Row]:
    """Claims d and j."""

    def alike(net: MatchedNet) -> torch.Tensor:
        wanted = rates.ols_weights(net.accumulator)
        return torch.nn.functional.cosine_similarity(net.weights[-1], wanted, dim=-1).mean(0)

    def dip(net: MatchedNet) -> float:
        by_output, d = alike(net), net.task.d
        return float(by_output[d - 1] - (by_output[d // 2] + by_output[-1]) / 2)

    def first(net: MatchedNet) -> float:
        return max(float(net.match_weights(family).point[1].max()) for family in ("newton", "gd"))

    note = "best steps " + "; ".join(str(net.match_weights("newton").best[1:]) for net in mains(study))
    return [
        main_row(study, "d-slope", lambda net: net.slope(net.match_weights("newton")).value, note),
        main_row(study, "d-first", first),
        main_row(study, "j-ols", lambda net: float(alike(net)[1:].mean()), "mean over t = 2 .. n"),
        main_row(study, "j-dip", dip, "by t of seed 0: " + listed(alike(mains(study)[0]))),
    ]


def rivals(study: Study) -> list[Row]:
    """Claim e."""
    note = "CG ends after d steps, which at this d bounds its slope"
    return [
        main_row(study, "e-bfgs", lambda net: net.slope(net.match("bfgs")).value,
                       "step halved until Armijo's condition holds"),
        main_row(study, "e-cg", lambda net: net.slope(net.match("cg")).value, note),
        main_row(study, "e-lbfgs", lambda net: net.slope(net.match("lbfgs")).value, "d // 2 pairs"),
    ]  # fmt: skip


def span(study: Study) -> list[Row]:
    """Claim k: reads with fewer examples than dimensions."""

    def share(net: MatchedNet) -> float:
        few = net.weights.shape[1]
        x = net.problems.x[:few]
        outside = torch.stack(
            [outside_span(net.weights[-1, :, t - 1], x[:, :t]) for t in range(1, net.task.d)]
        )
        return float(outside.mean() / net.weights[-1, :, : net.task.d - 1].square().sum(-1).mean())

    return [main_row(study, "k-span", share, "random weights: half or so")]


def closed_forms(study: Study) -> list[Row]:
    """Claim n and the depth theorem: no training."""
    error, layers = rates.constructed_newton_error()
    figures = {
        "n-gd": rates.gd_slope(), "n-newton": rates.newton_slope(), "n-quadratic": rates.newton_last_step(),
        "n-cg": rates.cg_slope(), "theorem": error, "theorem-depth": float(layers),
    }  # fmt: skip
    return [row(study, name, exactly(value), "closed form") for name, value in figures.items()]


def table_one(study: Study) -> list[Row]:
    """The transformer's rows of the paper's Table 1."""

    def peak(net: MatchedNet, family: str) -> float:
        return float(net.match(family).point[-1].max())

    return [
        main_row(study, "table-tf-newton", lambda net: peak(net, "newton")),
        main_row(
            study, "table-tf-gd", lambda net: peak(net, "gd"), "from w = 0; the paper's GD started at random"
        ),
        main_row(study, "table-tf-ogd", lambda net: net.similarity(OGD).value),
        main_row(study, "table-order", lambda net: peak(net, "newton") - peak(net, "gd")),
    ]


def causes(study: Study) -> list[Row]:
    """Whether the directions that iterates are read from are used."""

    def mean(net: MatchedNet, family: str) -> float:
        return (
            float(np.mean(list(net.causal_slopes[family].values())))
            if net.causal_slopes[family]
            else math.nan
        )

    first = mains(study)[0].causal_slopes
    note = "seed 0 by block: " + "; ".join(
        f"{family} " + ", ".join(f"{value:.2g} at {block}" for block, value in slopes.items())
        for family, slopes in first.items()
    )
    return [
        main_row(study, "causal-newton", lambda net: mean(net, "newton"), note),
        main_row(study, "causal-lead", lambda net: mean(net, "newton") - mean(net, "gd")),
    ]


def elsewhere(study: Study) -> list[Row]:
    """Prompts of other distributions."""

    def worse(change: dict[str, object]) -> Callable[[MatchedNet], float]:
        def figure(net: MatchedNet) -> float:
            d = net.task.d
            both = [
                float(relative_errors(net.run, net.task.model_copy(update=update), 1024)[:, d + 1 :].mean())
                for update in (change, {})
            ]
            return both[0] / both[1]

        return figure

    return [
        main_row(study, "ood-x", worse({"x_scale": 2.0})),
        main_row(study, "ood-w", worse({"weight_scale": 2.0})),
        main_row(study, "ood-spectrum", worse({"kappa": 10.0, "basis": "prompt"})),
        *longer(study),
    ]


def longer(study: Study) -> list[Row]:
    """Prompts longer than in training, read by nets without learned positions."""
    if lacks(study, "any-length"):
        return untested(study, "long", why="nets without learned positions")
    beyond, notes = [], []
    for run in runs_of(study, "any-length"):
        task = task_of(run)
        long = relative_errors(run, task.model_copy(update={"n": 2 * task.n}), 1024).mean(0)
        beyond.append(float(long[task.n + 1 :].mean() / long[task.n]))
        notes.append("errors of the first seed at n and 2n " + listed(long[[task.n, 2 * task.n]]))
    return [row(study, "long", beyond, "any-length", notes[0], "log")]
