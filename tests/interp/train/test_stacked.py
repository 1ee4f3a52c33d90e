"""Stacked runs equal single ones, whatever the optimiser."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_linear import LinearConfig
from interp.config.run import RunConfig, configure
from interp.config.train import TrainConfig
from interp.models import build_model
from interp.train.optimisers import Optimisers
from interp.train.stacked import member, train_stack
from tasks.errors import UserError
from tasks.regression import InContextRegression

RULES = {
    "adam": {"lr": 0.02, "betas": (0.9, 0.9)},
    "adamw": {"lr": 0.02, "betas": (0.9, 0.9)},
    "sgd": {"lr": 0.02, "momentum": 0.9},
    "sign": {"lr": 0.001, "momentum": 0.9},
}


def run(seed: int, steps: int, dtype: str, optimiser: str, **train) -> RunConfig:
    settings = {"steps": steps, "batch": 32, "optimiser": optimiser, "clip": 0.2, **RULES[optimiser], **train}
    return RunConfig(
        task=InContextRegression(d=3, n=8, layout="merged"),
        model=LinearConfig(n_layers=2, dtype=dtype),
        train=TrainConfig(**settings),
        seed=seed,
    )


def alone(config: RunConfig) -> dict[str, torch.Tensor]:
    """The training loop's own updates, without its run folder."""
    model = build_model(config.model, config.task.interface, config.init_seed)
    optimisers = Optimisers(model, config.train)
    for step in range(config.train.steps):
        batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
        batch = batch.double() if config.model.dtype == "float64" else batch
        config.task.loss(model(batch.inputs), batch).mean().backward()
        optimisers.update(step)
    return {name: p.detach() for name, p in model.named_parameters()}


# Signs in float32 are left out: at a rounding error's distance from 0 they have no stable answer.
@pytest.mark.parametrize(
    ("optimiser", "dtype", "steps", "bound"),
    [
        ("adam", "float32", 50, 1e-5),
        ("sgd", "float32", 50, 1e-5),
        ("adam", "float64", 150, 1e-9),
        ("sgd", "float64", 150, 1e-9),
        ("sign", "float64", 60, 1e-9),
    ],
)
def test_a_member_is_its_single_run(optimiser: str, dtype: str, steps: int, bound: float) -> None:
    configs = [
        run(0, steps, dtype, optimiser),
        run(1, steps, dtype, optimiser, lr=RULES[optimiser]["lr"] / 2),
    ]
    stacked = train_stack(configs)
    for index, config in enumerate(configs):
        single = alone(config)
        for name, value in member(stacked, index).items():
            assert (value - single[name]).abs().max() < bound
            start = build_model(config.model, config.task.interface, config.init_seed).state_dict()[name]
            assert name == "blocks.1.attn.B" or not torch.allclose(single[name], start)


@pytest.mark.parametrize(("dtype", "steps", "bound"), [("float32", 50, 1e-5), ("float64", 60, 1e-9)])
def test_members_of_a_transformer_stack_are_their_single_runs(dtype: str, steps: int, bound: float) -> None:
    small = {
        "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8, "model.d_mlp": 8, "model.dtype": dtype,
        "train.steps": steps, "train.warmup": 5, "train.batch": 8, "train.optimiser": "adamw", "task.n": 4,
        "train.weight_decay": 0.01, "model.biases": False,
    }  # fmt: skip
    # No biases: a key's has no gradient but rounding, and Adam makes of that a step like any other.
    configs = [
        configure("regression", seed=s, changes={**small, "train.lr": lr}) for s, lr in ((0, 1e-3), (3, 2e-3))
    ]
    stacked = train_stack(configs)
    for index, config in enumerate(configs):
        for name, value in alone(config).items():
            assert (member(stacked, index)[name] - value).abs().max() < bound, name


def test_cosine_rates_are_followed() -> None:
    configs = [run(s, 40, "float64", "adam", decay="cosine", warmup=5) for s in (0, 1)]
    stacked = train_stack(configs)
    single = alone(configs[1])
    assert all((member(stacked, 1)[n] - v).abs().max() < 1e-10 for n, v in single.items())


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd", "sign"])
def test_weight_decay_is_that_of_the_single_run(optimiser: str) -> None:
    configs = [run(s, 40, "float64", optimiser, weight_decay=0.1) for s in (0, 1)]
    undecayed = alone(run(1, 40, "float64", optimiser))
    stacked, single = member(train_stack(configs), 1), alone(configs[1])
    for name, value in single.items():
        assert (stacked[name] - value).abs().max() < 1e-9
    assert max((undecayed[n] - v).abs().max() for n, v in single.items()) > 1e-4


def test_observed_losses_are_the_batches_own() -> None:
    configs = [run(s, 3, "float64", "adam") for s in (0, 1)]
    seen = []
    train_stack(configs, lambda step, weights, losses: seen.append((step, losses.tolist())))
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    model = build_model(configs[1].model, configs[1].task.interface, 1)
    batch = configs[1].task.sample(1, "train", 0, 32).double()
    expected = float(configs[1].task.loss(model(batch.inputs), batch).mean().detach())
    assert seen[0][1][1] == pytest.approx(expected, rel=1e-12)


def test_unlike_runs_do_not_stack() -> None:
    with pytest.raises(UserError, match="seeds and learning rates only"):
        train_stack([run(0, 3, "float64", "adam"), run(0, 4, "float64", "adam")])
    matrix = run(0, 3, "float64", "adam").model_copy(
        update={"train": TrainConfig(steps=3, batch=4, optimiser="muon", lr=1.0)}
    )
    with pytest.raises(UserError, match="one by one"):
        train_stack([matrix, matrix])
    with pytest.raises(UserError, match="at least one"):
        train_stack([])
