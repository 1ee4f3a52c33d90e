"""The scan that proposes members of a family: how well very many filters fit a readout's outputs, each at small cost.

Owns: filters interpolated between nodes of log u, so that prompts enter through one small matrix; what depends on
prompts and queries alone is computed once for all outputs at them. What it proposes is fitted exactly elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.algorithms.iterates import FAMILIES
from probes.algorithms.problems import Step
from probes.observations import Observations

NODES = 160


@dataclasses.dataclass(frozen=True)
class Curves:
    """Filters of many members at the nodes of a frame, and the squares of what they predict.

    Members that would diverge on a prompt are not `sound`; their filter is 0.
    """

    f: Float[Tensor, "node member"]
    squared: Float[Tensor, "member"]
    sound: Bool[Tensor, "member"]
    shape: tuple[int, ...]


class Frame:
    """What a scan needs of prompts and queries, whatever is answered to them: made once for all layers of a model.

    f is carried by `NODES` values, linear in log u between them, so prompts enter through one matrix only.
    """

    def __init__(self, seen: Observations, step: Step) -> None:
        scale = seen.problems.scale(step)[:, 0]
        self.u = seen.eigenvalues / scale
        self.typical = float(self.u[:, -1].mean())
        low, high = (math.log(end) for end in seen.reach[step])
        high += 1e-9
        place = ((self.u.clamp_min(math.exp(low)).log() - low) / (high - low) * (NODES - 1)).clamp(
            0, NODES - 1.000001
        )
        left = place.floor().long()
        share = place - left
        self.nodes = torch.linspace(low, high, NODES, dtype=torch.float64).exp()
        self.sides = ((left, (1 - share) * seen.base), (left + 1, share * seen.base))
        self.gram = torch.zeros(NODES * NODES, dtype=torch.float64)
        for i, a in self.sides:
            for j, b in self.sides:
                cell = i[:, :, None] * NODES + j[:, None, :]
                self.gram.index_add_(0, cell.flatten(), (a[:, :, None] * seen.gram * b[:, None, :]).flatten())
        self.gram = self.gram.reshape(NODES, NODES)
        self.first: dict[tuple[str, tuple[int, ...]], Curves] = {}

    @classmethod
    def of(cls, seen: Observations, step: Step) -> Frame:
        """The frame of these prompts and queries, kept with them."""
        if step not in seen.frames:
            seen.frames[step] = cls(seen, step)
        return seen.frames[step]

    def curves(
        self, family: str, ladder: Sequence[int], sizes: dict[str, Float[Tensor, "step choice"]]
    ) -> Curves:
        """Filters of every step of a ladder at every choice of its sizes."""
        nodes = self.nodes[:, None]
        curves = []
        for i, k in enumerate(ladder):
            own = {name: value[i, None, :] for name, value in sizes.items()}
            curves.append(FAMILIES[family].filter(nodes, k, **own))
        f = torch.stack(curves, 1)
        shape, f = f.shape[1:], f.flatten(1)
        # NaN and infinity are not; a Chebyshev polynomial leaves [0, 2] beyond its interval
        sound = (f - 1).abs().amax(0) <= (3 if family == "chebyshev" else 1 + 1e-9)
        f = torch.where(sound, f, 0.0)
        return Curves(f, (f * (self.gram @ f)).sum(0), sound, tuple(shape))


class Scan:
    """Likelihood of any filter of λ / scale for one readout's outputs, at the cost of a small matrix product."""

    def __init__(self, seen: Observations, step: Step) -> None:
        self.frame = Frame.of(seen, step)
        self.u, self.typical, self.nodes = self.frame.u, self.frame.typical, self.frame.nodes
        self.cross = torch.zeros(NODES, dtype=torch.float64)
        for i, a in self.frame.sides:
            self.cross.index_add_(0, i.flatten(), (a * seen.cross).flatten())
        self.size = float(seen.size.sum())

    def left_over(self, curves: Curves) -> Float[Tensor, "step choice"]:
        """Residual sum of squares at the best gain; infinite where the iterate would diverge on a prompt."""
        times, squared = self.cross @ curves.f, curves.squared
        explained = torch.where(squared > 0, times * times.abs() / squared.clamp_min(1e-300), 0.0)
        return torch.where(curves.sound, self.size - explained, torch.inf).reshape(curves.shape)
