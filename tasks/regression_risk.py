"""Bayes risk of regression prompts: the posterior variance of the query's label at each output position.

Owns the closed-form cases and the average over drawn designs elsewhere (the query is averaged out exactly). Cached for
the lifetime of a process.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.base import Level, build, settings_of
from tasks.errors import UserError
from tasks.streams import generator
from tasks.theory.bayes import posterior

RISK_PROMPTS = 4096
RISK_ELEMENTS = 2**23
RISK_WORK = 2**33


def least_loss(task: Any) -> Level:
    """The Bayes risk of a regression task whose posterior is known: `_risk` of its settings."""
    return _risk(json.dumps(settings_of(task), sort_keys=True))


@functools.lru_cache(maxsize=64)
def _risk(settings: str) -> Level:
    """Posterior variance of the query's label after each context length, over the label variance.

    Closed at t = 0 (1), and without noise at t >= d (0) and, when the whitened inputs are isotropic, in
    between: (d - t)/d, since the part of the query outside the span of t exchangeable directions keeps that
    share of its squared length. Elsewhere the mean of tr(S P_t) over drawn designs, S the query's covariance:
    the query is averaged out exactly, so only the design is sampled.
    """
    task: Any = build(json.loads(settings))
    t = torch.tensor(task.contexts, dtype=torch.float64)
    closed = task.noise == 0 and (task.isotropic or task.prior == "inverse-covariance")
    if closed:
        return Level((1 - t / task.d).clamp(min=0), torch.zeros_like(t), "(d - t)/d, 0 from t = d on")
    value, se = _design_mean(task)
    exact = (t == 0) | ((t >= task.d) & (task.noise == 0))
    known = (t == 0).double()
    source = "posterior variance, Monte Carlo over designs (t = 0, and t >= d without noise, exact)"
    return Level(torch.where(exact, known, value), torch.where(exact, torch.zeros_like(se), se), source)


def _design_mean(task: Any) -> tuple[Float[Tensor, "output"], Float[Tensor, "output"]]:
    """Mean and standard error of the posterior variance at each context length, in label variances.

    The posterior variance is the same in every eigenbasis the prior is invariant to, so the coordinates
    serve.
    """
    plain = task.model_copy(update={"basis": "none"})
    prompts = max(16, min(RISK_PROMPTS, RISK_ELEMENTS // (task.d * (task.d + task.n))))
    if prompts * task.n * task.d**2 > RISK_WORK:
        raise UserError(
            f"the Bayes risk at d = {task.d}, n = {task.n} is too costly to sample: make d or n smaller"
        )
    identity = torch.eye(task.d)[None].expand(prompts, -1, -1)
    x = plain.draw_x(generator(0, "floor", 0), identity, task.n)
    a = plain.whiten(x.double(), identity)
    query = torch.tensor(task.covariance_eigenvalues, dtype=torch.float64).sqrt().diag_embed()[None]
    weights = (plain.whiten(query, torch.eye(task.d)[None])[0] ** 2).sum(0)
    rows = [
        (cov.diagonal(dim1=-2, dim2=-1) * weights).sum(-1)
        for _, cov in posterior(a, a[..., 0] * 0, task.noise)
    ]
    variance = (torch.stack([rows[t] for t in task.contexts], 1) + task.noise**2) / task.label_variance
    return variance.mean(0), variance.std(0) / prompts**0.5
