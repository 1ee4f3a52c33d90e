"""Deeper linear transformers brought to a minimum under the averaged loss, beside the floor of as many descent steps.

In float64, by L-BFGS on fixed covariates; w and the query are integrated out. A floor is that of scalar steps, an
upper bound on the minimum over matrices. Also here: the layer-by-layer identity of Lemma 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.develop.curvature import Objective
from interp.models import linear_gram
from interp.models.linear import LinearTransformer
from interp.models.linear_config import LinearConfig
from interp.models.linear_weights import distance_to_identity, read_model, whitened
from interp.studies import linear_nets as nets
from tasks.base import generator
from tasks.regression import InContextRegression
from tasks.theory import linear_depth

Start = Literal["random", "scalar"]


@dataclass(frozen=True)
class Deep:
    """A deep net brought to a minimum: its model, its loss and the scalar floor's on the same fresh
    prompts; `starts`: where every start ended, over the floor of the prompts it was fitted on.
    """

    model: LinearTransformer
    loss: float
    floor: float
    optimum: linear_depth.DepthOptimum
    covariance: Float[Tensor, "d d"]
    starts: dict[Start, list[float]]

    @property
    def steps(self) -> list[float]:
        """tr of the whitened preconditioners over d, layer by layer."""
        found = [whitened(r.preconditioner, self.covariance) for r in read_model(self.model)]
        return [float(torch.trace(A)) / len(A) for A in found]

    def distances(self, white: bool) -> list[float]:
        """Distance of each layer's preconditioner to the identity, whitened or as it stands."""
        found = [r.preconditioner for r in read_model(self.model)]
        return [distance_to_identity(whitened(A, self.covariance) if white else A) for A in found]


def blocks(named: dict[str, Tensor], layers: int, flatten: bool) -> list[tuple[Tensor, Tensor]]:
    """(B, A) of every layer out of named weights; B is 0 in family "gd"."""
    A = [named[f"blocks.{k}.attn.A"] for k in range(layers)]
    B = [named[f"blocks.{k}.attn.B"] if flatten else torch.zeros_like(A[k]) for k in range(layers)]
    return list(zip(B, A, strict=True))


def started(
    task: InContextRegression, layers: int, flatten: bool, seed: int, start: Start, fixed_b: bool
) -> LinearTransformer:
    """A net in float64 to start from: matrices of standard deviation .05 (the authors'), around 0 ("random") or
    around multiples of the identity drawn for each layer, A by exp N(0, 1), B by U(0, 1) ("scalar").

    `fixed_b` holds B at 0 in a net that has one.
    """
    config = LinearConfig(n_layers=layers, family="gd++" if flatten else "gd", init_std=0.05, dtype="float64")
    model = LinearTransformer(config, task.interface, seed)
    gen = generator(seed, "scalar start", 0)
    for layer in model.layers:
        size, flattening = torch.randn(1, generator=gen).exp().item(), torch.rand(1, generator=gen).item()
        with torch.no_grad():
            if start == "scalar":
                layer.A.sub_(size * torch.eye(task.d, dtype=torch.float64))
            if flatten and start == "scalar":
                layer.B.add_(flattening * torch.eye(task.d, dtype=torch.float64))
            if fixed_b:
                layer.B.zero_()
    return model


def deep_fit(
    task: InContextRegression,
    layers: int,
    flatten: bool,
    seeds: Sequence[int],
    prompts: int,
    fixed_b: bool = False,
    kinds: Sequence[Start] = ("random",),
) -> Deep:
    """The best of several starts of matrices under the averaged loss on fixed covariates, in float64 by
    L-BFGS; one start a seed and kind.

    `fixed_b` holds B at 0 in a net that has one: what refitting the preconditioners alone can win back.
    """
    law = nets.law_of(task)
    x = task.sample(seeds[0], "deep", 0, 2 * prompts).double().x[:, :-1]
    fitted, fresh = x[:prompts], x[prompts:]
    ends: dict[Start, list[float]] = {kind: [] for kind in kinds}
    best: tuple[float, LinearTransformer] | None = None
    for kind, seed in itertools.product(kinds, seeds):
        model = started(task, layers, flatten, seed, kind, fixed_b)
        objective = Objective(model, task, task.sample(0, "unused", 0, 1).double())

        def loss(w: Tensor, x: Tensor = fitted, objective: Objective = objective) -> Tensor:
            pairs = blocks(objective.named(w), layers, flatten and not fixed_b)
            return linear_gram.averaged_loss(x, pairs, law.prior, law.covariance).mean().log()

        nets.minimised(model, loss, objective, evaluations=600)
        end = float(loss(objective.weights))
        ends[kind].append(math.exp(end))
        if best is None or end < best[0]:
            best = (end, model)
    assert best is not None
    return _beside_floor(task, best[1], layers, flatten, fitted, fresh, ends)


@torch.no_grad()
def _loss_on(model: LinearTransformer, task: InContextRegression, x: Float[Tensor, "batch n d"]) -> float:
    law = nets.law_of(task)
    return float(model.averaged_loss(x, law.prior, law.covariance).mean())


def _beside_floor(
    task: InContextRegression,
    model: LinearTransformer,
    layers: int,
    flatten: bool,
    fitted: Float[Tensor, "batch n d"],
    fresh: Float[Tensor, "batch n d"],
    ends: dict[Start, list[float]],
) -> Deep:
    """The net's loss and the scalar optimum's, both on fresh prompts, whitened where the law is not
    isotropic.
    """
    S = nets.law_of(task).covariance
    values, U = torch.linalg.eigh(S)
    white = U @ torch.diag(values.rsqrt()) @ U.T
    optimum = linear_depth.depth_optimum(fitted @ white, layers, flatten)
    lam = linear_depth.spectra(fresh @ white)
    parts = torch.tensor(optimum.steps), torch.tensor(optimum.flattening)
    floor = float(linear_depth.depth_loss(lam, *parts).mean())
    starts: dict[Start, list[float]] = {
        kind: [end / optimum.loss for end in found] for kind, found in ends.items()
    }
    return Deep(model, _loss_on(model, task, fresh), floor, optimum, S, starts)


@torch.no_grad()
def without_flattening(deep: Deep, task: InContextRegression, prompts: int, seed: int) -> float:
    """Loss of a GD++ net after its B are set to 0, over its loss before, on fresh prompts."""
    x = task.sample(seed, "ablation", 0, prompts).double().x[:, :-1]
    law = nets.law_of(task)
    pairs = blocks(dict(deep.model.named_parameters()), deep.model.config.n_layers, flatten=False)
    after = linear_gram.averaged_loss(x, pairs, law.prior, law.covariance).mean()
    return float(after) / _loss_on(deep.model, task, x)


def lemma_error(dtype: str, seed: int) -> float:
    """Largest difference between each layer's read-out and explicit preconditioned descent, random A, with
    hooks.
    """
    task, kind = InContextRegression(d=5, n=20, layout="merged"), getattr(torch, dtype)
    config = LinearConfig.model_validate({"n_layers": 3, "family": "gd", "init_std": 0.15, "dtype": dtype})
    model = LinearTransformer(config, task.interface, seed)
    batch = task.sample(seed, "lemma", 0, 256)
    x, y = batch.x.to(kind), batch.y.to(kind)
    _, cache = model.run_with_cache(batch.inputs.to(kind))
    plain = model(batch.inputs.to(kind))[:, -1, 0]
    w, worst = torch.zeros_like(x[:, 0]), 0.0
    for layer, reading in enumerate(read_model(model)):
        left = torch.einsum("bnd,bd->bn", x[:, :-1], w) - y[:, :-1]
        w = w - torch.einsum("bn,bnd->bd", left, x[:, :-1]) / task.n @ reading.preconditioner.to(kind)
        read = -cache[f"blocks.{layer}.hook_resid_post"][:, -1, -1]
        worst = max(worst, float((read - (w * x[:, -1]).sum(-1)).abs().max()))
    return max(worst, float((plain - (w * x[:, -1]).sum(-1)).detach().abs().max()))
