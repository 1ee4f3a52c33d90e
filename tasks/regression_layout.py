"""Regression prompts as tokens, interleaved (x_1, y_1, ..., x_n+1) or merged (one token per example)."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tasks.base import Batch, Interface


@dataclasses.dataclass(frozen=True)
class RegressionBatch(Batch):
    """Prompts with their ground truth.

    `y` holds every label, noise included; `clean` the same without noise. `w` is the weight vector of a
    linear target, the cubed one of a cubic target, NaN for a net. `basis` holds the eigenvectors of the
    x-covariance as columns.
    """

    x: Float[Tensor, "batch n_x d"]
    y: Float[Tensor, "batch n_x"]
    clean: Float[Tensor, "batch n_x"]
    w: Float[Tensor, "batch d"]
    basis: Float[Tensor, "batch d d"]


def interface_of(n: int, d: int, merged: bool) -> Interface:
    """What a model must accept for `n` examples in `d` dimensions and a query."""
    if merged:
        return Interface(inputs="continuous", n_ctx=n + 1, d_in=d + 1, d_out=1, output_positions=(n,))
    n_ctx = 2 * n + 1
    return Interface(
        inputs="continuous",
        n_ctx=n_ctx,
        d_in=d,
        d_out=1,
        token_types=tuple(p % 2 for p in range(n_ctx)),
        output_positions=tuple(range(0, n_ctx, 2)),
    )


def tokens(
    x: Float[Tensor, "batch n_x d"], y: Float[Tensor, "batch n_x"], merged: bool
) -> tuple[Float[Tensor, "batch pos d_in"], Float[Tensor, "batch output"]]:
    """Inputs and targets in a layout; the query's label is shown nowhere."""
    if merged:
        shown = torch.cat([y[:, :-1], torch.zeros_like(y[:, -1:])], dim=1)
        return torch.cat([x, shown[:, :, None]], dim=-1), y[:, -1:]
    inputs = x.new_zeros(len(x), 2 * x.shape[1] - 1, x.shape[2])
    inputs[:, 0::2] = x
    inputs[:, 1::2, 0] = y[:, :-1]
    return inputs, y


def changed_tokens(
    x_changed: Bool[Tensor, "batch n_x"], y_changed: Bool[Tensor, "batch n_x"], merged: bool
) -> Bool[Tensor, "batch pos"]:
    """Token mask of changed inputs and changed shown labels."""
    y_changed = y_changed.clone()
    y_changed[:, -1] = False
    if merged:
        return x_changed | y_changed
    changed = torch.zeros(len(x_changed), 2 * x_changed.shape[1] - 1, dtype=torch.bool)
    changed[:, 0::2] = x_changed
    changed[:, 1::2] = y_changed[:, :-1]
    return changed


def at_outputs(
    interface: Interface, contexts: tuple[int, ...], best: Float[Tensor, "batch n_x"]
) -> Float[Tensor, "batch pos 1"]:
    """Predictions after each number of examples, in the shape of a model's outputs."""
    out = best.new_zeros(len(best), interface.n_ctx, 1)
    out[:, list(interface.output_positions), 0] = best[:, list(contexts)]
    return out
