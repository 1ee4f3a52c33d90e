"""The raw draws behind regression prompts, and the corrupt prompt of each pair: what changes, and nothing else.

replace-w       same x and noise, a fresh function: every shown label differs
swap-example    one labelled example, drawn per prompt, replaced by a fresh one under the same function
replace-query   the last x replaced by a fresh one: only the query token differs
negate-w        every label with its sign turned (function and noise): the Bayes answer turns its sign too
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PAIR_KINDS = ("replace-w", "swap-example", "replace-query", "negate-w")


@dataclasses.dataclass(frozen=True)
class RegressionDraws:
    """Everything random about a batch: inputs, their eigenbasis, the function (`tasks.targets`), the label
    noise."""

    x: Float[Tensor, "batch n_x d"]
    basis: Float[Tensor, "batch d d"]
    rows: Float[Tensor, "batch unit d"]
    outer: Float[Tensor, "batch unit"]
    noise: Float[Tensor, "batch n_x"]


def corrupted(
    kind: str, clean: RegressionDraws, fresh: RegressionDraws, gen: torch.Generator
) -> tuple[RegressionDraws, Bool[Tensor, "batch n_x"], Bool[Tensor, "batch n_x"]]:
    """The corrupt draws, and which inputs and which labels they change. `fresh` shares the eigenbasis of
    `clean`."""
    batch, n_x = clean.noise.shape
    none = torch.zeros(batch, n_x, dtype=torch.bool)
    if kind == "replace-w":
        return dataclasses.replace(clean, rows=fresh.rows, outer=fresh.outer), none, ~none
    if kind == "negate-w":
        return dataclasses.replace(clean, outer=-clean.outer, noise=-clean.noise), none, ~none
    if kind == "replace-query":
        at = torch.full((batch, 1), n_x - 1)
    else:
        at = torch.randint(n_x - 1, (batch, 1), generator=gen)
    swapped = none.scatter(1, at, True)
    x = torch.where(swapped[..., None], fresh.x, clean.x)
    noise = torch.where(swapped, fresh.noise, clean.noise)
    return dataclasses.replace(clean, x=x, noise=noise), swapped, swapped
