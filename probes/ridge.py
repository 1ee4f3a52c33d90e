"""Ridge regression from streamed sufficient statistics: no activation is kept once its batch was added.

Owns: `RidgeMoments` (means and centred second moments, float64, merged by Chan's update, so large means lose no
digits) and the ridge path (every strength and every target from one eigendecomposition of a design). A design
is one regression: leading axes `*design` hold many of them (the output positions of a prompt, say). Strengths are
scikit-learn's `alpha`: the penalty stands beside the SUM of squared errors; the intercept is not penalised.
What a held-out error chosen on one set of prompts does not show is the error on a third: score there
(`probes.readout` does).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.errors import UserError

CACHED = 2**17  # numbers worked on at once: more of them fall out of the processor's cache


@dataclasses.dataclass
class RidgeMoments:
    """Means and centred sums of products of `rows` rows per design.

    `xx` is sum (x - mean)(x - mean)', `xy` and `yy` likewise.
    """

    mean_x: Float[Tensor, "*design feature"]
    mean_y: Float[Tensor, "*design target"]
    xx: Float[Tensor, "*design feature feature"]
    xy: Float[Tensor, "*design feature target"]
    yy: Float[Tensor, "*design target target"]
    rows: int

    @classmethod
    def of(
        cls,
        x: Float[Tensor, "*design row feature"],
        y: Float[Tensor, "*design row target"],
        name: str = "features",
    ) -> RidgeMoments:
        """Moments of one batch. Raises UserError, naming `name`, for NaN, infinity or no rows."""
        if x.shape[-2] == 0:
            raise UserError(f"{name}: no rows to fit on; give at least one prompt")
        designs, (rows, features), targets = x.shape[:-2], x.shape[-2:], y.shape[-1]
        some = max(1, CACHED // (rows * features))
        flat = (x.reshape(-1, rows, features).split(some), y.reshape(-1, rows, targets).split(some))
        moments = [torch.cat(part) for part in zip(*map(_centred, *flat), strict=True)]
        _finite(moments[0], name)  # a mean is finite where every row is
        _finite(moments[1], f"targets of {name}")
        return cls(*(part.view(*designs, *part.shape[1:]) for part in moments), rows=rows)

    def merge(self, other: RidgeMoments) -> None:
        """Take in the rows of `other`, in place (Chan, Golub & LeVeque 1983, pairwise update)."""
        total = self.rows + other.rows
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        weight = self.rows * other.rows / total
        for own, more, a, b in (
            (self.xx, other.xx, dx, dx),
            (self.xy, other.xy, dx, dy),
            (self.yy, other.yy, dy, dy),
        ):
            own.add_(more).addcmul_(a[..., :, None], b[..., None, :], value=weight)
        self.mean_x = self.mean_x + dx * (other.rows / total)
        self.mean_y = self.mean_y + dy * (other.rows / total)
        self.rows = total

    def pool(self, designs: Sequence[int]) -> RidgeMoments:
        """One design from several along the first axis, as if their rows had been stacked."""
        if not designs:
            raise UserError("no designs to pool: name at least one")
        pooled = self.design(designs[0])
        for i in designs[1:]:
            pooled.merge(self.design(i))
        return pooled

    def design(self, i: int) -> RidgeMoments:
        """A copy of one design along the first axis."""
        parts = (self.mean_x, self.mean_y, self.xx, self.xy, self.yy)
        return RidgeMoments(*(part[i].clone() for part in parts), rows=self.rows)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Chosen readout of each design: one weight vector, intercept and strength a target."""

    weights: Float[Tensor, "*design feature target"]
    intercept: Float[Tensor, "*design target"]
    strength: Float[Tensor, "*design target"]
    held_out: Float[Tensor, "*design strength target"]

    def predict(self, x: Float[Tensor, "*batch row feature"]) -> Float[Tensor, "*batch row target"]:
        """Predictions in float64."""
        return x.double() @ self.weights + self.intercept[..., None, :]


@dataclasses.dataclass(frozen=True)
class Path:
    """A design's eigendecomposition, from which every strength and target follows."""

    basis: Float[Tensor, "*design feature feature"]
    eigenvalues: Float[Tensor, "*design feature"]
    projected: Float[Tensor, "*design feature target"]
    mean_x: Float[Tensor, "*design feature"]
    mean_y: Float[Tensor, "*design target"]
    rows: int

    @classmethod
    def of(cls, moments: RidgeMoments, name: str = "features") -> Path:
        """Decompose `moments`. Raises UserError where every feature of a design is constant."""
        eigenvalues, basis = torch.linalg.eigh(moments.xx)
        size = moments.mean_x.abs().amax(-1).clamp_min(torch.finfo(torch.float64).tiny)
        if bool((eigenvalues[..., -1] <= moments.rows * (1e-12 * size) ** 2).any()):
            raise UserError(
                f"{name}: every feature is constant over the rows, nothing can be read; leave it out"
            )
        projected = basis.mT @ moments.xy
        return cls(basis, eigenvalues.clamp_min(0), projected, moments.mean_x, moments.mean_y, moments.rows)

    def shrunk(
        self, strengths: Float[Tensor, "*design strength"]
    ) -> Float[Tensor, "*design strength feature target"]:
        """Weights in the eigenbasis. Raises UserError for a negative strength, or 0 on a singular design."""
        self._check(strengths)
        damped = self.eigenvalues[..., None, :] + strengths[..., :, None]
        return self.projected[..., None, :, :] / damped[..., None]

    def _check(self, strengths: Float[Tensor, "*design strength"]) -> None:
        if bool((strengths < 0).any()):
            raise UserError(f"ridge strength {float(strengths.min()):g} is negative: use 0 or more")
        least = self.eigenvalues.amin(-1, keepdim=True) + strengths
        floor = self.eigenvalues[..., -1:] * self.eigenvalues.shape[-1] * torch.finfo(torch.float64).eps
        if bool((least <= floor).any()):
            raise UserError(self._singular())

    def _singular(self) -> str:
        features = self.eigenvalues.shape[-1]
        if self.rows <= features:
            return (
                f"{self.rows} rows for {features} features without ridge: use a strength > 0 or more prompts"
            )
        return (
            "a feature is constant, or a combination of others, and the ridge strength is 0: "
            "use a strength above 0 or leave the feature out"
        )

    def weights(
        self, strengths: Float[Tensor, "*design strength"]
    ) -> Float[Tensor, "*design strength feature target"]:
        """Ridge weights at every strength: argmin sum (y - a - x'w)^2 + strength |w|^2."""
        return self.basis[..., None, :, :] @ self.shrunk(strengths)

    def held_out(
        self, strengths: Float[Tensor, "*design strength"], moments: RidgeMoments
    ) -> Float[Tensor, "*design strength target"]:
        """Mean squared error of every strength on the rows behind `moments`, without seeing those rows."""
        self._check(strengths)
        basis, designs = self.basis.mT, strengths.shape[:-1]
        parts = (
            basis @ moments.xx @ self.basis,
            basis @ moments.xy,
            basis @ (moments.mean_x - self.mean_x)[..., None],
            self.projected,
            self.eigenvalues[..., None] + strengths[..., None, :],
        )
        flat = [part.reshape(-1, *part.shape[-2:]) for part in parts]
        sums = [
            torch.stack(each).view(*designs, *each[0].shape) for each in zip(*map(_sums, *flat), strict=True)
        ]
        quadratic, cross, drift = sums
        bias = (moments.mean_y - self.mean_y)[..., None, :] - drift
        variance = moments.yy.diagonal(dim1=-2, dim2=-1)[..., None, :]
        return (variance - 2 * cross + quadratic) / moments.rows + bias.square()


def relative_strengths(moments: RidgeMoments, grid: Sequence[float]) -> Float[Tensor, "*design strength"]:
    """Strengths as multiples of each design's mean eigenvalue, so that one grid fits every layer's scale."""
    mean = moments.xx.diagonal(dim1=-2, dim2=-1).mean(-1)
    return mean[..., None] * torch.tensor(list(grid), dtype=torch.float64)


def fit(
    fitting: RidgeMoments,
    validating: RidgeMoments,
    strengths: Float[Tensor, "*design strength"],
    name: str = "features",
) -> Fit:
    """Ridge fitted on one set of prompts, the strength of each target chosen on another.

    Raises UserError as `Path` does, naming `name`.
    """
    path = Path.of(fitting, name)
    return _chosen(path, strengths, path.held_out(strengths, validating))


def _chosen(path: Path, strengths: Tensor, errors: Tensor) -> Fit:
    chosen = torch.gather(strengths, -1, errors.argmin(-2))
    damped = path.eigenvalues[..., :, None] + chosen[..., None, :]
    weights = path.basis @ (path.projected / damped.clamp_min(torch.finfo(torch.float64).tiny))
    intercept = path.mean_y - (path.mean_x[..., None, :] @ weights)[..., 0, :]
    return Fit(weights, intercept, chosen, errors)


def fit_by_gcv(
    moments: RidgeMoments, strengths: Float[Tensor, "*design strength"], name: str = "features"
) -> Fit:
    """Ridge whose strengths are chosen by generalised cross-validation (Golub, Heath & Wahba 1979), no rows held out.

    Only for designs in which each prompt gives one row: rows of one prompt are not independent, and would leak.
    `held_out` holds the criterion. Raises UserError as `Path` does.
    """
    path = Path.of(moments, name)
    kept = path.eigenvalues[..., None, :] / (path.eigenvalues[..., None, :] + strengths[..., :, None])
    free = 1 - (kept.sum(-1) + 1) / moments.rows
    if bool((free <= 0).any()):
        raise UserError(
            f"{name}: {moments.rows} rows leave nothing to judge a strength by; use more prompts or larger strengths"
        )
    return _chosen(path, strengths, path.held_out(strengths, moments) / free.square()[..., None])


def _centred(
    x: Float[Tensor, "design row feature"], y: Float[Tensor, "design row target"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Means and centred products of some designs: mean_x, mean_y, xx, xy, yy."""
    x, y = (part.to(torch.float64, memory_format=torch.contiguous_format, copy=True) for part in (x, y))
    mean_x, mean_y = x.mean(-2), y.mean(-2)
    x, y = x.sub_(mean_x[:, None]), y.sub_(mean_y[:, None])
    return mean_x, mean_y, x.mT @ x, x.mT @ y, y.mT @ y


def _sums(
    xx: Float[Tensor, "feature feature"],
    xy: Float[Tensor, "feature target"],
    drift: Float[Tensor, "feature 1"],
    projected: Float[Tensor, "feature target"],
    damped: Float[Tensor, "feature strength"],
) -> tuple[Tensor, Tensor, Tensor]:
    """One design's w'(xx)w, w'(xy) and w'drift of the weights w = projected / damped: [strength, target] each.

    One design at a time stays within the processor's cache, and one product serves all strengths.
    """
    weights = projected[:, None] / damped[..., None]
    quadratic = (xx @ weights.flatten(1)).view(weights.shape).mul_(weights).sum(0)
    by_target = weights.transpose(1, 2)
    cross = (by_target * xy[..., None]).sum(0).T
    return quadratic, cross, (drift.T @ weights.flatten(1)).view(weights.shape[1:])


def _finite(x: Tensor, name: str) -> None:
    if not bool(torch.isfinite(x).all()):
        raise UserError(f"{name}: NaN or infinity; the model has diverged or the site is wrong")
