"""Readout targets of a regression prompt: what a layer might hold at each x, by name.

Owns: the label, chosen iterates' predictions, the weight vector behind the labels, X'y / t and the spectrum
of X'X / t of the t examples seen so far. Shape `[prompt, read, target]`, with one name a target ("w 0", "X'y
3", "eigenvalue 0").
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems


def regression_targets(
    x: Float[Tensor, "prompt point d"],
    y: Float[Tensor, "prompt point"],
    w: Float[Tensor, "prompt d"],
    contexts: tuple[int, ...],
    iterates: tuple[Algorithm, ...] = (),
) -> tuple[list[str], Float[Tensor, "prompt output target"]]:
    """Names and values of every target, read at x[:, t] for each context t.

    With no examples X'y and the spectrum are 0. Raises UserError as `Problems.of` does.
    """
    problems = Problems.of(x, y, contexts)
    d, reads = x.shape[-1], len(contexts)
    count = torch.tensor(contexts, dtype=torch.float64).clamp_min(1)[:, None]
    products = (problems.basis @ problems.projected[..., None])[..., 0] / count
    parts = [
        y[:, list(contexts), None].double(),
        algorithms.predictions(problems, iterates).permute(1, 2, 0),
        w.double()[:, None, :].expand(-1, reads, -1),
        products,
        problems.eigenvalues / count,
    ]
    vectors = [f"{name} {i}" for name in ("w", "X'y", "eigenvalue") for i in range(d)]
    return ["label", *(a.label for a in iterates), *vectors], torch.cat(parts, -1)
