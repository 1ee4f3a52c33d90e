"""Least-squares problems, decomposed: what every algorithm of `probes.algorithms.iterates` starts from.

Owns: a prompt with its first t examples as S = X'X = V diag(λ) V' and b = X'y, for many prompts and context
lengths at once, in float64; preconditioning by P as the same problem in P^(1/2) x; the scales by which a step
may be normalised.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.errors import UserError

Step = Literal["fixed", "trace", "norm", "middle"]
STEPS: tuple[Step, ...] = ("fixed", "trace", "norm")
RANK_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class Problems:
    """Least-squares problems of many prompts at many context lengths, decomposed.

    `eigenvalues` of S ascend; `projected` is V'b and `query` V'x for the point asked about, both 0 where S
    has no mass. `root` is P^(1/2) of a preconditioner P (identity unless given): the eigenvalues are those of
    P^(1/2) S P^(1/2). `x` and `y` are kept for the algorithms that walk through the examples.
    """

    eigenvalues: Float[Tensor, "prompt context d"]
    basis: Float[Tensor, "prompt context d d"]
    projected: Float[Tensor, "prompt context d"]
    query: Float[Tensor, "prompt context d"]
    contexts: tuple[int, ...]
    root: Float[Tensor, "*any d d"]
    x: Float[Tensor, "prompt point d"]
    y: Float[Tensor, "prompt label"]

    @classmethod
    def of(
        cls,
        x: Float[Tensor, "prompt point d"],
        y: Float[Tensor, "prompt label"],
        contexts: Sequence[int],
        precondition: Float[Tensor, "*any d d"] | None = None,
    ) -> Problems:
        """Decompose: context t has examples x[:, :t], y[:, :t] and asks about x[:, t].

        `precondition` is a positive definite P, one for all prompts or one each. Raises UserError for a
        context without its query or labels, or values that are not finite.
        """
        _check(x, y, contexts)
        x, y = x.double(), y.double()
        root = _root(torch.eye(x.shape[-1]) if precondition is None else precondition)
        z = x @ root
        s = _sums(z[:, : y.shape[1]], z[:, : y.shape[1]], contexts)
        b = _sums(z[:, : y.shape[1]], y[:, : z.shape[1], None], contexts)[..., 0]
        eigenvalues, basis = torch.linalg.eigh(s)
        live = eigenvalues > RANK_TOLERANCE * eigenvalues[..., -1:]
        projected = torch.where(live, (basis.mT @ b[..., None])[..., 0], 0.0)
        query = (basis.mT @ z[:, list(contexts), :, None])[..., 0]
        return cls(torch.where(live, eigenvalues, 0.0), basis, projected, query, tuple(contexts), root, x, y)

    @property
    def least_squares(self) -> Float[Tensor, "prompt context d"]:
        """V'w of the minimum-norm least-squares solution: what a filter multiplies."""
        return torch.where(self.eigenvalues > 0, self.projected / self.eigenvalues, 0.0)

    def scale(self, step: Step) -> Float[Tensor, "prompt context 1"]:
        """What a step is normalised by: 1, tr S, the largest eigenvalue of S, or the middle between it and the smallest
        (Richardson's best step); 1 where S = 0.
        """
        if step == "fixed":
            return torch.ones_like(self.eigenvalues[..., :1])
        size = self.eigenvalues.sum(-1, keepdim=True) if step == "trace" else self.eigenvalues[..., -1:]
        if step == "middle":
            size = (size + self.eigenvalues[..., :1]) / 2
        return torch.where(size > 0, size, 1.0)

    def weights(
        self, coefficients: Float[Tensor, "*some prompt context d"]
    ) -> Float[Tensor, "*some prompt context d"]:
        """Weight vectors in the coordinates of x, from coefficients V'w."""
        flat = (self.basis @ coefficients[..., None])[..., 0]
        root = self.root if self.root.ndim == 2 else self.root[:, None]
        return (root @ flat[..., None])[..., 0]


def _check(x: Tensor, y: Tensor, contexts: Sequence[int]) -> None:
    if not contexts or min(contexts) < 0 or max(contexts) >= x.shape[1] or max(contexts) > y.shape[1]:
        raise UserError(
            f"context lengths {list(contexts)[:6]} are out of range: {x.shape[1]} points, {y.shape[1]} labels a prompt"
        )
    if not (bool(torch.isfinite(x).all()) and bool(torch.isfinite(y[:, : max(contexts)]).all())):
        raise UserError("examples hold NaN or infinity: no algorithm is defined on them")


def _root(p: Tensor) -> Tensor:
    values, basis = torch.linalg.eigh(p.double())
    if bool((values <= 0).any()):
        raise UserError("a preconditioner must be symmetric and positive definite")
    return (basis * values.sqrt()[..., None, :]) @ basis.mT


def _sums(left: Tensor, right: Tensor, contexts: Sequence[int]) -> Tensor:
    # example blocks between neighbouring contexts, so that no outer product of a single example is kept
    total = left.new_zeros(len(left), left.shape[-1], right.shape[-1])
    seen, done = {}, 0
    for t in sorted(set(contexts)):
        total = total + left[:, done:t].mT @ right[:, done:t]
        seen[t], done = total, t
    return torch.stack([seen[t] for t in contexts], dim=1)
