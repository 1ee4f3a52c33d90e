"""In-context regression: labelled examples of a function drawn per prompt, then a query.

A prompt has n labelled examples and n + 1 inputs x; the query's label is the target and never input. Two
layouts: "interleaved" tokens x_1, y_1, ..., x_{n+1} (every x is read, so read "x t+1" has t examples before
it) and "merged" tokens [x; y] (one read, at the last token, whose label slot is 0). Losses are in units of
the label variance: the zero predictor scores 1. Labels include the noise, the query's too.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from tasks import targets
from tasks.base import Batch, Interface, Level, Pair, Relation, Task, check_batch, generator, register
from tasks.covariates import Law, directions, fixed_basis, haar, normalised, squared_radius, two_level
from tasks.errors import UserError
from tasks.regression_pairs import PAIR_KINDS, Draws, corrupted
from tasks.theory.bayes import posterior, predictions

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FLOOR_PROMPTS = 4096
FLOOR_ELEMENTS = 2**23
FLOOR_WORK = 2**33


@dataclasses.dataclass(frozen=True)
class RegressionBatch(Batch):
    """Prompts with what the task knows of them.

    `y` holds every label, noise included; `clean` the same without noise. `w` is the weight vector of a
    linear target, the cubed one of a cubic target, NaN for a net. `basis` holds the eigenvectors of the
    x-covariance as columns.
    """

    x: Float[Tensor, "batch n_x d"]
    y: Float[Tensor, "batch n_x"]
    clean: Float[Tensor, "batch n_x"]
    w: Float[Tensor, "batch d"]
    basis: Float[Tensor, "batch d d"]


@register("regression")
class InContextRegression(Task):
    """Settings of a family of regression prompts.

    `n`: labelled examples before the query. Spectrum: `eigenvalues` (as many as d), else two levels `kappa`
    apart, always scaled to sum to d; `basis` of the covariance: the coordinates, one Haar draw of
    `basis_seed`, or one per prompt. `noise`: standard deviation of the label noise. `prior`: w ~ N(0,
    weight_scale² I), or N(0, weight_scale² Σ^-1) with Σ the trace-normalised covariance. `law`: see
    `tasks.covariates`; `gamma` is (shape, scale) of |x|². `x_scale` multiplies x. `target`: non-linear ones
    need isotropic normal x; `hidden` is the width of their net; `basis_seed` draws what prompts share (the fixed
    eigenbasis, the frozen net of target "features").
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

    score_name: ClassVar[str] = "loss / label variance"

    @model_validator(mode="after")
    def _consistent(self) -> InContextRegression:
        if self.eigenvalues and len(self.eigenvalues) != self.d:
            raise ValueError(f"eigenvalues must be {self.d} positive numbers (one for each of d coordinates)")
        if self.eigenvalues and self.kappa != 1:
            raise ValueError("give eigenvalues or kappa, not both")
        if self.target != "linear" and not (self.isotropic and self.law == "normal"):
            raise ValueError(
                f"target {self.target!r} needs isotropic x of law 'normal' (its label variance is known there)"
            )
        return self

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
        """Eigenvalues of E[xx'], with the law's radius and x_scale counted in."""
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
        if self.layout == "merged":
            return Interface(
                inputs="continuous", n_ctx=self.n + 1, d_in=self.d + 1, d_out=1, read_positions=(self.n,)
            )
        n_ctx = 2 * self.n + 1
        return Interface(
            inputs="continuous",
            n_ctx=n_ctx,
            d_in=self.d,
            d_out=1,
            token_types=tuple(p % 2 for p in range(n_ctx)),
            read_positions=tuple(range(0, n_ctx, 2)),
        )

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(f"x {t + 1}" for t in self.contexts)

    @property
    def contexts(self) -> tuple[int, ...]:
        """Number of labelled examples before each read."""
        return (self.n,) if self.layout == "merged" else tuple(range(self.n + 1))

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return PAIR_KINDS

    def sample(self, seed: int, stream: str, step: int, batch: int) -> RegressionBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or over the
        memory limit."""
        return self._label(self._draws(generator(seed, stream, step), batch))

    def _draws(self, gen: torch.Generator, batch: int, basis: Tensor | None = None) -> Draws:
        self._check(batch)
        basis = self._bases(gen, batch) if basis is None else basis
        x = self.draw_x(gen, basis, self.n + 1)
        rows, outer = targets.draw(gen, self.target, batch, self.d, self.hidden, self.basis_seed)
        return Draws(x, basis, rows, outer, torch.randn(batch, self.n + 1, generator=gen) * self.noise)

    def _check(self, batch: int) -> None:
        per_prompt = 2 * (self.n + 1) * (self.d + 1) + (0 if self.basis == "none" else self.d**2)
        if self.target != "linear":
            per_prompt += self.hidden * (self.d + self.n + 1)
        check_batch(batch, per_prompt)

    def _bases(self, gen: torch.Generator, batch: int) -> Float[Tensor, "batch d d"]:
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

    def _whiten(
        self, x: Float[Tensor, "batch pos d"], basis: Float[Tensor, "batch d d"]
    ) -> Float[Tensor, "batch pos d"]:
        """W^{1/2} x for the prior N(0, W): labels are then v·a with v ~ N(0, I)."""
        if self.prior == "gaussian" or self.isotropic:
            return x * self.weight_scale
        roots = torch.tensor(self.spectrum, dtype=x.dtype, device=x.device).rsqrt() * self.weight_scale
        return torch.einsum("bpi,bik,k,bjk->bpj", x, basis.to(x), roots, basis.to(x))

    def _label(self, draws: Draws) -> RegressionBatch:
        if self.target == "linear":
            w = self._whiten(draws.rows, draws.basis)[:, 0] * draws.outer
            clean = torch.einsum("bpd,bd->bp", draws.x.double(), w.double()).float()
        else:
            w = (
                draws.rows[:, 0] * draws.outer
                if self.target == "cubic"
                else torch.full_like(draws.x[:, 0], torch.nan)
            )
            clean = targets.values(self.target, draws.x, draws.rows, draws.outer) * self.weight_scale
        y = clean + draws.noise
        return RegressionBatch(*self._tokens(draws.x, y), draws.x, y, clean, w, draws.basis)

    def _tokens(
        self, x: Float[Tensor, "batch n_x d"], y: Float[Tensor, "batch n_x"]
    ) -> tuple[Float[Tensor, "batch pos d_in"], Float[Tensor, "batch read"]]:
        """Inputs and targets in this task's layout; the query's label is shown nowhere."""
        if self.layout == "merged":
            shown = torch.cat([y[:, :-1], torch.zeros_like(y[:, -1:])], dim=1)
            return torch.cat([x, shown[:, :, None]], dim=-1), y[:, -1:]
        inputs = x.new_zeros(len(x), 2 * self.n + 1, self.d)
        inputs[:, 0::2] = x
        inputs[:, 1::2, 0] = y[:, :-1]
        return inputs, y

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: RegressionBatch
    ) -> Float[Tensor, "batch read"]:
        """Squared error of each read over the label variance."""
        read = outputs[:, list(self.interface.read_positions), 0]
        return (read - batch.targets) ** 2 / self.label_variance

    def require_posterior(self) -> None:
        if self.target != "linear":
            raise UserError(f"target {self.target!r} has no closed-form Bayes answer: use target 'linear'")
        if self.prior == "inverse-covariance" and self.basis == "prompt" and not self.isotropic:
            raise UserError(
                "prior 'inverse-covariance' with an eigenbasis per prompt has no closed-form Bayes answer: "
                "use basis 'none' or 'fixed', or prior 'gaussian'"
            )

    def answer(self, batch: RegressionBatch) -> Float[Tensor, "batch pos 1"]:
        """Posterior-mean prediction at each read in float64: ridge, or minimum-norm least squares without
        noise.

        Raises UserError where the posterior mean has no closed form.
        """
        self.require_posterior()
        a = self._whiten(batch.x.double(), batch.basis)
        best = predictions(a, batch.y, self.noise)
        out = best.new_zeros(len(batch), self.interface.n_ctx, 1)
        out[:, list(self.interface.read_positions), 0] = best[:, list(self.contexts)]
        return out

    def floor(self) -> Level:
        """Expected loss of `answer`: closed where it is, else the mean posterior variance over drawn
        designs."""
        self.require_posterior()
        return _floor(self.model_dump_json())

    def chance(self) -> Level:
        """The zero predictor, which scores 1 (every label law here is symmetric about 0)."""
        one = torch.ones(len(self.contexts))
        return Level(one, torch.zeros_like(one), "the zero predictor: E y² over the label variance")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """Clean and corrupt prompts; `tasks.regression_pairs` says what each kind changes."""
        if kind not in PAIR_KINDS:
            return super().pair(kind, seed, stream, step, batch)
        draws = self._draws(generator(seed, stream, step), batch)
        gen = generator(seed, f"{stream}/{kind}", step)
        twin, x_changed, y_changed = corrupted(kind, draws, self._draws(gen, batch, draws.basis), gen)
        first, second = self._label(draws), self._label(twin)
        # fresh draws can coincide in float32: x of almost no length gives the same noisy label under any w
        differs = (first.inputs != second.inputs).any(dim=-1)
        return Pair(kind, first, second, self._changed(x_changed, y_changed) & differs)

    def _changed(
        self, x_changed: Bool[Tensor, "batch n_x"], y_changed: Bool[Tensor, "batch n_x"]
    ) -> Bool[Tensor, "batch pos"]:
        """Token mask of changed inputs and changed shown labels."""
        y_changed = y_changed.clone()
        y_changed[:, -1] = False
        if self.layout == "merged":
            return x_changed | y_changed
        changed = torch.zeros(len(x_changed), 2 * self.n + 1, dtype=torch.bool)
        changed[:, 0::2] = x_changed
        changed[:, 1::2] = y_changed[:, :-1]
        return changed

    def relations(self, batch: RegressionBatch) -> tuple[Relation, ...]:
        """Pairing, query -> examples, and the previous token."""
        size = len(batch)
        last = self.interface.n_ctx - 1
        examples = torch.arange(self.n)
        step = 1 if self.layout == "merged" else 2
        query = torch.full((self.n,), last)
        found = [("previous token", torch.arange(1, last + 1), torch.arange(last))]
        if self.layout == "merged":
            found += [("query -> examples", query, examples)]
        else:
            found += [("y_i -> x_i", examples * step + 1, examples * step)]
            found += [("query -> x", query, examples * step), ("query -> y", query, examples * step + 1)]
            found += [("x -> earlier x", *_earlier(self.n, 0)), ("x -> earlier y", *_earlier(self.n, 1))]
        return tuple(Relation(name, d.expand(size, -1), s.expand(size, -1)) for name, d, s in found)

    def labels(self, batch: RegressionBatch) -> list[list[str]]:
        if self.layout == "merged":
            names = [f"x{i + 1},y{i + 1}" for i in range(self.n)] + [f"x{self.n + 1},_"]
        else:
            names = [f"{'xy'[p % 2]}{p // 2 + 1}" for p in range(2 * self.n + 1)]
        return [list(names) for _ in range(len(batch))]


def _earlier(n: int, offset: int) -> tuple[Tensor, Tensor]:
    """Positions of (x_t, token `offset` after x_s) for every s < t of an interleaved prompt."""
    later, before = torch.tril_indices(n + 1, n + 1, -1)
    return 2 * later, 2 * before + offset


@functools.lru_cache(maxsize=64)
def _floor(settings: str) -> Level:
    """Posterior variance of the query's label after each context length, over the label variance.

    Closed at t = 0 (1), and without noise at t >= d (0) and, when the whitened inputs are isotropic, in
    between: (d - t)/d, since the part of the query outside the span of t exchangeable directions keeps that
    share of its squared length. Elsewhere the mean of tr(S P_t) over drawn designs, S the query's covariance:
    the query is averaged out exactly, so only the design is sampled.
    """
    task = InContextRegression.model_validate_json(settings)
    t = torch.tensor(task.contexts, dtype=torch.float64)
    closed = task.noise == 0 and (task.isotropic or task.prior == "inverse-covariance")
    if closed:
        return Level((1 - t / task.d).clamp(min=0), torch.zeros_like(t), "(d - t)/d, 0 from t = d on")
    value, se = _design_mean(task)
    exact = (t == 0) | ((t >= task.d) & (task.noise == 0))
    known = (t == 0).double()
    source = "posterior variance, Monte Carlo over designs (t = 0, and t >= d without noise, exact)"
    return Level(torch.where(exact, known, value), torch.where(exact, torch.zeros_like(se), se), source)


def _design_mean(task: InContextRegression) -> tuple[Float[Tensor, "read"], Float[Tensor, "read"]]:
    """Mean and standard error of the posterior variance at each context length, in label variances.

    The posterior variance is the same in every eigenbasis the prior is invariant to, so the coordinates
    serve.
    """
    plain = task.model_copy(update={"basis": "none"})
    prompts = max(16, min(FLOOR_PROMPTS, FLOOR_ELEMENTS // (task.d * (task.d + task.n))))
    if prompts * task.n * task.d**2 > FLOOR_WORK:
        raise UserError(
            f"the floor at d = {task.d}, n = {task.n} is too costly to sample: make d or n smaller"
        )
    identity = torch.eye(task.d)[None].expand(prompts, -1, -1)
    x = plain.draw_x(generator(0, "floor", 0), identity, task.n)
    a = plain._whiten(x.double(), identity)
    query = torch.tensor(task.covariance_eigenvalues, dtype=torch.float64).sqrt().diag_embed()[None]
    weights = (plain._whiten(query, torch.eye(task.d)[None])[0] ** 2).sum(0)
    rows = [
        (cov.diagonal(dim1=-2, dim2=-1) * weights).sum(-1)
        for _, cov in posterior(a, a[..., 0] * 0, task.noise)
    ]
    variance = (torch.stack([rows[t] for t in task.contexts], 1) + task.noise**2) / task.label_variance
    return variance.mean(0), variance.std(0) / prompts**0.5
