"""Several small models trained at once, as one model with a leading axis.

For nets so small that a step's time is overhead: seeds and learning rates are stacked along one axis. Each
member gets exactly the data, initialisation, clipping and updates that `interp.train` would give it alone,
so that a member equals its single run to rounding (Adam, AdamW, SGD with momentum, sign descent, weight decay
as torch has it; the schedule of rates is `schedule.rate`). Nothing is written to disk. Where stacking is not
faster (`interp.train.stacked_pace` measures it), train the members one by one; the sweep always does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from interp.config.run import RunConfig
from interp.config.schedule import rate
from interp.config.train import TrainConfig
from interp.models import build_model
from tasks import Batch, UserError

Weights = dict[str, Tensor]
ADAM_EPS = 1e-8


def train_stack(
    configs: Sequence[RunConfig],
    observe: Callable[[int, Weights, Float[Tensor, " member"]], None] | None = None,
) -> Weights:
    """Final weights of every run, stacked along a first axis in the order of `configs`.

    `observe(step, weights, losses)` is called with the weights before each update, and after the last one
    (then with the loss of the next batch). Raises UserError when the runs differ in more than seeds and rates.
    """
    _check(configs)
    first = configs[0]
    model = build_model(first.model, first.task.interface, first.init_seed)
    weights = _stack([dict(_own(c).named_parameters()) for c in configs])
    update = _UPDATES[first.train.optimiser](weights, first.train)
    rates = torch.tensor([c.train.lr for c in configs], dtype=next(iter(weights.values())).dtype)

    def loss(parameters: Weights, batch: dict[str, Tensor]) -> Tensor:
        prompts = type(sample)(**batch)
        return first.task.loss(functional_call(model, parameters, (prompts.inputs,)), prompts).mean()

    both = vmap(grad_and_value(loss))
    sample = _batch(first, 0)
    for step in range(first.train.steps + 1):
        batches = _stack([vars(_batch(c, step)) for c in configs])
        slopes, losses = both(weights, batches)
        if observe:
            observe(step, weights, losses)
        if step < first.train.steps:
            weights = update(weights, _clipped(slopes, first.train.clip), rates * rate(first.train, step))
    return weights


def member(weights: Weights, index: int) -> Weights:
    """The weights of one run out of the stack."""
    return {name: value[index] for name, value in weights.items()}


def _check(configs: Sequence[RunConfig]) -> None:
    if not configs:
        raise UserError("a stack needs at least one run")
    plain = [c.model_copy(update={"seed": 0, "init_seed": 0, "data_seed": 0}) for c in configs]
    rateless = [
        c.model_copy(update={"train": c.train.model_copy(update={"lr": 1.0})}).settings for c in plain
    ]
    if any(settings != rateless[0] for settings in rateless):
        raise UserError("runs of one stack may differ in their seeds and learning rates only")
    if configs[0].train.clamps:
        raise UserError("a stack trains without clamps; train these runs one by one")
    if configs[0].train.optimiser not in _UPDATES:
        raise UserError(f"a stack trains with {', '.join(sorted(_UPDATES))}; train these runs one by one")


def _own(config: RunConfig) -> torch.nn.Module:
    return build_model(config.model, config.task.interface, config.init_seed)


def _batch(config: RunConfig, step: int) -> Batch:
    batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
    return batch.double() if config.model.dtype == "float64" else batch


def _stack(parts: Sequence[dict[str, Tensor]]) -> Weights:
    return {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}


def _clipped(slopes: Weights, limit: float) -> Weights:
    """Each member's gradient scaled to a global norm of at most `limit` (0: left alone), as torch does it."""
    if not limit:
        return slopes
    norms = torch.stack([s.flatten(1).norm(dim=1) for s in slopes.values()]).norm(dim=0)
    share = (limit / (norms + 1e-6)).clamp(max=1.0)
    return {name: s * _wide(share, s) for name, s in slopes.items()}


def _wide(values: Float[Tensor, " member"], like: Tensor) -> Tensor:
    return values.view(-1, *([1] * (like.ndim - 1)))


Update = Callable[[Weights, Weights, Float[Tensor, " member"]], Weights]


def _adam(weights: Weights, train: TrainConfig) -> Update:
    """Adam; its weight decay is part of the slope."""
    rule = _moments(weights, train)

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        return rule(weights, _with_decay(weights, slopes, train.weight_decay), rates)

    return update


def _adamw(weights: Weights, train: TrainConfig) -> Update:
    """Adam with decoupled decay: weights shrink by rate * weight_decay first (Loshchilov and Hutter, 1711.05101)."""
    rule = _moments(weights, train)

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        return rule(_shrunk(weights, rates, train.weight_decay), slopes, rates)

    return update


def _moments(weights: Weights, train: TrainConfig) -> Update:
    b1, b2 = train.betas
    mean = {name: torch.zeros_like(w) for name, w in weights.items()}
    square = {name: torch.zeros_like(w) for name, w in weights.items()}
    count = 0

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        nonlocal count
        count += 1
        new = {}
        for name, g in slopes.items():
            mean[name] = mean[name].lerp(g, 1 - b1)
            square[name] = b2 * square[name] + (1 - b2) * g * g
            size = square[name].sqrt() / (1 - b2**count) ** 0.5 + ADAM_EPS
            new[name] = weights[name] - _wide(rates, g) / (1 - b1**count) * mean[name] / size
        return new

    return update


def _sgd(weights: Weights, train: TrainConfig) -> Update:
    """SGD with momentum; its weight decay is part of the slope."""
    rule = _with_velocity(train, lambda v: v)

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        return rule(weights, _with_decay(weights, slopes, train.weight_decay), rates)

    return update


def _sign(weights: Weights, train: TrainConfig) -> Update:
    """Sign of the momentum; decay is decoupled, as in `optimisers.SignDescent`."""
    rule = _with_velocity(train, torch.sign)

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        return rule(_shrunk(weights, rates, train.weight_decay), slopes, rates)

    return update


def _with_decay(weights: Weights, slopes: Weights, decay: float) -> Weights:
    return {name: g + decay * weights[name] for name, g in slopes.items()} if decay else slopes


def _shrunk(weights: Weights, rates: Tensor, decay: float) -> Weights:
    return {name: w * (1 - _wide(rates, w) * decay) for name, w in weights.items()} if decay else weights


def _with_velocity(train: TrainConfig, shape: Callable[[Tensor], Tensor]) -> Update:
    velocity: Weights = {}

    def update(weights: Weights, slopes: Weights, rates: Tensor) -> Weights:
        new = {}
        for name, g in slopes.items():
            velocity[name] = train.momentum * velocity[name] + g if name in velocity else g
            new[name] = weights[name] - _wide(rates, g) * shape(velocity[name])
        return new

    return update


_UPDATES: dict[str, Callable[[Weights, TrainConfig], Update]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "sign": _sign,
}
