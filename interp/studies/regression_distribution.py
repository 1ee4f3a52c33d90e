"""The Gaussian distribution of linear-regression prompts: covariates, weights and label noise, in float64.

Sources: A = Mahankali, Hashimoto & Ma (2307.03576).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.errors import UserError


@dataclass(frozen=True)
class RegressionDistribution:
    """Prompts x ~ N(0, covariance), w ~ N(0, prior), y = w'x + N(0, noise_variance)."""

    covariance: Float[Tensor, "d d"]
    prior: Float[Tensor, "d d"]
    noise_variance: float = 0.0

    def __post_init__(self) -> None:
        for name, matrix in (("covariance", self.covariance), ("prior", self.prior)):
            if matrix.dtype != torch.float64:
                raise UserError(f"{name} must be float64, got {matrix.dtype}: call .double()")
            if not torch.allclose(matrix, matrix.T) or torch.linalg.eigvalsh(matrix)[0] <= 0:
                raise UserError(f"{name} must be symmetric positive definite")
        if self.noise_variance < 0:
            raise UserError(f"noise_variance must be at least 0, got {self.noise_variance}")

    @staticmethod
    def isotropic(d: int, noise_variance: float = 0.0, prior_variance: float = 1.0) -> RegressionDistribution:
        """Standard normal covariates and w ~ N(0, prior_variance I): A, Theorem 1."""
        eye = torch.eye(d, dtype=torch.float64)
        return RegressionDistribution(eye, prior_variance * eye, noise_variance)

    @staticmethod
    def whitened(covariance: Float[Tensor, "d d"], noise_variance: float = 0.0) -> RegressionDistribution:
        """w ~ N(0, covariance^-1), so that whitening the covariates whitens the weights too: A, Theorem 2."""
        return RegressionDistribution(covariance, torch.linalg.inv(covariance), noise_variance)

    @property
    def label_variance(self) -> float:
        """c = tr(prior covariance) + noise variance, the variance of a label."""
        return float(torch.trace(self.prior @ self.covariance)) + self.noise_variance
