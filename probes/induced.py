"""Induced weights: the linear predictor a readout behaves as, measured with probe queries.

Owns: the least-squares weights behind outputs at many queries of one context, the prompts that ask them, and
the two checks without which they mean nothing: the share of the output that is not linear in the query, and
the share that is not additive in the labels. Both shares are of the output's mean square, 0 for a filter of S
applied to b; label noise does not count, noise of the readout does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes import stats
from probes.stats import Interval
from tasks.errors import UserError


@dataclasses.dataclass(frozen=True)
class Induced:
    """Weights of each prompt and the part of its outputs no weight vector explains (unbiased for the noise)."""

    weights: Float[Tensor, "prompt d"]
    residual: Float[Tensor, "prompt"]
    size: Float[Tensor, "prompt"]

    def nonlinear_share(self, draws: int = stats.DRAWS, seed: int = 0) -> Interval:
        """Mean square of the outputs not linear in the query, over their mean square; bootstrap of prompts."""
        return stats.ratio(self.residual, self.size, draws=draws, seed=seed).one()


def induced_weights(
    queries: Float[Tensor, "prompt query d"], outputs: Float[Tensor, "prompt query"]
) -> Induced:
    """Least squares of outputs on queries, prompt by prompt (2310.17086, section 3).

    Raises UserError unless there are more queries than dimensions and all values are finite.
    """
    count, d = queries.shape[1:]
    if count <= d:
        raise UserError(
            f"{count} probe queries cannot fix {d} induced weights and their error: use at least {d + 1}"
        )
    queries, outputs = queries.double(), outputs.double()
    if not bool(torch.isfinite(queries).all() and torch.isfinite(outputs).all()):
        raise UserError("probe queries or their outputs hold NaN or infinity")
    weights = torch.linalg.lstsq(queries, outputs[..., None]).solution[..., 0]
    left = outputs - (queries @ weights[..., None])[..., 0]
    return Induced(weights, left.square().sum(1) / (count - d), outputs.square().mean(1))


def probe_inputs(
    inputs: Float[Tensor, "prompt pos d_in"], position: int, queries: Float[Tensor, "prompt query d"]
) -> Float[Tensor, "prompt query pos d_in"]:
    """Each prompt once for every probe query, which replaces the x of one token; a label beside it stays.

    A causal model read at `position` sees nothing of the later tokens. Raises UserError for a position that
    does not exist or queries wider than a token.
    """
    _check_position(inputs, position)
    count, d = queries.shape[1:]
    if d > inputs.shape[-1]:
        raise UserError(f"queries of dimension {d} do not fit tokens of width {inputs.shape[-1]}")
    probed = inputs[:, None].repeat(1, count, 1, 1)
    probed[:, :, position, :d] = queries.to(inputs.dtype)
    return probed


def relabelled(
    inputs: Float[Tensor, "prompt pos d_in"],
    positions: Sequence[int],
    column: int,
    labels: Float[Tensor, "prompt n"],
) -> Float[Tensor, "prompt pos d_in"]:
    """The same prompts with other labels: `labels[:, i]` at token `positions[i]`, coordinate `column`.

    Interleaved prompts show y_i at token 2i + 1, column 0; merged ones at token i, last column (-1).
    """
    for position in positions:
        _check_position(inputs, position)
    if len(positions) > labels.shape[1]:
        raise UserError(f"{labels.shape[1]} labels a prompt for {len(positions)} label tokens")
    changed = inputs.clone()
    changed[:, list(positions), column] = labels[:, : len(positions)].to(inputs.dtype)
    return changed


def _check_position(inputs: Tensor, position: int) -> None:
    if not 0 <= position < inputs.shape[1]:
        raise UserError(
            f"position {position} is out of range: prompts have tokens 0 .. {inputs.shape[1] - 1}"
        )


def label_nonlinearity(
    first: Float[Tensor, "prompt query"],
    second: Float[Tensor, "prompt query"],
    both: Float[Tensor, "prompt query"],
    draws: int = stats.DRAWS,
    seed: int = 0,
) -> Interval:
    """Share of the output that superposition misses: outputs at labels y1, y2 and y1 + y2 of the same inputs.

    E (f(y1 + y2) - f(y1) - f(y2))^2 / E f(y1 + y2)^2; exactly 0 for every spectral filter, not for conjugate
    gradient.
    """
    missed = (both - first - second).double().square().mean(1)
    return stats.ratio(missed, both.double().square().mean(1), draws=draws, seed=seed).one()
