"""The free filter: the best function of the eigenvalues whatever, which no family is.

Owns: least squares of a readout's outputs on a piecewise linear f, of log eigenvalue as it stands or over the trace or
the norm of each prompt's S, or of the eigenvalue's rank; fitted on some prompts and scored on the others, so that its
many coefficients earn nothing by themselves. What it leaves unexplained, no filter explains (to within the resolution
of its nodes: a jump between two nodes is blurred).
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.problems import STEPS
from probes.observations import Observations

RANK = "rank"
MOST_RANKS = 32


@dataclasses.dataclass(frozen=True)
class FreeFilter:
    """What of each prompt's o'o is left unexplained by the f of other prompts, and what f is a function of."""

    left: Float[Tensor, "prompt"]
    of: str


def fit(seen: Observations, folds: list[tuple[Tensor, Tensor]], nodes: int = 12) -> FreeFilter:
    """The best free filter; each of `folds` is the prompts to fit on and those to score (the same, if one fold).

    What f is a function of is chosen on the prompts fitted on (and named for the first fold).
    """
    columns = designs(seen, nodes)
    sums = {name: equations(seen, column) for name, column in columns.items()}
    left, chosen = torch.empty_like(seen.size), []
    for train, test in folds:
        solved = {
            name: _solve(gram[train].sum(0), cross[train].sum(0)) for name, (gram, cross) in sums.items()
        }
        best = min(solved, key=lambda name: float(_left(seen, *sums[name], solved[name])[train].sum()))
        left[test] = _left(seen, *sums[best], solved[best])[test]
        chosen.append(best)
    return FreeFilter(left, chosen[0])


def designs(seen: Observations, nodes: int) -> dict[str, Float[Tensor, "prompt d column"]]:
    """The columns on which f is linear, by what it is a function of."""
    d = seen.eigenvalues.shape[1]
    found = {}
    weight = (seen.base * seen.cross).abs()
    for step in STEPS:
        u = seen.eigenvalues / seen.problems.scale(step)[:, 0]
        live = u > 0
        logs = torch.where(live, u, u[live].min()).log()
        found[step] = hats(logs, spread(logs[live], weight[live], nodes))
    if d <= MOST_RANKS:
        found[RANK] = torch.eye(d, dtype=torch.float64).expand(len(seen), d, d)
    return found


def spread(logs: Float[Tensor, "value"], weight: Float[Tensor, "value"], nodes: int) -> Float[Tensor, "node"]:
    """Nodes where eigenvalues are many or count much: quantiles of the mean of both distributions, ends included."""
    order = logs.argsort()
    even = torch.full_like(weight, 1 / len(weight))
    mass = (even + weight[order] / weight.sum().clamp_min(1e-300)).cumsum(0)
    at = torch.searchsorted(mass / mass[-1], torch.linspace(0, 1, nodes, dtype=torch.float64))
    found = logs[order][at.clamp_max(len(logs) - 1)].unique()
    return found if len(found) > 1 else torch.stack([found[0], found[0] + 1])


def hats(x: Tensor, at: Float[Tensor, "node"]) -> Float[Tensor, "*value node"]:
    """Coefficients of linear interpolation between nodes, constant beyond the ends."""
    x = x.clamp(at[0], at[-1]).contiguous()
    place = torch.searchsorted(at, x, right=True).clamp(1, len(at) - 1)
    share = ((x - at[place - 1]) / (at[place] - at[place - 1]))[..., None]
    left, right = (torch.nn.functional.one_hot(i, len(at)) for i in (place - 1, place))
    return (1 - share) * left + share * right


def equations(
    seen: Observations, column: Float[Tensor, "prompt d column"]
) -> tuple[Float[Tensor, "prompt column column"], Float[Tensor, "prompt column"]]:
    """Each prompt's part of the normal equations."""
    design = column * seen.base[..., None]
    return design.mT @ (seen.gram @ design), (design.mT @ seen.cross[..., None])[..., 0]


def _solve(gram: Tensor, cross: Tensor) -> Tensor:
    """Coefficients; a node that no prompt fitted on reaches gets none (0)."""
    size = gram.diagonal()
    ridge = torch.where(size <= 1e-12 * size.max(), 1.0, 1e-10 * size)
    return torch.linalg.solve(gram + torch.diag(ridge), cross)


def _left(seen: Observations, gram: Tensor, cross: Tensor, f: Tensor) -> Tensor:
    return seen.size - 2 * cross @ f + (gram @ f) @ f
