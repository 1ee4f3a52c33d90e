"""A readout's filter measured without assuming a family: f(λ), and its power of λ over the small eigenvalues.

Owns: least squares of the outputs on a piecewise linear f (in log λ), and the exponent s of f = A λ^s below
the median eigenvalue with f free above it. f includes the readout's gain; s does not depend on it. s is 1 for
gradient descent and ridge and 2 for Newton from alpha S only as far as f is still small at the median:
`middle` says how small. Both are linear fits for given s, so a noisy f that crosses zero biases neither.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from probes import stats
from probes.filters import FilterConfig
from probes.free_filter import hats
from probes.observations import Observations
from tasks.errors import UserError

POWERS = torch.linspace(-1, 5, 61, dtype=torch.float64)
UPPER_NODES = 5


@dataclasses.dataclass(frozen=True)
class FilterShape:
    """f at `eigenvalues`, the exponent below the median eigenvalue, and f at that eigenvalue."""

    eigenvalues: Float[Tensor, "node"]
    value: stats.Intervals
    power: stats.Interval
    middle: float


def shape(seen: Observations, config: FilterConfig, nodes: int = 8) -> FilterShape:
    """Measure f at quantiles of the eigenvalues and its power at the small ones, with bootstrap intervals.

    Raises UserError where S has no positive eigenvalues, or a single one, which has no spectrum to bend over.
    """
    if seen.eigenvalues.shape[1] < 2:
        raise UserError("S of one dimension has no spectrum: there is no filter to read on it")
    live = seen.eigenvalues[seen.eigenvalues > 0].log()
    if len(live) == 0:
        raise UserError("no examples in this context: there are no eigenvalues to read a filter on")
    logs = seen.eigenvalues.log().clamp_min(float(live.min()))
    at = torch.quantile(live[:1_000_000], torch.linspace(0.02, 0.98, nodes, dtype=torch.float64))
    found = stats.bootstrap(
        _equations(seen, hats(logs, at)[None]), _solve(nodes), draws=config.draws, seed=config.seed
    )
    middle = float(live.median())
    power = stats.bootstrap(
        _equations(seen, _power_columns(logs, middle, float(live.max()))),
        _best_power(UPPER_NODES + 1),
        draws=config.draws,
        seed=config.seed,
    )
    return FilterShape(at.exp(), found, power.one(), float(_at(found.value, at, middle)))


def projected(
    seen: Observations, coefficients: Float[Tensor, "prompt d"], eigenvalues: Float[Tensor, "node"]
) -> Float[Tensor, "node"]:
    """The piecewise linear f at `eigenvalues` that comes nearest to given coefficients V'w, at the same queries.

    What `shape` would measure had the outputs been those of the coefficients, without an interval.
    """
    live = seen.eigenvalues[seen.eigenvalues > 0].log()
    logs = seen.eigenvalues.log().clamp_min(float(live.min()))
    told = dataclasses.replace(seen, cross=(seen.gram @ coefficients[..., None])[..., 0])
    means = _equations(told, hats(logs, eigenvalues.log())[None]).mean(0, keepdim=True)
    return _solve(len(eigenvalues))(means)[0]


def _equations(seen: Observations, columns: Float[Tensor, "choice prompt d column"]) -> Tensor:
    parts = []
    for column in columns:
        design = column * seen.base[..., None]
        gram = torch.einsum("pdn,pde,pem->pnm", design, seen.gram, design).flatten(1)
        parts.append(torch.cat([gram, torch.einsum("pdn,pd->pn", design, seen.cross)], 1))
    return torch.stack(parts, 1)


def _split(means: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return means[..., : count * count].unflatten(-1, (count, count)), means[..., count * count :]


def _solve(count: int) -> stats.Statistic:
    def solve(means: Tensor) -> Tensor:
        gram, cross = _split(means[:, 0], count)
        return _solved(gram, cross)

    return solve


def _solved(gram: Tensor, cross: Tensor) -> Tensor:
    """Coefficients by least squares; a node that no prompt of a resample reaches gets none (0)."""
    size = gram.diagonal(dim1=-2, dim2=-1)
    empty = size <= 1e-12 * size.amax(-1, keepdim=True)
    return torch.linalg.solve(gram + torch.diag_embed(empty.to(gram.dtype)), cross)


def _best_power(count: int) -> stats.Statistic:
    def best(means: Tensor) -> Tensor:
        gram, cross = _split(means, count)
        explained = (cross * _solved(gram, cross)).sum(-1)
        top = explained.argmax(1).clamp(1, len(POWERS) - 2)
        rows = torch.arange(len(top))
        left, mid, right = (explained[rows, top + i] for i in (-1, 0, 1))
        bend = left - 2 * mid + right
        shift = torch.where(bend < 0, 0.5 * (left - right) / bend, 0.0).clamp(-1, 1)
        return POWERS[top] + shift * (POWERS[1] - POWERS[0])

    return best


def _power_columns(logs: Tensor, middle: float, high: float) -> Tensor:
    below = (logs < middle).double()
    upper = (
        hats(logs, torch.linspace(middle, high, UPPER_NODES, dtype=torch.float64)) * (1 - below)[..., None]
    )
    low = torch.stack([below * (power * (logs - middle)).exp() for power in POWERS])
    return torch.cat([low[..., None], upper.expand(len(POWERS), *upper.shape)], -1)


def _at(values: Tensor, at: Tensor, x: float) -> Tensor:
    return (hats(torch.tensor([x], dtype=torch.float64), at) @ values)[0]
