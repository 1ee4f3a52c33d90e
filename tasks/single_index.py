"""Sequence single-index regression: L isotropic Gaussian tokens, a teacher direction w*, labels y = g(X w*).

Tokens have entries N(0, 1/d) and |w*| = sqrt(d), so that the teacher's fields z* = X w* are N(0, 1) (Arnaboldi et al.,
arXiv 2506.02651, section 2). There is one output position, the last; its loss is the squared error summed over
outputs. The semantic overlap of a weight vector is m = w.w*/d; `encoding` holds the positional ones, e = P w.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from tasks.base import Batch, Interface, Level, Pair, Task, register
from tasks.errors import UserError
from tasks.links import parse_link, registered_in
from tasks.streams import generator
from tasks.theory.hermite import SAMPLES, Function, gauss_hermite, nodes_for
from tasks.theory.single_index import encoded_target, opposite, positional_semantic

TEACHER_AXIS, ENCODING_AXIS = 0, 1


class PositionalSemantic(BaseModel):
    """The target of eq. (18): (1 - omega) softmax(z* z*^T) + omega softmax([[a^2, -a^2], [-a^2, a^2]]), two tokens.

    `inside` puts the encoding into one softmax instead: see `tasks.theory.single_index.encoded_target`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    omega: float = Field(ge=0, le=1)
    a: float = Field(default=1.0, gt=0, le=1)
    inside: bool = False


@dataclasses.dataclass(frozen=True)
class SingleIndexBatch(Batch):
    """Prompts with the teacher's fields: `inputs` [batch, L, d], `targets` [batch, 1, k], `fields` [batch, L]."""

    fields: Float[Tensor, "batch L"]


def encoding(kind: Literal["none", "opposite"], length: int, d: int) -> Float[Tensor, "L d"]:
    """Positional encodings P: none, or opposite ones +p, -p, ... with p the second axis over sqrt(d).

    With them e_l = (P w)_l = +-w.p is in [-1, 1] on the sphere |w| = sqrt(d). Raises UserError for d < 2.
    """
    table = torch.zeros(length, d)
    if kind == "opposite":
        if d <= ENCODING_AXIS:
            raise UserError(f"opposite encodings need a second axis, so d of at least 2, got {d}")
        table[:, ENCODING_AXIS] = torch.as_tensor(opposite(length) / math.sqrt(d), dtype=table.dtype)
    return table


@register("single-index")
class SingleIndex(Task):
    """Learn y = g(X w*) + noise from independent prompts of `length` tokens in `d` dimensions.

    `link` is an expression (see `tasks.links`) or the positional/semantic target. `teacher` is "axis" (w* along the
    first axis, which students on the sphere cannot tell from any other) or "random" (by `teacher_seed`).
    """

    d: int = Field(default=100, ge=2, le=100_000)
    length: int = Field(default=2, ge=1, le=4096)
    link: str | PositionalSemantic = "sum(He2(z))/sqrt(2*L)"
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    teacher: Literal["axis", "random"] = "axis"
    teacher_seed: int = Field(default=0, ge=0)

    score_name: ClassVar[str] = "squared error"

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return ("last-token",)

    @model_validator(mode="after")
    def _consistent(self) -> SingleIndex:
        if isinstance(self.link, PositionalSemantic) and self.length != 2:
            raise ValueError(f"the positional/semantic target is stated for length 2, not {self.length}")
        _ = self.target
        return self

    @property
    def target(self) -> Function:
        """g: fields [..., L] to labels [...], or [..., 2, 2] for the positional/semantic target."""
        if isinstance(self.link, PositionalSemantic):
            made = encoded_target if self.link.inside else positional_semantic
            return made(self.link.omega, self.link.a)
        return parse_link(self.link, self.length)

    @property
    def outputs(self) -> int:
        """Numbers in a label."""
        return 4 if isinstance(self.link, PositionalSemantic) else 1

    @property
    def direction(self) -> Float[Tensor, " d"]:
        """w*, of norm sqrt(d)."""
        if self.teacher == "axis":
            axis = torch.zeros(self.d)
            axis[TEACHER_AXIS] = math.sqrt(self.d)
            return axis
        drawn = torch.randn(self.d, generator=generator(self.teacher_seed, "teacher", 0), dtype=torch.float64)
        return (drawn * math.sqrt(self.d) / drawn.norm()).float()

    def uses(self) -> tuple[Any, ...]:
        return registered_in(self.link) if isinstance(self.link, str) else ()

    @property
    def interface(self) -> Interface:
        return Interface(
            inputs="continuous",
            n_ctx=self.length,
            d_in=self.d,
            d_out=self.outputs,
            output_positions=(self.length - 1,),
        )

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("label",)

    def sample(self, seed: int, stream: str, step: int, batch: int) -> SingleIndexBatch:
        source = generator(seed, stream, step)
        x = torch.randn(batch, self.length, self.d, generator=source) / math.sqrt(self.d)
        labelled = self._labelled(x)
        if not self.noise:
            return labelled
        noise = self.noise * torch.randn(labelled.targets.shape, generator=source)
        return dataclasses.replace(labelled, targets=labelled.targets + noise)

    def _labelled(self, x: Float[Tensor, "batch L d"]) -> SingleIndexBatch:
        fields = x @ self.direction
        return SingleIndexBatch(inputs=x, targets=self._labels(fields), fields=fields)

    def _labels(self, fields: Float[Tensor, "batch L"]) -> Float[Tensor, "batch 1 k"]:
        labels = np.array(self.target(fields.double().numpy()), dtype=np.float32)
        return torch.from_numpy(labels.reshape(len(fields), 1, self.outputs))

    def loss(
        self, outputs: Float[Tensor, "batch pos k"], batch: SingleIndexBatch
    ) -> Float[Tensor, "batch 1"]:
        """Squared error summed over outputs, as in the paper (no factor 1/2)."""
        return (outputs[:, -1:] - batch.targets).square().sum(-1)

    def answer(self, batch: SingleIndexBatch) -> Float[Tensor, "batch pos k"]:
        """g(X w*) at the last position: the best prediction given w*."""
        out = torch.zeros(len(batch), self.length, self.outputs)
        out[:, -1:] = self._labels(batch.fields)
        return out

    def bayes_risk(self) -> Level:
        """noise^2 for each output."""
        value = torch.tensor([self.noise**2 * self.outputs])
        return Level(value, torch.zeros(1), "noise variance times outputs")

    def chance(self) -> Level:
        """The variance of the label: the loss of the best constant (quadrature, or Monte Carlo for many tokens)."""
        nodes = nodes_for(self.length, 6)
        if nodes is None:
            points, weights = np.random.default_rng(0).standard_normal((SAMPLES, self.length)), None
            method = f"label variance, Monte Carlo over {SAMPLES} draws"
        else:
            points, weights = gauss_hermite(self.length, nodes)
            method = f"label variance, Gauss-Hermite quadrature with {nodes} nodes an axis"
        value, error = _variance(np.asarray(self.target(points)).reshape(len(points), -1), weights)
        total = torch.tensor([value + self.noise**2 * self.outputs])
        return Level(total, torch.tensor([error]), method)

    @property
    def label_variance(self) -> float:
        """E (y - E y)^2 summed over outputs, noise included: the scale of the loss."""
        return float(self.chance().value)

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """Prompts that differ in their last token ("last-token"), labels following."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        clean = self.sample(seed, stream, step, batch)
        x = clean.inputs.clone()
        fresh = torch.randn(batch, self.d, generator=generator(seed, f"{stream}/corrupt", step))
        x[:, -1] = fresh / math.sqrt(self.d)
        changed: Bool[Tensor, "batch pos"] = torch.zeros(batch, self.length, dtype=torch.bool)
        changed[:, -1] = True
        corrupt = self._labelled(x)
        noise = clean.targets - self._labels(clean.fields)
        corrupt = dataclasses.replace(corrupt, targets=corrupt.targets + noise)
        return Pair("last-token", clean, corrupt, changed)

    def overlaps(self, weights: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
        """Semantic overlaps m = w.w*/d of weight vectors on the sphere, in [-1, 1]."""
        return weights @ self.direction.to(weights) / self.d


def _variance(labels: Float[ndarray, "n k"], weights: Float[ndarray, " n"] | None) -> tuple[float, float]:
    if weights is not None:
        centred = labels - weights @ labels
        return float(weights @ (centred**2).sum(-1)), 0.0
    squared = ((labels - labels.mean(0)) ** 2).sum(-1)
    return float(squared.mean()), float(squared.std() / math.sqrt(len(squared)))
