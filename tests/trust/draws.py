"""Small samples with a planted truth, as the simulations of coverage draw them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=float))


def rare(rng: np.random.Generator, prompts: int, count: int) -> np.ndarray:
    """Cross-entropies of a net that is sure and right but for 2% of prompts, where it is sure and wrong; mean 0.1."""
    wrong = rng.random((prompts, count)) < 0.02
    return np.where(wrong, rng.exponential(4, (prompts, count)), rng.exponential(1 / 49, (prompts, count)))


def failing(rng: np.random.Generator, prompts: int, count: int) -> np.ndarray:
    """A head's attention, near 1 but for 2% of prompts."""
    wrong = rng.random((prompts, count)) < 0.02
    return np.where(wrong, rng.beta(1, 5, (prompts, count)), rng.beta(50, 1, (prompts, count)))


def carried(rng: np.random.Generator, prompts: int, count: int) -> tuple[Tensor, Tensor]:
    """What breaks 2% of prompts and leaves the others alone, beside what breaks all of them: ratio `CARRIED`."""
    effect = rng.exponential(4, (prompts, count)) * (rng.random((prompts, count)) < 0.02)
    return tensor(effect), tensor(3 + rng.normal(size=(prompts, count)))


CARRIED = 0.02 * 4 / 3
