"""Readouts of a whole model against scikit-learn's `RidgeCV` and a loop of `Ridge` fits, on one thread in one process.

Owns: the layer readouts (every layer, position, target and ridge strength) and the distance to the machine's own
float64 matrix product. Where a baseline would take too long a stated number of its calls is timed and multiplied: `n`
counts the calls that were timed. Activations are drawn at random with a decaying spectrum; their values do not change
the cost.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probes import ridge
from probes.ridge import RidgeMoments
from tasks.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Row:
    """Seconds of the project and of the baseline for the same work, baseline / project, and what was timed."""

    name: str
    project: float
    baseline: float
    ratio: float
    n: int
    note: str


@dataclasses.dataclass(frozen=True)
class Size:
    """The work: `layers` sites of `width` features at `positions` reads, `targets` a read, of `prompts`
    prompts.
    """

    layers: int = 13
    positions: int = 41
    targets: int = 40
    strengths: int = 17
    width: int = 256
    prompts: int = 5000
    batch: int = 500
    sample: int = 3


QUICK = Size(layers=2, positions=4, targets=5, strengths=5, width=32, prompts=600, batch=200, sample=2)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def activations(size: Size, seed: int) -> tuple[Float[Tensor, "p t f"], Float[Tensor, "p t y"]]:
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(size.prompts, size.positions, size.width, generator=gen)
    x = x * torch.logspace(0, -2, size.width)
    mix = torch.randn(size.width, size.targets, generator=gen)
    noise = torch.randn(size.prompts, size.positions, size.targets, generator=gen)
    return x, x @ mix + noise


def _grid(size: Size) -> Float[Tensor, "strength"]:
    return torch.logspace(-4, 4, size.strengths, dtype=torch.float64)


def _streamed(x: Tensor, y: Tensor, batch: int) -> RidgeMoments:
    parts = [
        RidgeMoments.of(a.transpose(0, 1), b.transpose(0, 1))
        for a, b in zip(x.split(batch), y.split(batch), strict=True)
    ]
    for part in parts[1:]:
        parts[0].merge(part)
    return parts[0]


def _project(x: Tensor, y: Tensor, size: Size) -> ridge.Fit:
    cut = size.prompts * 4 // 5
    fitting, validating = _streamed(x[:cut], y[:cut], size.batch), _streamed(x[cut:], y[cut:], size.batch)
    return ridge.fit(fitting, validating, _grid(size).expand(size.positions, -1))


def _oracle() -> tuple[Any, Any]:
    try:
        from sklearn.linear_model import Ridge, RidgeCV
    except ImportError:
        raise UserError("the benchmark compares with scikit-learn: install the extra 'dev'") from None
    return Ridge, RidgeCV


def readouts(size: Size) -> list[Row]:
    """All layers and positions: streaming ridge against RidgeCV and against a loop of Ridge fits.

    The plain loop is one `Ridge` fit a target, strength, layer and position; RidgeCV one call a layer and position.
    Also the check that both solve the same problem: largest difference of weights at one strength, and of the strengths
    chosen by like criteria (generalised cross-validation here, RidgeCV's leave-one-out there, all prompts in both), in
    grid steps; and the share of our time that the bare matrix products X'X would take.
    """
    x, y = activations(size, 0)
    seconds, _ = timed(lambda: _project(x, y, size))
    seconds += sum(_layer_seconds(size, layer) for layer in range(1, size.layers))
    baseline, plain, gap, steps = _baselines(x, y, size)
    designs, limit = size.layers * size.positions, _product_seconds(size)
    calls = designs * size.targets * size.strengths
    return [
        compared(
            "readouts: RidgeCV a layer and position",
            seconds,
            baseline * designs,
            size.sample,
            "calls multiplied",
        ),
        compared(
            "readouts: loop of Ridge fits",
            seconds,
            plain * calls,
            size.sample,
            f"{calls} fits, those timed multiplied",
        ),
        compared(
            "readouts: bare float64 products X'X (the FLOP limit)",
            seconds,
            limit,
            1,
            "ratio below 1: share of it",
        ),
        Row(
            "weights at one strength: largest difference", gap, 0.0, gap, size.sample, "project against Ridge"
        ),
        Row(
            "chosen strength: largest difference", float(steps), 0.0, float(steps), size.sample, "grid steps"
        ),
    ]


def _baselines(x: Tensor, y: Tensor, size: Size) -> tuple[float, float, float, int]:
    """Seconds a RidgeCV call, seconds a Ridge fit, the largest gap of weights, and of chosen strengths (grid
    steps).
    """
    ridge_class, cv_class = _oracle()
    grid, baseline, plain, gap, steps = _grid(size).numpy(), 0.0, 0.0, 0.0, 0
    for i in range(size.sample):
        a, b = x[:, i].double().numpy(), y[:, i].double().numpy()
        spent, cv = timed(lambda a=a, b=b: cv_class(alphas=grid, alpha_per_target=True).fit(a, b))
        baseline += spent
        project = ridge.fit_by_gcv(RidgeMoments.of(x[:, i].double(), y[:, i].double()), _grid(size)).strength
        away = np.abs(np.log(cv.alpha_) - project.log().numpy()).max()
        steps = max(steps, int(np.rint(away / np.log(grid[1] / grid[0]))))
        spent, one = timed(lambda a=a, b=b: ridge_class(alpha=grid[0]).fit(a, b[:, 0]))
        plain += spent
        gap = max(gap, _gap(a, b, float(grid[0]), one.coef_))
    return baseline / size.sample, plain / size.sample, gap, steps


def _layer_seconds(size: Size, layer: int) -> float:
    x, y = activations(size, layer)
    return timed(lambda: _project(x, y, size))[0]


def compared(name: str, project: float, baseline: float, n: int, note: str) -> Row:
    return Row(name, project, baseline, baseline / project, n, note)


def _gap(x: np.ndarray, y: np.ndarray, alpha: float, theirs: np.ndarray) -> float:
    path = ridge.Path.of(RidgeMoments.of(torch.from_numpy(x), torch.from_numpy(y[:, :1])))
    project = path.weights(torch.tensor([alpha], dtype=torch.float64))[0, :, 0]
    return float(np.abs(project.numpy() - theirs).max())


def _product_seconds(size: Size) -> float:
    x = torch.randn(size.positions, size.batch, size.width, dtype=torch.float64)
    once, _ = timed(lambda: x.mT @ x)
    return once * size.layers * size.prompts / size.batch
