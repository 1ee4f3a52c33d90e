"""In-context regression: labelled examples of a function drawn per prompt, then a query.

A prompt has n labelled examples and n + 1 inputs x; the query's label is the target and never input. Two
layouts: "interleaved" tokens x_1, y_1, ..., x_{n+1} (every x is an output position: "x t+1" has t examples before
it) and "merged" tokens [x; y] (one output position, the last token, whose label slot is 0). Losses are in units of
the label variance: the zero predictor scores 1. Labels include the noise, the query's too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_serializer, model_validator
from torch import Tensor

from tasks import regression_pool, targets
from tasks.base import Interface, Level, Pair, Relation, Task, register
from tasks.covariates import Law, directions, fixed_basis, haar, normalised, squared_radius, two_level
from tasks.errors import UserError
from tasks.regression_layout import RegressionBatch, at_outputs, changed_tokens, interface_of, tokens
from tasks.regression_pairs import PAIR_KINDS, RegressionDraws, corrupted
from tasks.regression_reading import relations, token_names
from tasks.regression_risk import least_loss
from tasks.risk import risk
from tasks.streams import check_batch, generator
from tasks.theory.bayes import predictions
from tasks.theory.pool import pool_predictions

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@register("regression")
class InContextRegression(Task):
    """Settings of a family of regression prompts.

    `n`: labelled examples before the query. Spectrum: `eigenvalues` (as many as d), else two levels `kappa`
    apart, always scaled to sum to d; `basis` of the covariance: the coordinates, one Haar draw of
    `basis_seed`, or one per prompt. `noise`: standard deviation of the label noise. `prior`: w ~ N(0,
    weight_scale² I), or N(0, weight_scale² Σ^-1) with Σ the trace-normalised covariance. `law`: distribution of
    the radius of x, see `tasks.covariates`; `gamma` is (shape, scale) of |x|². `x_scale` multiplies x. `target`:
    non-linear ones need isotropic normal x; `hidden` is the width of their net; `basis_seed` draws what prompts share
    (the fixed eigenbasis, the frozen net of target "features"). `pool`: 0 for a fresh function in every prompt; M for
    one of M that `pool_seed` draws (`tasks.regression_pool`). Losses stay in units of the label variance without a
    pool.
    """

    d: int = Field(default=5, ge=1, le=1024)
    n: int = Field(default=10, ge=1, le=16384)
    layout: Literal["interleaved", "merged"] = "interleaved"
    eigenvalues: tuple[Positive, ...] = ()
    kappa: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    basis: Literal["none", "fixed", "prompt"] = "none"
    basis_seed: int = 0
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    prior: Literal["gaussian", "inverse-covariance"] = "gaussian"
    weight_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    law: Law = "normal"
    gamma: tuple[Positive, Positive] = (0.1, 10.0)
    x_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    target: targets.Target = "linear"
    hidden: int = Field(default=100, ge=1, le=65536)
    pool: int = Field(default=0, ge=0, le=regression_pool.MOST)
    pool_seed: int = 0

    score_name: ClassVar[str] = "loss / label variance"

    @model_validator(mode="after")
    def _consistent(self) -> InContextRegression:
        if self.eigenvalues and len(self.eigenvalues) != self.d:
            raise ValueError(f"eigenvalues must be {self.d} positive numbers (one for each of d coordinates)")
        if self.eigenvalues and self.kappa != 1:
            raise ValueError("give eigenvalues or kappa, not both")
        if self.target != "linear" and not (self.isotropic and self.law == "normal"):
            raise ValueError(
                f"target {self.target!r} needs isotropic x with law='normal' (its label variance is known there)"
            )
        own_basis = self.basis == "prompt" and not self.isotropic and self.prior != "gaussian"
        if self.pool and (why := regression_pool.complaint(self.pool, self.d, self.target, own_basis)):
            raise ValueError(why)
        return self

    @model_serializer(mode="wrap")
    def _silent_without_pool(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        found = handler(self)
        return found if self.pool else {k: v for k, v in found.items() if k not in ("pool", "pool_seed")}

    @property
    def isotropic(self) -> bool:
        return len(set(self.spectrum)) == 1

    @property
    def spectrum(self) -> tuple[float, ...]:
        """Eigenvalues λ of the trace-normalised covariance Σ (they sum to d), in the order of `batch.basis`
        columns."""
        return normalised(self.eigenvalues) if self.eigenvalues else two_level(self.d, self.kappa)

    @property
    def covariance_eigenvalues(self) -> tuple[float, ...]:
        """Eigenvalues of E[xx'], radius and x_scale included."""
        scale = self.x_scale**2 * squared_radius(self.d, self.law, self.gamma) / self.d
        return tuple(scale * value for value in self.spectrum)

    @property
    def label_variance(self) -> float:
        """E y² of one label, noise included: the unit of the loss."""
        if self.target == "linear":
            whitened = (c / s for c, s in zip(self.covariance_eigenvalues, self.spectrum, strict=True))
            lengths = self.covariance_eigenvalues if self.prior == "gaussian" else whitened
            return self.weight_scale**2 * sum(lengths) + self.noise**2
        frozen = (self.hidden, self.basis_seed) if self.target == "features" else ()
        moment = targets.second_moment(self.target, self.d, self.x_scale, *frozen)
        return self.weight_scale**2 * moment + self.noise**2

    @property
    def interface(self) -> Interface:
        return interface_of(self.n, self.d, self.layout == "merged")

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"x {t + 1}" for t in self.contexts)

    @property
    def contexts(self) -> tuple[int, ...]:
        """Number of labelled examples before each output position."""
        return (self.n,) if self.layout == "merged" else tuple(range(self.n + 1))

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return PAIR_KINDS

    def sample(self, seed: int, stream: str, step: int, batch: int) -> RegressionBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or over the
        memory limit."""
        return self._label(self._draws(generator(seed, stream, step), batch))

    def _draws(self, gen: torch.Generator, batch: int, basis: Tensor | None = None) -> RegressionDraws:
        self._check(batch)
        basis = self.bases(gen, batch) if basis is None else basis
        x = self.draw_x(gen, basis, self.n + 1)
        rows, outer = targets.draw(gen, self.target, batch, self.d, self.hidden, self.basis_seed)
        noise = torch.randn(batch, self.n + 1, generator=gen) * self.noise
        if self.pool:
            rows = regression_pool.drawn(gen, batch, self.pool, self.d, self.pool_seed)
        return RegressionDraws(x, basis, rows, outer, noise)

    def _check(self, batch: int) -> None:
        per_prompt = 2 * (self.n + 1) * (self.d + 1) + (0 if self.basis == "none" else self.d**2)
        if self.target != "linear":
            per_prompt += self.hidden * (self.d + self.n + 1)
        check_batch(batch, per_prompt)

    def bases(self, gen: torch.Generator, batch: int) -> Float[Tensor, "batch d d"]:
        if self.basis == "prompt":
            return haar(gen, batch, self.d)
        shared = fixed_basis(self.basis_seed, self.d) if self.basis == "fixed" else torch.eye(self.d)[None]
        return shared.expand(batch, -1, -1)

    def draw_x(
        self, gen: torch.Generator, basis: Float[Tensor, "batch d d"], count: int
    ) -> Float[Tensor, "batch count d"]:
        """Fresh inputs of the task's law for prompts of the given eigenbases."""
        z = directions(gen, (basis.shape[0], count, self.d), self.law, self.gamma)
        x = z * (self.x_scale * torch.tensor(self.spectrum).sqrt())
        return x if self.basis == "none" else torch.einsum("bpk,bik->bpi", x, basis)

    def whiten(
        self, x: Float[Tensor, "batch pos d"], basis: Float[Tensor, "batch d d"]
    ) -> Float[Tensor, "batch pos d"]:
        """W^{1/2} x for the prior N(0, W): labels are then v·a with v ~ N(0, I)."""
        if self.prior == "gaussian" or self.isotropic:
            return x * self.weight_scale
        roots = torch.tensor(self.spectrum, dtype=x.dtype, device=x.device).rsqrt() * self.weight_scale
        return torch.einsum("bpi,bik,k,bjk->bpj", x, basis.to(x), roots, basis.to(x))

    def _label(self, draws: RegressionDraws) -> RegressionBatch:
        if self.target == "linear":
            w = self.whiten(draws.rows, draws.basis)[:, 0] * draws.outer
            clean = torch.einsum("bpd,bd->bp", draws.x.double(), w.double()).float()
        else:
            w = (
                draws.rows[:, 0] * draws.outer
                if self.target == "cubic"
                else torch.full_like(draws.x[:, 0], torch.nan)
            )
            clean = targets.values(self.target, draws.x, draws.rows, draws.outer) * self.weight_scale
        y = clean + draws.noise
        return RegressionBatch(
            *tokens(draws.x, y, self.layout == "merged"), draws.x, y, clean, w, draws.basis
        )

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: RegressionBatch
    ) -> Float[Tensor, "batch output"]:
        """Squared error at each output position over the label variance."""
        read = outputs[:, list(self.interface.output_positions), 0]
        return (read - batch.targets) ** 2 / self.label_variance

    @property
    def _has_posterior(self) -> bool:
        try:
            self.require_posterior()
        except UserError:
            return False
        return True

    def require_posterior(self) -> None:
        if self.target != "linear":
            raise UserError(f"target {self.target!r} has no closed-form Bayes answer: use target 'linear'")
        if self.prior == "inverse-covariance" and self.basis == "prompt" and not self.isotropic:
            raise UserError(
                "prior 'inverse-covariance' with an eigenbasis per prompt has no closed-form Bayes answer: "
                "use basis 'none' or 'fixed', or prior 'gaussian'"
            )

    def answer(self, batch: RegressionBatch) -> Float[Tensor, "batch pos 1"]:
        """Posterior-mean prediction at each output position in float64: ridge, or minimum-norm least squares without
        noise; with a pool, dMMSE.

        Raises UserError where the posterior mean has no closed form.
        """
        self._require_answer()
        return self.strategies(batch)["dMMSE" if self.pool else "ridge"]

    def _require_answer(self) -> None:
        self.require_posterior()
        if self.pool and not self.noise:
            raise UserError("a pool without label noise has no closed-form Bayes answer: set noise above 0")

    def strategies(self, batch: RegressionBatch) -> dict[str, Float[Tensor, "batch pos 1"]]:
        """Predictions at each output position in float64: "ridge" (Bayes-optimal for infinitely many tasks) and, with a
        pool, "dMMSE" (Bayes-optimal for the pool; only with label noise). None where there is no closed form."""
        if not self._has_posterior:
            return {}
        a = self.whiten(batch.x.double(), batch.basis)
        found = {"ridge": at_outputs(self.interface, self.contexts, predictions(a, batch.y, self.noise))}
        if self.pool and self.noise:
            rows = regression_pool.pool_rows(self.pool, self.d, self.pool_seed).to(a.device)
            found["dMMSE"] = at_outputs(
                self.interface, self.contexts, pool_predictions(a, batch.y, rows, self.noise)
            )
        return found

    def distance(
        self,
        outputs: Float[Tensor, "batch pos d_out"],
        strategy: Float[Tensor, "batch pos d_out"],
        batch: RegressionBatch,
    ) -> Float[Tensor, "batch output"]:
        """Squared difference at each output position over the variance of a label without its noise (d for isotropic
        normal x and w)."""
        at = list(self.interface.output_positions)
        return (outputs[:, at, 0] - strategy[:, at, 0]) ** 2 / (self.label_variance - self.noise**2)

    @property
    def distributions(self) -> dict[str, Task]:
        """With a pool: its tasks, and fresh ones with the same inputs and noise."""
        if not self.pool:
            return {}
        return {"pool tasks": self, "fresh tasks": self.model_copy(update={"pool": 0, "pool_seed": 0})}

    def bayes_risk(self) -> Level:
        """Expected loss of `answer`: closed where it is, else the mean posterior variance over drawn
        designs; with a pool, over drawn prompts."""
        self._require_answer()
        if self.pool:
            return risk(self, "dMMSE")
        return least_loss(self)

    def chance(self) -> Level:
        """The zero predictor, which scores 1 (every label distribution here is symmetric about 0; with a pool, nearly
        so: its own mean square counts)."""
        one = torch.ones(len(self.contexts))
        if self.pool:
            one = one * regression_pool.label_variance(self) / self.label_variance
        return Level(one, torch.zeros_like(one), "the zero predictor: E y² over the label variance")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """Clean and corrupt prompts; `tasks.regression_pairs` lists what each kind changes."""
        if kind not in PAIR_KINDS:
            return super().pair(kind, seed, stream, step, batch)
        draws = self._draws(generator(seed, stream, step), batch)
        gen = generator(seed, f"{stream}/{kind}", step)
        other, x_changed, y_changed = corrupted(kind, draws, self._draws(gen, batch, draws.basis), gen)
        first, second = self._label(draws), self._label(other)
        # fresh draws can coincide in float32: x of almost no length gives the same noisy label under any w
        differs = (first.inputs != second.inputs).any(dim=-1)
        return Pair(
            kind, first, second, changed_tokens(x_changed, y_changed, self.layout == "merged") & differs
        )

    def relations(self, batch: RegressionBatch) -> tuple[Relation, ...]:
        """Pairing, query -> examples, and the previous token."""
        return relations(self.n, self.layout == "merged", len(batch))

    def labels(self, batch: RegressionBatch) -> list[list[str]]:
        return [token_names(self.n, self.layout == "merged") for _ in range(len(batch))]
