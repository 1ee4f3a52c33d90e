"""What matching, contrast and filters ask of a regression run's prompts: their splits, probe queries and rivals.

Owns the containers that `interp.readouts.algorithms` fills; no figure is made here.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from probes.rivals import Ladder
from tasks.regression import RegressionBatch


@dataclasses.dataclass(frozen=True)
class Rivals:
    """What every model is compared with on these prompts: ladders, and predictions on the test prompts.

    `at` holds predictions by split at the one context of the contrast, with labels and least squares beside them;
    `random_w` the same for labels of other prompts' weight vectors (None without weight vectors). `weights` are those
    of the prompts whose induced weights are taken, at every output position that has examples.
    """

    ladders: tuple[Ladder, ...]
    predictions: dict[str, Float[Tensor, "step prompt output"]]
    answers: Float[Tensor, "prompt output"]
    at: dict[str, dict[str, Tensor]]
    random_w: dict[str, dict[str, Tensor]] | None
    weights: dict[str, Float[Tensor, "step few context d"]]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Prompts, probe queries, and what every layer's readout answers at them."""

    x: Float[Tensor, "prompt point d"]
    y: Float[Tensor, "prompt label"]
    basis: Float[Tensor, "prompt d d"]
    queries: Float[Tensor, "prompt query d"]
    outputs: Float[Tensor, "layer prompt query"]


@dataclasses.dataclass
class Split:
    """Prompts of one split, and activations at the context of the contrast."""

    batches: list[RegressionBatch] = dataclasses.field(default_factory=list)
    activations: dict[str, list[Tensor]] = dataclasses.field(default_factory=dict)

    def x(self) -> Tensor:
        return torch.cat([batch.x for batch in self.batches])

    def y(self) -> Tensor:
        return torch.cat([batch.y for batch in self.batches]).double()

    def basis(self) -> Tensor:
        return torch.cat([batch.basis for batch in self.batches])

    def other(self) -> Tensor:
        """Labels that the next prompt's weight vector gives to these x."""
        w = torch.cat([batch.w for batch in self.batches]).double().roll(1, 0)
        return torch.einsum("pnd,pd->pn", self.x().double(), w).nan_to_num()
