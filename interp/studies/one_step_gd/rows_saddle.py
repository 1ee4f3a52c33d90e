"""The saddle on which one layer of linear attention can settle when all of P and Q start small and random.

Part of the covariates is then predicted through b_y A_x, as at the optimum, and one eigendirection through the
rank-one product b_x a_y'; the two ways cannot be mixed further without the useless terms in y^2 and xx'. The loss
rests there and the gradient is small; descent without noise tells whether a way down is left. What the rows do not
show: how long a run stays; they look at the end of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from interp.landscape.curvature import Objective, hessian
from interp.models.linear_weights import LayerReading, read_model
from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.ledger import Row
from interp.studies.linear_attention.figures import preconditioner_figure
from interp.studies.one_step_gd import theory as linear
from interp.studies.one_step_gd.rows import excess_share
from interp.studies.one_step_gd.runs import ANISOTROPIC, TRAPPED, Study, full_run, starts
from probes.stats import share

STUCK = 0.2  # excess over the optimal loss at which a run has not found the optimum


def trap_run(study: Study, seed: int) -> Run:
    """A run on anisotropic covariates whose label corner starts as small and random as all other weights."""
    return full_run(study, ANISOTROPIC, TRAPPED, "trap", seed)


@dataclass(frozen=True)
class WayDown:
    """Where L-BFGS on fixed prompts ends when it starts from a run's last weights (`excess`, a share of the optimal
    loss), and the smallest over the largest Hessian eigenvalue at those weights (`curvature`; scale directions are 0).
    """

    excess: float
    curvature: float


def way_down(run: Run, prompts: int, evaluations: int = 450) -> WayDown:
    """Whether a run rests on a saddle: descent without noise leaves it, and a minimum it does not."""
    model = run.model("last").double()
    batch = run.task.sample(run.config.data_seed, "curvature", 0, prompts).double()
    objective = Objective(model, run.task, batch)
    spectrum = torch.linalg.eigvalsh(hessian(objective, objective.weights))
    nets.minimised(model, objective.loss, objective, evaluations)
    return WayDown(excess(read_model(model)[0]), float(spectrum[0] / spectrum[-1]))


def excess(found: LayerReading) -> float:
    """Population loss of a reading above the optimum, as a share of the optimum."""
    return excess_share(found.preconditioner / ANISOTROPIC.n, ANISOTROPIC)


def least_rank_one_excess() -> float:
    """The smallest excess of any rank-one G, as a share of the optimal loss."""
    known, n = nets.distribution_of(ANISOTROPIC), ANISOTROPIC.n
    return linear.rank_excess(known, n, 1) / linear.optimal_loss(known, n)


def _show(study: Study, run: Run) -> None:
    """The settled run with the largest excess, in the eigenbasis of its covariates, beside the closed form."""
    model, known, n = run.model("last"), nets.distribution_of(ANISOTROPIC), ANISOTROPIC.n
    P, Q = (matrix.detach().double() for matrix in model.weights()[0])
    basis = torch.linalg.eigh(known.covariance).eigenvectors
    parts = {
        f"{run.name}: n G": read_model(model)[0].preconditioner,
        "of it b_x a_y'": -torch.outer(P[-1, :-1], Q[-1, :-1]),
        "closed form n G*": n * linear.optimal_preconditioner(known, n),
    }
    words = "Part of n G comes through the rank-one product, which the optimum lacks."
    figure = preconditioner_figure({name: basis.T @ matrix @ basis for name, matrix in parts.items()})
    study.show(figure, "A run that settled far above the optimum, in the eigenbasis of its covariates", words)


def saddle(study: Study) -> list[Row]:
    """How many random starts settle there, and what their weights say."""
    runs = [trap_run(study, seed) for seed in starts(study)]
    read = {run.name: read_model(run.model("last"))[0] for run in runs}
    stuck = [run for run in runs if excess(read[run.name]) > STUCK]
    words: dict[str, Any] = {
        "condition": "full family, random corner, Adam",
        "budget": f"{study.budget.full_steps} steps, {len(runs)} starts",
    }
    count = study.row("saddle-share", share(len(stuck), len(runs)), note="n counts starts", **words)
    if not stuck:
        need = "more starts: none was stuck"
        rest = ("saddle-detour", "saddle-escape", "saddle-rank")
        return [
            count,
            *(study.claims[name].not_testable(would_need=need, command=study.command) for name in rest),
        ]
    _show(study, max(stuck, key=lambda run: excess(read[run.name])))
    detours, ranks = ([getattr(read[run.name], name) for run in stuck] for name in ("detour", "rank_one"))
    above = [excess(read[run.name]) for run in stuck]
    ways = [way_down(run, study.budget.fit_prompts) for run in stuck]
    bends = "smallest/largest curvature " + ", ".join(f"{way.curvature:.1e}" for way in ways)
    bends += "; excess after L-BFGS " + ", ".join(f"{way.excess:.1%}" for way in ways)
    note = f"plateaus at {min(above):.0%} to {max(above):.0%} of L* above it; the best rank-one G is at "
    note += f"{least_rank_one_excess():.0%}, so what is settled there cannot have rank one"
    return [
        count,
        study.row("saddle-detour", detours, **words),
        study.row(
            "saddle-escape", share(sum(way.excess < STUCK for way in ways), len(ways)),
            note=f"{bends}; n counts settled runs", condition="L-BFGS from the settled weights",
            budget=f"{study.budget.fit_prompts} prompts",
        ),
        study.row("saddle-rank", ranks, note=note, **words),
    ]  # fmt: skip
