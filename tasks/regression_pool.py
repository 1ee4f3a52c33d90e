"""A finite pool of regression functions: its members, and the closed forms that a pool changes.

A pool of M tasks holds M weight vectors of the task's own prior, drawn once from the pool's seed; every prompt takes
one of them, all equally likely. Inputs and noise of a prompt are those of the same prompt without a pool.
Source: Raventos et al., arXiv 2306.15063 (finite task diversity).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.errors import UserError
from tasks.streams import generator
from tasks.theory.pool import pool_weights

MOST = 2**20  # tasks of a pool
MOST_NUMBERS = 2**27  # of a pool's rows: 512 MiB of float32
BLOCK = 1024  # rows drawn from one generator, so that a larger pool begins with the smaller one


@functools.lru_cache(maxsize=4)
def pool_rows(size: int, d: int, seed: int) -> Float[Tensor, "task d"]:
    """The pool in whitened coordinates: v_m ~ N(0, I), a function of the seed; the first rows of any larger pool."""
    blocks = range(-(-size // BLOCK))
    rows = [torch.randn(BLOCK, d, generator=generator(seed, f"pool d={d}", block)) for block in blocks]
    return torch.cat(rows)[:size].clone()


def drawn(gen: torch.Generator, batch: int, size: int, d: int, seed: int) -> Float[Tensor, "batch 1 d"]:
    """One row of the pool for each prompt, all equally likely."""
    index = torch.randint(size, (batch,), generator=gen)
    return pool_rows(size, d, seed)[index][:, None]


def complaint(size: int, d: int, target: str, own_basis: bool) -> str:
    """Why a pool is incompatible with these settings; empty where it is compatible."""
    if target != "linear":
        return f"a pool holds linear functions, not target {target!r}: use target 'linear', or pool=0"
    if own_basis:
        return "a pool's weights would differ with each prompt's eigenbasis: use basis 'none' or 'fixed', or pool=0"
    if size * d > MOST_NUMBERS:
        return f"a pool of {size} tasks in {d} dimensions does not fit: at most {MOST_NUMBERS // d} tasks"
    return ""


def label_variance(task: Any) -> float:
    """E y^2 of one label of the task's pool, noise included."""
    rows = pool_rows(task.pool, task.d, task.pool_seed).double()[None]
    basis = task.bases(generator(0, "unused", 0), 1).double()
    weights = task.whiten(rows, basis)
    spread = torch.einsum("bti,bik->btk", weights, basis).square().mean((0, 1))
    return float((spread * spread.new_tensor(task.covariance_eigenvalues)).sum()) + task.noise**2


def posterior_weights(
    task: Any,
    x: Float[Tensor, "batch example d"],
    y: Float[Tensor, "batch example"],
    basis: Float[Tensor, "batch d d"],
) -> Float[Tensor, "batch d"]:
    """dMMSE's weight vectors after these examples of a task, in float64. Raises UserError without a pool, or without
    label noise."""
    if not (task.pool and task.noise):
        raise UserError("dMMSE is the predictor of a pool of tasks with noisy labels: this run has none")
    rows = pool_rows(task.pool, task.d, task.pool_seed).to(x.device)
    found = pool_weights(task.whiten(x.double(), basis), y, rows, task.noise)
    return task.whiten(found[:, None], basis)[:, 0]
