"""Bayesian linear regression, one example at a time, in float64.

Owns the posterior of v ~ N(0, I) given labels y_i = a_i·v + N(0, noise²): its mean and covariance after every
context length. A prior N(0, W) is reached by a = W^{1/2} x. Without noise the mean is the minimum-norm
least-squares solution and the covariance the projection on what no example has touched; once every direction is known,
further labels change nothing (they can only repeat what is certain, up to rounding).
Source: Bishop, Pattern Recognition and Machine Learning (2006), equations 3.50 and 3.51, one example at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 2**22  # covariance entries held at a time
SOLVED = 1e-20  # squared length, relative to the example's, below which a direction counts as already known


def posterior(
    a: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], noise: float
) -> Iterator[tuple[Float[Tensor, "batch d"], Float[Tensor, "batch d d"]]]:
    """Posterior mean and covariance before the first example, then after each one: n + 1 pairs, float64.

    `noise` is the standard deviation of the label noise. The covariance is updated in Joseph's symmetric
    form, which for noise 0 is a projection applied from both sides and so stays one.
    """
    a, y = a.double(), y.double()
    batch, n, d = a.shape
    mean = a.new_zeros(batch, d)
    cov = torch.eye(d, dtype=a.dtype, device=a.device).repeat(batch, 1, 1)
    yield mean, cov
    for i in range(n):
        row, label, variance = _unit(a[:, i], y[:, i], noise)
        reach = torch.einsum("bij,bj->bi", cov, row)
        explained = (reach * row).sum(-1)
        usable = explained > SOLVED
        gain = torch.where(
            usable[:, None],
            reach / (explained + variance).where(usable, torch.ones_like(explained))[:, None],
            0.0,
        )
        mean = mean + gain * (label - (row * mean).sum(-1))[:, None]
        half = cov - gain[:, :, None] * reach[:, None, :]
        seen = torch.einsum("bij,bj->bi", half, row)
        cov = (
            half
            - seen[:, :, None] * gain[:, None, :]
            + variance[:, None, None] * gain[:, :, None] * gain[:, None, :]
        )
        yield mean, cov


def _unit(
    row: Float[Tensor, "batch d"], label: Float[Tensor, "batch"], noise: float
) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """The example scaled to unit length, with its label and noise variance: tiny examples then lose no
    digits."""
    length = row.norm(dim=-1)
    length = torch.where(length > 0, length, torch.ones_like(length))
    return row / length[:, None], label / length, (noise / length) ** 2


def predictions(
    a: Float[Tensor, "batch pos d"], y: Float[Tensor, "batch pos"], noise: float
) -> Float[Tensor, "batch pos"]:
    """Bayes prediction of a_t·v at every position t from the examples before it alone (float64)."""
    if len(a) > (most := max(1, CHUNK // a.shape[-1] ** 2)):
        parts = zip(a.split(most), y.split(most), strict=True)
        return torch.cat([predictions(some, labels, noise) for some, labels in parts])
    steps = posterior(a[:, :-1], y[:, :-1], noise)
    return torch.stack([(a[:, t].double() * mean).sum(-1) for t, (mean, _) in enumerate(steps)], dim=1)
