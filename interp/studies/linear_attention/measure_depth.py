"""Deeper linear transformers brought to a minimum under the averaged loss, beside the floor of as many descent steps.

In float64; w and the query are integrated out. By L-BFGS on fixed covariates (`deep_fit`), or by Adam on fresh ones
(`descended`): where GD++ has several basins, L-BFGS takes the first that it meets, and so does Adam at small rates. A
floor is that of scalar steps, an upper bound on the minimum over matrices. Also here: the layer-by-layer identity of
Lemma 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from interp.config.model_linear import LinearConfig
from interp.landscape.curvature import Objective
from interp.models import linear_gram
from interp.models.linear import LinearTransformer
from interp.models.linear_weights import distance_to_identity, read_model, whitened
from interp.studies import linear_nets as nets
from interp.studies.linear_attention import theory as linear_depth
from tasks.regression import InContextRegression
from tasks.streams import generator

Start = Literal["random", "scalar"]
RISK_PROMPTS = (
    20_000  # on fewer, the two best basins of three GD++ layers change places from sample to sample
)


@dataclass(frozen=True)
class Deep:
    """The best of several starts: its model, its loss and the scalar floor's on the same fresh prompts.
    `reached`: the loss of every start over that floor; `far`: of every start, the largest distance to the identity of a
    matrix that the last layer's label slot depends on (A whitened; B of all layers but the last).
    """

    model: LinearTransformer
    loss: float
    reference: float
    optimum: linear_depth.DepthOptimum
    covariance: Float[Tensor, "d d"]
    reached: tuple[float, ...]
    far: tuple[float, ...]

    @property
    def flattening(self) -> list[float]:
        """tr B over d of all layers but the last, whose covariates nobody reads."""
        return [float(torch.trace(layer.B.detach())) / len(layer.B) for layer in self.model.layers[:-1]]

    @property
    def steps(self) -> list[float]:
        """tr of the whitened preconditioners over d, layer by layer."""
        found = [whitened(r.preconditioner, self.covariance) for r in read_model(self.model)]
        return [float(torch.trace(A)) / len(A) for A in found]

    def distances(self, white: bool) -> list[float]:
        """Distance of each layer's preconditioner to the identity, whitened or as it stands."""
        found = [r.preconditioner for r in read_model(self.model)]
        return [distance_to_identity(whitened(A, self.covariance) if white else A) for A in found]


def blocks(named: dict[str, Tensor], layers: int, flatten: bool) -> list[tuple[Tensor | None, Tensor]]:
    """(B, A) of every layer out of named weights; B is None (0) without `flatten`."""
    return [
        (named[f"blocks.{k}.attn.B"] if flatten else None, named[f"blocks.{k}.attn.A"]) for k in range(layers)
    ]


def started(
    task: InContextRegression, layers: int, flatten: bool, seed: int, start: Start, fixed_b: bool = False
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
    start: Start = "random",
) -> Deep:
    """Starts of matrices (one a seed) brought to a minimum by L-BFGS on the averaged loss of fixed covariates.

    `fixed_b` holds B at 0 in a net that has one: what refitting the preconditioners alone can win back. The floor is
    then that of descent.
    """
    distribution = nets.distribution_of(task)
    x = task.sample(seeds[0], "deep", 0, 2 * prompts).double().x[:, :-1]
    models = [started(task, layers, flatten, seed, start, fixed_b) for seed in seeds]
    for model in models:
        objective = Objective(model, task, task.sample(0, "unused", 0, 1).double())

        def loss(w: Tensor, x: Tensor = x[:prompts], objective: Objective = objective) -> Tensor:
            pairs = blocks(objective.named(w), layers, flatten and not fixed_b)
            return (
                linear_gram.averaged_loss(x, pairs, distribution.prior, distribution.covariance).mean().log()
            )

        nets.minimised(model, loss, objective, evaluations=600)
    return _against_reference(task, models, flatten and not fixed_b, x[:prompts], x[prompts:])


def descended(
    task: InContextRegression,
    layers: int,
    groups: Sequence[Sequence[int]],
    prompts: int,
    *,
    rate: float,
    steps: int = 2000,
    batch: int = 128,
) -> list[Deep]:
    """GD++ nets from small random starts (one a number, each on its own data) by Adam on the log of the averaged
    loss, `batch` fresh prompts a step, betas (.9, .9), the rate falling to 0 as a cosine.

    One `Deep` a group of starts. All ride on one leading axis: Adam treats every number by itself, so each goes its
    own way.
    """
    distribution, seeds = nets.distribution_of(task), [seed for group in groups for seed in group]
    models = [started(task, layers, True, seed, "random") for seed in seeds]
    named = [dict(model.named_parameters()) for model in models]
    stack = {name: torch.stack([part[name].detach() for part in named]).requires_grad_() for name in named[0]}
    adam = torch.optim.Adam(stack.values(), rate, (0.9, 0.9))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    each = vmap(
        lambda own, x: linear_gram.averaged_loss(
            x, blocks(own, layers, True), distribution.prior, distribution.covariance
        )
    )
    for step in range(steps):
        x = torch.stack([task.sample(seed, "descent", step, batch).x[:, :-1] for seed in seeds]).double()
        adam.zero_grad()
        each(stack, x).mean(1).log().sum().backward()
        adam.step()
        falling.step()
    for k, model in enumerate(models):
        model.load_state_dict({name: value.detach()[k] for name, value in stack.items()}, strict=False)
    own, found = iter(models), []
    for group in groups:
        fresh = task.sample(group[0], "deep", 0, 2 * prompts).double().x[prompts:, :-1]
        reference = task.sample(group[0], "floor", 0, RISK_PROMPTS).double().x[:, :-1]
        found.append(_against_reference(task, [next(own) for _ in group], True, reference, fresh))
    return found


@torch.no_grad()
def _loss_on(model: LinearTransformer, task: InContextRegression, x: Float[Tensor, "batch n d"]) -> float:
    distribution = nets.distribution_of(task)
    return float(model.averaged_loss(x, distribution.prior, distribution.covariance).mean())


def _against_reference(
    task: InContextRegression,
    models: Sequence[LinearTransformer],
    flatten: bool,
    fitted: Float[Tensor, "fitted n d"],
    fresh: Float[Tensor, "batch n d"],
) -> Deep:
    """Losses of the nets and of the scalar optimum (found on `fitted`) on fresh prompts, whitened where the law is not
    isotropic.
    """
    S = nets.distribution_of(task).covariance
    values, U = torch.linalg.eigh(S)
    white = U @ torch.diag(values.rsqrt()) @ U.T
    optimum = linear_depth.depth_optimum(fitted @ white, models[0].config.n_layers, flatten)
    parts = torch.tensor(optimum.steps), torch.tensor(optimum.flattening)
    reference = float(linear_depth.depth_loss(linear_depth.spectra(fresh @ white), *parts).mean())
    losses = [_loss_on(model, task, fresh) for model in models]
    best = min(range(len(models)), key=losses.__getitem__)
    return Deep(
        models[best], losses[best], reference, optimum, S, tuple(loss / reference for loss in losses),
        tuple(_farthest(model, S, flatten) for model in models),
    )  # fmt: skip


@torch.no_grad()
def _farthest(model: LinearTransformer, covariance: Float[Tensor, "d d"], flatten: bool) -> float:
    """Largest distance to the identity among whitened A and, in GD++, the B that matter."""
    A = [whitened(r.preconditioner, covariance) for r in read_model(model)]
    B = [layer.B for layer in model.layers[:-1]] if flatten else []
    return max(distance_to_identity(matrix) for matrix in (*A, *B))


@torch.no_grad()
def without_flattening(deep: Deep, task: InContextRegression, prompts: int, seed: int) -> float:
    """Loss of a GD++ net after its B are set to 0, over its loss before, on fresh prompts."""
    x = task.sample(seed, "ablation", 0, prompts).double().x[:, :-1]
    distribution = nets.distribution_of(task)
    pairs = blocks(dict(deep.model.named_parameters()), deep.model.config.n_layers, flatten=False)
    after = linear_gram.averaged_loss(x, pairs, distribution.prior, distribution.covariance).mean()
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
