"""Algorithms for least squares, as spectral filters: one eigendecomposition a problem gives every iterate of
each.

A problem is a prompt with its first t examples: S = X'X = V diag(λ) V', b = X'y, start at w = 0. Where an
iterate is linear in y and built from powers of S it is a filter on least squares, w = V diag(f(λ)/λ) V'b with
0 <= f <= 1 while the step is small enough. Every family is written in u = λ / scale, so a step can be fixed
(scale 1), or normalised by the trace or the norm of each prompt's own S. Conjugate gradient (its polynomial
depends on y), BFGS and L-BFGS (likewise; L-BFGS keeps d // 2 pairs) and one-pass online descent (it depends
on the order) are run, not filtered. All in float64. A
step that is too large diverges to infinity as it does in a loop: nothing is clipped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.problems import Problems, Step
from probes.algorithms.quasi_newton import quasi_newton
from tasks.errors import UserError

Size = float | int | Tensor
Filter = Callable[..., Tensor]


def _gd(u: Tensor, k: int, eta: Size) -> Tensor:
    return 1 - (1 - eta * u) ** k


def _newton(u: Tensor, k: int, alpha: Size) -> Tensor:
    return 1 - (1 - alpha * u * u) ** (2.0**k)


def _newton_identity(u: Tensor, k: int, alpha: Size) -> Tensor:
    return 1 - (1 - alpha * u) ** (2.0**k)


def _gd_plus_plus(u: Tensor, k: int, eta: Size, gamma: Size) -> Tensor:
    left, curvature = torch.ones_like(u), u
    for _ in range(int(k)):
        left = left * (1 - eta * curvature)
        curvature = curvature * (1 - gamma * curvature) ** 2
    return 1 - left


def _momentum(u: Tensor, k: int, eta: Size, beta: Size) -> Tensor:
    before, left = torch.ones_like(u), torch.ones_like(u)
    for _ in range(int(k)):
        before, left = left, (1 + beta - eta * u) * left - beta * before
    return 1 - left


def _chebyshev(u: Tensor, k: int, low: Size, high: Size) -> Tensor:
    centre, width = torch.as_tensor((high + low) / (high - low), dtype=u.dtype), (high - low) / 2
    point = centre - u / width
    before, left = torch.ones_like(u), point
    norm_before, norm = torch.ones_like(centre), centre
    if k == 0:
        return torch.zeros_like(u)
    for _ in range(int(k) - 1):
        before, left = left, 2 * point * left - before
        norm_before, norm = norm, 2 * centre * norm - norm_before
    return 1 - left / norm


def _ridge(u: Tensor, k: int, mu: Size) -> Tensor:
    return torch.where(u > 0, u / (u + mu), 0.0)


def _ols(u: Tensor, k: int) -> Tensor:
    return (u > 0).to(u.dtype)


def _flow(u: Tensor, k: int, time: Size) -> Tensor:
    return -torch.expm1(-time * u)


def _svd(u: Tensor, k: int, cut: Size) -> Tensor:
    return (u > cut).to(u.dtype)


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of iterates: filter f(u; k, sizes), the sizes it needs, and f's power of u as u goes to 0."""

    name: str
    filter: Filter
    sizes: tuple[str, ...]
    small_power: int
    source: str


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("gd", _gd, ("eta",), 1, "w += eta (b - S w); f = 1 - (1 - eta u)^k"),
        Family(
            "newton", _newton, ("alpha",), 2, "Newton-Schulz from M = alpha S; f = 1 - (1 - alpha u^2)^(2^k)"
        ),
        Family(
            "newton-identity", _newton_identity, ("alpha",), 1, "from M = alpha I; equals gd at 2^k steps"
        ),
        Family(
            "gd++",
            _gd_plus_plus,
            ("eta", "gamma"),
            1,
            "gd with x <- (I - gamma S) x between steps (2212.07677)",
        ),
        Family("momentum", _momentum, ("eta", "beta"), 1, "heavy ball"),
        Family("chebyshev", _chebyshev, ("low", "high"), 1, "Chebyshev semi-iteration on [low, high]"),
        Family("ridge", _ridge, ("mu",), 1, "f = u / (u + mu); k is not used"),
        Family("ols", _ols, (), 0, "minimum-norm least squares"),
        Family("flow", _flow, ("time",), 1, "gradient flow; f = 1 - exp(-time u); k is not used"),
        Family("svd", _svd, ("cut",), 0, "truncated SVD: directions of u above the cut; k is not used"),
    )
}
RUN = ("cg", "bfgs", "lbfgs", "ogd", "svd-rank", "zero")
GIVEN = ("dMMSE",)  # rivals that know more than the examples: their weights are computed elsewhere

UNITS: dict[Step, str] = {
    "fixed": "",
    "trace": " / tr S",
    "norm": " / |S|",
    "middle": " / middle of the spectrum",
}


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One iterate: `k` steps of `family` (those of `RUN` besides `FAMILIES`), its step and sizes
    stated.
    """

    family: str
    k: int = 0
    step: Step = "fixed"
    sizes: Mapping[str, float | int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES and self.family not in (*RUN, *GIVEN):
            raise UserError(
                f"unknown algorithm {self.family!r}: known are {sorted([*FAMILIES, *RUN, *GIVEN])}"
            )
        needed = FAMILIES[self.family].sizes if self.family in FAMILIES else ()
        if set(self.sizes) != set(needed):
            raise UserError(f"algorithm {self.family!r} needs sizes {list(needed)}, got {sorted(self.sizes)}")
        if self.k < 0:
            raise UserError(f"algorithm {self.family!r}: {self.k} steps; use 0 or more")

    @property
    def label(self) -> str:
        """Name, steps and sizes on one line, for tables."""
        if self.family in GIVEN:
            return self.family
        sizes = ", ".join(f"{name}={value:.3g}" for name, value in self.sizes.items())
        unit = UNITS[self.step] if self.sizes else ""
        return f"{self.family}({self.k}{'; ' if sizes else ''}{sizes}{unit})"


def coefficients(
    problems: Problems, algorithms: Sequence[Algorithm]
) -> Float[Tensor, "algorithm prompt context d"]:
    """V'w of every algorithm on every problem. Raises UserError for one that knows more than the problems."""
    if given := [a.family for a in algorithms if a.family in GIVEN]:
        raise UserError(f"{given[0]} is no iterate of the examples: its weights have to be given")
    out = problems.projected.new_zeros(len(algorithms), *problems.projected.shape)
    names = {a.family for a in algorithms}
    run = {name: path(problems, _most(algorithms, name)) for name, path in PATHS.items() if name in names}
    base = problems.least_squares
    used: set[Step] = {algorithm.step for algorithm in algorithms}
    u = {step: problems.eigenvalues / problems.scale(step) for step in used}
    for i, algorithm in enumerate(algorithms):
        if algorithm.family in FAMILIES:
            out[i] = (
                FAMILIES[algorithm.family].filter(u[algorithm.step], algorithm.k, **algorithm.sizes) * base
            )
        elif algorithm.family in PATHS:
            out[i] = run[algorithm.family][algorithm.k]
        elif algorithm.family == "ogd":
            out[i] = _seen(problems, online(problems))
    return out


def _most(algorithms: Sequence[Algorithm], family: str) -> int:
    return max((a.k for a in algorithms if a.family == family), default=0)


def _seen(problems: Problems, w: Tensor) -> Tensor:
    root = problems.root if problems.root.ndim == 2 else problems.root[:, None]
    return (problems.basis.mT @ torch.linalg.solve(root, w[..., None]))[..., 0]


def weights(
    problems: Problems, algorithms: Sequence[Algorithm]
) -> Float[Tensor, "algorithm prompt context d"]:
    """Weight vectors, in the coordinates of x."""
    return problems.weights(coefficients(problems, algorithms))


def predictions(
    problems: Problems, algorithms: Sequence[Algorithm]
) -> Float[Tensor, "algorithm prompt context"]:
    """Predicted label of each problem's query x[:, t] by every algorithm."""
    return torch.einsum("aptd,ptd->apt", coefficients(problems, algorithms), problems.query)


def conjugate_gradient(problems: Problems, steps: int) -> Float[Tensor, "step_1 prompt context d"]:
    """V'w of conjugate gradient after 0 .. `steps` steps (Hestenes & Stiefel 1952), run in the eigenbasis.

    A problem whose residual has reached rounding stays where it is.
    """
    eigenvalues, residual = problems.eigenvalues, problems.projected
    w, direction = torch.zeros_like(residual), residual
    size = residual.square().sum(-1, keepdim=True)
    done = 1e-28 * size
    path = [w]
    for _ in range(steps):
        going = size > done
        moved = eigenvalues * direction
        curve = torch.where(going, (direction * moved).sum(-1, keepdim=True), 1.0)
        length = torch.where(going, size / curve, 0.0)
        w, residual = w + length * direction, residual - length * moved
        new = residual.square().sum(-1, keepdim=True)
        direction = residual + torch.where(going, new / torch.where(going, size, 1.0), 0.0) * direction
        size = torch.where(going, new, size)
        path.append(w)
    return torch.stack(path)


def truncated(problems: Problems, most: int) -> Float[Tensor, "rank_1 prompt context d"]:
    """V'w of least squares on the 0 .. `most` largest directions of S (principal component regression)."""
    d = problems.eigenvalues.shape[-1]
    place = torch.arange(d).flip(0)  # eigenvalues ascend
    return torch.stack([(place < rank) * problems.least_squares for rank in range(most + 1)])


PATHS: dict[str, Callable[[Problems, int], Tensor]] = {
    "cg": conjugate_gradient,
    "svd-rank": truncated,
    "bfgs": quasi_newton,
    "lbfgs": lambda problems, steps: quasi_newton(
        problems, steps, max(1, problems.eigenvalues.shape[-1] // 2)
    ),
}


def online(problems: Problems) -> Float[Tensor, "prompt context d"]:
    """Weights of one pass of online descent with step 1/|x|^2: exact on the newest example (2310.17086,
    section 3).

    It walks the raw examples; a preconditioner does not enter. The result is in the coordinates of x.
    """
    x, y = problems.x, problems.y
    w, path = torch.zeros_like(x[:, 0]), [torch.zeros_like(x[:, 0])]
    for t in range(max(problems.contexts)):
        size = x[:, t].square().sum(-1)
        error = y[:, t] - (w * x[:, t]).sum(-1)
        w = w + torch.where(size > 0, error / torch.where(size > 0, size, 1.0), 0.0)[:, None] * x[:, t]
        path.append(w)
    return torch.stack(path, 1)[:, list(problems.contexts)]


def bayes(noise: float, weight_scale: float) -> Algorithm:
    """The posterior mean for w ~ N(0, weight_scale^2 I) and label noise of standard deviation `noise`.

    Ridge with mu = (noise / weight_scale)^2; least squares without noise. For another prior covariance P give
    `P` as the preconditioner of the problems and weight_scale 1.
    """
    return Algorithm("ols") if noise == 0 else Algorithm("ridge", sizes={"mu": (noise / weight_scale) ** 2})


def newton_alpha(problems: Problems) -> float:
    """A fixed alpha safe for all problems: 1 / (largest eigenvalue of any S)^2.

    The printed 2 / |SS'| of 2310.17086 sits on the edge where the top direction never converges; this is half
    of it.
    """
    return 1 / float(problems.eigenvalues.max()) ** 2


def tuned(
    problems: Problems,
    target: Float[Tensor, "prompt context"],
    candidates: Sequence[Algorithm],
) -> Algorithm:
    """The candidate of smallest mean squared error against `target` (diverged ones lose); the first on a tie.

    Raises UserError when every candidate diverges.
    """
    errors = (predictions(problems, candidates) - target).square().mean((1, 2))
    if not bool(torch.isfinite(errors).any()):
        raise UserError("every candidate step diverges on these problems: give smaller steps")
    return candidates[int(torch.nan_to_num(errors, nan=torch.inf).argmin())]
