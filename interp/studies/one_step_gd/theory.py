"""Closed forms for one layer of linear self-attention on in-context regression.

Convention: n labelled pairs (x_i, y_i) and a query x_q; the layer predicts yhat = y'X G x_q, that is, the
implied weight vector is G'X'y with X [n, d] and no 1/n inside G. A paper that writes (1/n) y'X A x_q means
A = n G. Losses are mean squared errors at the query, in label units squared; `noise_variance` is a
variance. Everything is float64. These are statements about the population: a finite batch scatters about
them, and covariates with heavy tails widely. Sources: A = Mahankali, Hashimoto & Ma (2307.03576); C = Ahn,
Cheng, Daneshmand & Sra (2306.00297); Z = Zhang, Frei & Bartlett (2306.09927).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.studies.regression_distribution import RegressionDistribution as RegressionDistribution


def optimal_preconditioner(distribution: RegressionDistribution, n: int) -> Float[Tensor, "d d"]:
    """G* = ((n+1) S + c W^-1)^-1: the global minimiser over all one-layer weights.

    Contains A Theorem 1 (S = W = I), A Theorem 2 (W = S^-1), C Theorem 1 and Z Theorem 4.1 (W = I, no noise).
    """
    return torch.linalg.inv(
        (n + 1) * distribution.covariance + distribution.label_variance * torch.linalg.inv(distribution.prior)
    )


def label_moment(distribution: RegressionDistribution, n: int) -> Float[Tensor, "d d"]:
    """E[X'y y'X] = n(n+1) S W S + n c S: derived here, by the second Wishart moment."""
    S = distribution.covariance
    return n * (n + 1) * S @ distribution.prior @ S + n * distribution.label_variance * S


def optimal_loss(distribution: RegressionDistribution, n: int) -> float:
    """L* = s2 + tr(SW) - n tr(S G* S W): expected squared error against the noisy label of the query.

    The value at `optimal_preconditioner`, derived here; A, Theorems 1 and 2, where S W = I.
    """
    SW = distribution.covariance @ distribution.prior
    gain = n * torch.trace(distribution.covariance @ optimal_preconditioner(distribution, n) @ SW)
    return distribution.label_variance - float(gain)


def excess_loss(G: Float[Tensor, "d d"], distribution: RegressionDistribution, n: int) -> float:
    """Exact population loss of the preconditioner `G` above the optimum: tr(S (G-G*)' E (G-G*)), at least
    0. Derived here, by completing the square with E = `label_moment`.
    """
    off = G.double() - optimal_preconditioner(distribution, n)
    return float(torch.trace(distribution.covariance @ off.T @ label_moment(distribution, n) @ off))


def rank_excess(distribution: RegressionDistribution, n: int, rank: int) -> float:
    """The smallest excess loss that any preconditioner of at most `rank` has: singular values beyond it of
    E^1/2 G* S^1/2, squared and summed (Eckart and Young). 0 from rank d on.
    """
    weighted = (
        _root(label_moment(distribution, n))
        @ optimal_preconditioner(distribution, n)
        @ _root(distribution.covariance)
    )
    return float(torch.linalg.svdvals(weighted)[rank:].square().sum())


def _root(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    values, U = torch.linalg.eigh(matrix)
    return U @ torch.diag(values.clamp(min=0).sqrt()) @ U.T


def isotropic_step(n: int, d: int, noise_variance: float = 0.0, prior_variance: float = 1.0) -> float:
    """eta* = 1 / (n + d + 1 + s2/t2): one step of gradient descent from zero. A, Theorem 1.

    >>> round(isotropic_step(20, 5), 6)
    0.038462
    """
    return 1.0 / (n + d + 1 + noise_variance / prior_variance)


def isotropic_loss(n: int, d: int, noise_variance: float = 0.0) -> float:
    """L* = s2 + d (d+1+s2) / (n+d+1+s2) for standard normal covariates and weights. A, Theorem 1."""
    return noise_variance + d * (d + 1 + noise_variance) / (n + d + 1 + noise_variance)


def whitened_preconditioner(
    covariance: Float[Tensor, "d d"], n: int, noise_variance: float = 0.0
) -> Float[Tensor, "d d"]:
    """S^-1 / (n+d+1+s2): one step of S^-1-preconditioned descent when w ~ N(0, S^-1). A, Theorem 2."""
    return isotropic_step(n, len(covariance), noise_variance) * torch.linalg.inv(covariance.double())


def ahn_preconditioner(covariance: Float[Tensor, "d d"], n: int) -> Float[Tensor, "d d"]:
    """A_0 = U diag(1 / ((n+1)/n lam_i + (1/n) sum_k lam_k)) U' for w ~ N(0, I) without noise. C, Theorem 1
    (= n G*).
    """
    lam, U = torch.linalg.eigh(covariance.double())
    return U @ torch.diag(1 / ((n + 1) / n * lam + lam.sum() / n)) @ U.T


def zhang_gamma(covariance: Float[Tensor, "d d"], n_train: int) -> Float[Tensor, "d d"]:
    """Gamma = (1 + 1/N) Lambda + tr(Lambda)/N I; gradient flow ends at G = Gamma^-1 / N. Z, Theorem 4.1."""
    S = covariance.double()
    return (1 + 1 / n_train) * S + torch.trace(S) / n_train * torch.eye(len(S), dtype=torch.float64)


def zhang_balance(covariance: Float[Tensor, "d d"], n_train: int) -> float:
    """k = tr(Gamma^-2)^(1/4): the corner of W^PV at the end of a balanced gradient flow. Z, Theorem 4.1."""
    inverse = torch.linalg.inv(zhang_gamma(covariance, n_train))
    return float(torch.trace(inverse @ inverse)) ** 0.25


def zhang_loss(covariance: Float[Tensor, "d d"], n_train: int, n_test: int) -> float:
    """Loss on prompts of `n_test` pairs of the layer trained on `n_train`; w ~ N(0, I), no noise.
    Derived here for the layer at which Z, Theorem 4.1, ends.

    Does not go to 0 as `n_test` grows: the layer keeps the ridge of its training length.
    """
    lam = torch.linalg.eigvalsh(covariance.double())
    g = 1 / torch.linalg.eigvalsh(zhang_gamma(covariance, n_train))
    cubic = (n_test + 1) / n_test * (lam**3 * g**2).sum() + lam.sum() / n_test * (lam**2 * g**2).sum()
    return float(lam.sum() - 2 * (lam**2 * g).sum() + cubic)


@dataclass(frozen=True)
class TargetMoments:
    """What one layer can use of a random target f that is symmetric (f = -f in law) and makes G a multiple
    of I.

    `gain` is E|mu|^2 with mu = E_x[f(x) x]; `spread` is E[f(x)^2 |x|^2]; `power` is E[f(x)^2]; `m2` is
    E|x|^2. eta* = (d/m2) gain / (spread + s2 m2 + (n-1) gain). A, Theorem 3, whose covariates are standard
    normal; targets on other isotropic covariates take the same form, derived in the same way.
    """

    d: int
    gain: float
    spread: float
    power: float
    m2: float

    def step(self, n: int, noise_variance: float = 0.0) -> float:
        """eta*; 0 for a target with no linear part, of which the layer learns nothing."""
        share = self.gain / (self.spread + noise_variance * self.m2 + (n - 1) * self.gain)
        return self.d / self.m2 * share

    def loss(self, n: int, noise_variance: float = 0.0) -> float:
        """L* = s2 + E f^2 - n eta* E|mu|^2, against the noisy label of the query."""
        return noise_variance + self.power - n * self.step(n, noise_variance) * self.gain


def rotation_invariant(d: int, m2: float, m4: float) -> TargetMoments:
    """Linear targets, w ~ N(0, I), on covariates with a rotation-invariant law, m2 = E|x|^2 and m4 =
    E|x|^4. A, Theorem 3's form.
    """
    return TargetMoments(d, gain=m2**2 / d, spread=m4, power=m2, m2=m2)


def iid_coordinates(d: int, variance: float, fourth: float) -> TargetMoments:
    """Linear targets, w ~ N(0, I), on i.i.d. symmetric coordinates with the given second and fourth
    moments. A, Theorem 3's form.
    """
    spread = d * (fourth + (d - 1) * variance**2)
    return TargetMoments(d, gain=d * variance**2, spread=spread, power=d * variance, m2=d * variance)


def gamma_sphere(d: int, shape: float, scale: float) -> TargetMoments:
    """Covariates sqrt(Gamma(shape, scale)) times a uniform direction: heavy tails for a small `shape`.
    `rotation_invariant` with the moments of the gamma law.
    """
    return rotation_invariant(d, m2=shape * scale, m4=shape * (shape + 1) * scale**2)


def relu_network(d: int, power: float) -> TargetMoments:
    """Random two-layer ReLU nets of any width with zero-mean weights and E f^2 = `power`: eta* =
    1/(n+2d+3). A, Theorem 3.
    """
    return TargetMoments(d, gain=power / 2, spread=power * (d + 2), power=power, m2=float(d))


def cubic(d: int, power: float = 15.0) -> TargetMoments:
    """(v'x)^3 with v in a uniform direction; 3, 15 and 105 are moments of a normal, E f^2 = 15 for a unit
    v. A, Theorem 3.
    """
    return TargetMoments(d, gain=9 * power / 15, spread=power * (d + 6), power=power, m2=float(d))


def even(d: int, power: float) -> TargetMoments:
    """Random quadratic forms (any even target has no gain): one layer learns nothing of them. A, Theorem 3."""
    return TargetMoments(d, gain=0.0, spread=power * (d + 4), power=power, m2=float(d))


def relu_attention_step(n: int, d: int) -> float:
    """a* = 2n / (2(d+2) + n - 1), so that A_0 = a* I in (1/n) sum_i y_i relu(x_i'A x_q); S = W = I. C,
    Theorem 5.
    """
    return 2 * n / (2 * (d + 2) + n - 1)


def relu_attention_loss(n: int, d: int) -> float:
    """d - a* d / 2: what ReLU attention leaves, half of each label's overlap being cut away. C, Theorem 5."""
    return d - relu_attention_step(n, d) * d / 2
