"""Muon in stacks: singular values follow the quintic, alone as together; losses are those of torch's rule."""

from __future__ import annotations

import pytest
import torch

from interp.config.run import configure
from interp.models import build_model
from interp.train.muon import ITERATIONS, QUINTIC, StackedMuon, orthogonal
from interp.train.optimisers import Optimisers


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_singular_values(x: torch.Tensor) -> torch.Tensor:
    """The quintic on each singular value of a matrix, which is what the iteration on matrices comes to."""
    left, sizes, right = torch.linalg.svd(x.double() / x.double().norm(), full_matrices=False)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        sizes = a * sizes + b * sizes**3 + c * sizes**5
    return (left @ sizes.diag() @ right).to(x.dtype)


@pytest.mark.parametrize("shape", [(4, 4), (4, 9), (1, 5)])
def test_the_iteration_acts_on_singular_values_alone(shape):
    stack = torch.stack([drawn(*shape, seed=seed) * scale for seed, scale in enumerate((1.0, 1e-3, 50.0))])
    wanted = torch.stack([by_singular_values(x) for x in stack])
    torch.testing.assert_close(orthogonal(stack), wanted, atol=2e-5, rtol=0)


def test_a_matrix_of_zeros_stays():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def stepped(rule, shapes, steps: int = 3, missing: int | None = None) -> list[torch.Tensor]:
    weights = [torch.nn.Parameter(drawn(*shape, seed=place)) for place, shape in enumerate(shapes)]
    optimiser = rule(weights, lr=0.02, momentum=0.9, weight_decay=0.1)
    for step in range(steps):
        for place, weight in enumerate(weights):
            weight.grad = None if place == missing else drawn(*weight.shape, seed=10 * step + place)
        optimiser.step()
    return [weight.detach() for weight in weights]


SHAPES = [(4, 8), (8, 4), (4, 8), (6, 6)]


def test_a_stack_is_its_matrices_one_by_one():
    together = stepped(StackedMuon, SHAPES)
    for place, shape in enumerate(SHAPES):
        only = [drawn(*s, seed=p) for p, s in enumerate(SHAPES)]
        alone = torch.nn.Parameter(only[place])
        optimiser = StackedMuon([alone], lr=0.02, momentum=0.9, weight_decay=0.1)
        for step in range(3):
            alone.grad = drawn(*shape, seed=10 * step + place)
            optimiser.step()
        torch.testing.assert_close(together[place], alone.detach(), atol=1e-6, rtol=0)


def test_steps_are_torch_s_up_to_its_bfloat16():
    """Eight bits, five iterations whose factors reach 3.4: a few percent."""
    ours, theirs = stepped(StackedMuon, SHAPES), stepped(torch.optim.Muon, SHAPES)
    start = stepped(StackedMuon, SHAPES, steps=0)
    for one, other, first in zip(ours, theirs, start, strict=True):
        assert (one - other).norm() < 0.05 * (other - first).norm()


def test_a_parameter_without_a_gradient_stays():
    assert torch.equal(stepped(StackedMuon, SHAPES, missing=2)[2], drawn(4, 8, seed=2))


def losses(bits: int, steps: int = 30) -> list[float]:
    config = configure("regression", changes={
        "task.d": 2, "task.n": 4, "model.n_layers": 2, "model.n_heads": 2, "model.d_model": 16, "train.batch": 64,
        "train.warmup": 1, "train.steps": steps,
    })  # fmt: skip
    model = build_model(config.model, config.task.interface, config.init_seed)
    optimisers, found = Optimisers(model, config.train, bits), []
    for step in range(steps):
        batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
        loss = config.task.loss(model(batch.inputs), batch).mean()
        loss.backward()
        optimisers.update(step)
        found.append(loss.item())
    return found


def test_runs_of_the_first_version_keep_torch_s():
    settings = {"task.d": 2, "task.n": 4, "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8}
    config = configure("regression", changes=settings)
    model = build_model(config.model, config.task.interface, 0)
    kinds = [[type(part) for part in Optimisers(model, config.train, bits)._parts] for bits in (1, 2)]
    assert kinds == [[torch.optim.Muon, torch.optim.AdamW], [StackedMuon, torch.optim.AdamW]]


def test_losses_are_those_of_the_rule_before():
    before, now = losses(1), losses(2)
    assert now != before
    assert sum(now[-10:]) == pytest.approx(sum(before[-10:]), rel=0.02)
    assert sum(now[-10:]) < 0.9 * sum(now[:10])
