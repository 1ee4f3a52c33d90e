"""Minima, regimes and flow of the positional/semantic problem (eq. 18 of Arnaboldi et al., arXiv 2506.02651), L = 2.

The student is eq. (1) with opposite encodings and no reduction; its loss on the quarter disc m, e >= 0 (even in
both) is kept on a polar grid, angle 0 semantic (m = 1), angle pi/2 positional (e = 1). The loss is linear in the
target's two halves, so one pass of quadrature serves every omega and a.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.integrate import solve_ivp
from scipy.interpolate import RectBivariateSpline

from tasks.errors import UserError
from tasks.theory.hermite import Function, gauss_hermite
from tasks.theory.single_index import (
    attention_matrix,
    attention_student,
    opposite,
    positional_part,
    positional_semantic,
    taylor,
)

REGIMES = (
    "unique positional minimum",
    "global positional minimum",
    "global positional minimum, semantic dynamics",
    "global semantic minimum, positional dynamics",
    "global semantic minimum",
    "unique semantic minimum, misaligned dynamics",
    "unique semantic minimum",
    "unique positional minimum, misaligned dynamics",
)


@dataclasses.dataclass(frozen=True)
class Moments:
    """E f, E |f|^2 and E <softmax(z* z*^T), f> of the student on the polar grid, and E of the teacher's softmax."""

    radius: Float[ndarray, " r"]
    angle: Float[ndarray, " t"]
    mean: Float[ndarray, "r t 2 2"]
    square: Float[ndarray, "r t"]
    cross: Float[ndarray, "r t"]
    teacher_mean: Float[ndarray, "2 2"]
    teacher_square: float

    def loss(self, omega: float | int, a: float | int) -> Float[ndarray, "r t"]:
        """R(e, m) on the grid for one target."""
        fixed = positional_part(a)
        own = (1 - omega) ** 2 * self.teacher_square + omega**2 * float((fixed**2).sum())
        own += 2 * omega * (1 - omega) * float((fixed * self.teacher_mean).sum())
        with_fixed = np.einsum("rtij,ij->rt", self.mean, fixed)
        return own - 2 * (1 - omega) * self.cross - 2 * omega * with_fixed + self.square


@functools.lru_cache(maxsize=4)
def moments(radii: int = 17, angles: int = 33, nodes: int = 11) -> Moments:
    """The moments by Gauss-Hermite quadrature with `nodes` an axis in four dimensions (a few seconds)."""
    radius, angle = np.linspace(0, 1, radii), np.linspace(0, np.pi / 2, angles)
    points, weights = gauss_hermite(4, nodes)
    teacher, noise = points[:, :2], points[:, 2:]
    target = attention_matrix(teacher)
    mean, square, cross = (
        np.empty((radii, angles, 2, 2)),
        np.empty((radii, angles)),
        np.empty((radii, angles)),
    )
    for i, j in np.ndindex(radii, angles):
        m, e = radius[i] * math.cos(angle[j]), radius[i] * math.sin(angle[j])
        f = attention_matrix(m * teacher + math.sqrt(max(1 - m * m, 0.0)) * noise + e * opposite(2))
        mean[i, j] = np.einsum("n,nij->ij", weights, f)
        square[i, j] = weights @ (f**2).sum((-1, -2))
        cross[i, j] = weights @ (f * target).sum((-1, -2))
    own = float(weights @ (target**2).sum((-1, -2)))
    return Moments(radius, angle, mean, square, cross, np.einsum("n,nij->ij", weights, target), own)


@dataclasses.dataclass(frozen=True)
class Minimum:
    """A local minimum of R: its radius |(e, m)|, its angle (0 semantic, pi/2 positional) and the loss there."""

    radius: float
    angle: float
    loss: float

    @property
    def semantic(self) -> bool:
        """Whether m > e there."""
        return self.angle < np.pi / 4


def minima(
    loss: Float[ndarray, "r t"], radius: Float[ndarray, " r"], angle: Float[ndarray, " t"]
) -> list[Minimum]:
    """Local minima of a loss on the polar grid, lowest first; a grid point must lie below all its neighbours."""
    padded = np.pad(loss, 1, constant_values=np.inf)
    rows, columns = loss.shape
    lowest = np.ones_like(loss, bool)
    for di in (0, 1, 2):
        for dj in (0, 1, 2):
            if (di, dj) != (1, 1):
                lowest &= loss <= padded[di : di + rows, dj : dj + columns]
    found = [
        Minimum(float(radius[i]), float(angle[j]), float(loss[i, j])) for i, j in np.argwhere(lowest) if i
    ]
    return sorted(found, key=lambda x: x.loss)


def escape_is_semantic(omega: float | int, a: float | int) -> bool:
    """Whether the loss falls faster along m than along e at (0, 0): the direction in which SGD leaves."""
    hessian = taylor(positional_semantic(omega, a), attention_student("identity", 2), opposite(2), 2).hessian
    return bool(hessian[1, 1] < hessian[0, 0])


def regime(omega: float | int, a: float | int, grid: Moments | None = None) -> str:
    """One of `REGIMES`: which minima exist on the disc, which is global, and whether the escape points to it."""
    grid = moments() if grid is None else grid
    found = minima(grid.loss(omega, a), grid.radius, grid.angle)
    if not found:
        raise UserError(f"the grid shows no minimum at omega {omega}, a {a}: use more radii and angles")
    kind = "semantic" if found[0].semantic else "positional"
    both = len({x.semantic for x in found}) == 2
    aligned = escape_is_semantic(omega, a) == found[0].semantic
    if both:
        other = "positional" if kind == "semantic" else "semantic"
        return f"global {kind} minimum" + ("" if aligned else f", {other} dynamics")
    return f"unique {kind} minimum" + ("" if aligned else ", misaligned dynamics")


def phase_diagram(
    omegas: Float[ndarray, " w"], scales: Float[ndarray, " s"], grid: Moments | None = None
) -> list[list[str]]:
    """The regime of every omega (columns) and a (rows): Fig. 4."""
    grid = moments() if grid is None else grid
    return [[regime(float(omega), float(a), grid) for omega in omegas] for a in scales]


def minimum_angles(
    targets: Sequence[Function], angles: int = 73, nodes: int = 11
) -> Float[ndarray, " target"]:
    """Where on the quarter circle |(m, e)| = 1 the loss of each target (two tokens, no reduction) is lowest.

    In radians, 0 semantic and pi/2 positional, to within half of pi/2 / (angles - 1).
    """
    angle = np.linspace(0, np.pi / 2, angles)
    points, weights = gauss_hermite(4, nodes)
    teacher, noise = points[:, :2], points[:, 2:]
    labels = [np.asarray(target(teacher)) for target in targets]
    losses = np.empty((len(targets), angles))
    for j, t in enumerate(angle):
        f = attention_matrix(math.cos(t) * teacher + math.sin(t) * (noise + opposite(2)))
        losses[:, j] = [weights @ ((label - f) ** 2).sum((-1, -2)) for label in labels]
    return angle[losses.argmin(1)]


def _mirrored(grid: Moments, loss: ndarray) -> RectBivariateSpline:
    """A spline of the loss over angles -pi/2 ... pi, even about 0 and pi/2 as the loss is."""
    t = grid.angle
    angle = np.concatenate([-t[:0:-1], t, np.pi - t[-2::-1]])
    return RectBivariateSpline(grid.radius, angle, np.hstack([loss[:, :0:-1], loss, loss[:, -2::-1]]))


def flow(
    omega: float | int,
    a: float | int,
    start: tuple[float, float],
    duration: float,
    grid: Moments | None = None,
) -> Float[ndarray, "time 2"]:
    """Spherical gradient flow of R from overlaps (m, e), 200 points of equal time up to `duration` (steps x rate / d).

    d(m, e)/dt = -(I - v v^T) grad R with v = (m, e): the projection that keeps |w| = sqrt(d).
    """
    grid = moments() if grid is None else grid
    surface = _mirrored(grid, grid.loss(omega, a))

    def slope(_: float, v: ndarray) -> ndarray:
        r, t = max(float(np.hypot(*v)), 1e-6), float(np.arctan2(v[1], v[0]))
        along = float(surface(r, t, dx=1)[0, 0])
        around = float(surface(r, t, dy=1)[0, 0]) / r
        gradient = np.array([along * v[0] - around * v[1], along * v[1] + around * v[0]]) / r
        return -(gradient - v * float(v @ gradient))

    times = np.linspace(0, duration, 200)
    return solve_ivp(slope, (0, duration), list(start), t_eval=times, rtol=1e-6, method="LSODA").y.T
