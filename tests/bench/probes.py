"""Probes against the field's usual ways, on one thread in one process: seconds of ours, seconds of theirs,
the ratio.

Owns: the layer readouts of a whole model (every layer, position, target and ridge strength) against
scikit-learn's `RidgeCV` (one call a layer and position) and a plain loop of `Ridge` fits, the distance to the
machine's own float64 matrix product, and the published protocol of a fresh Adam-trained readout a layer.
Where a peer would take too long a stated number of its calls is timed and multiplied: `n` counts the calls or
steps that were timed. Activations are drawn at random with a decaying spectrum; their values do not change
the cost.

    python -m tests.bench.probes [--quick]
"""

from __future__ import annotations

import argparse
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
PUBLISHED_STEPS, PUBLISHED_BATCH = (
    500_000,
    64,
)  # 2310.17086, appendix; a readout of each layer is trained afresh


@dataclasses.dataclass(frozen=True)
class Row:
    """Seconds of ours and of the peer for the same work, their ratio (peer / ours), and what was timed."""

    name: str
    ours: float
    peer: float
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


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _activations(size: Size, seed: int) -> tuple[Float[Tensor, "p t f"], Float[Tensor, "p t y"]]:
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


def _ours(x: Tensor, y: Tensor, size: Size) -> ridge.Fit:
    cut = size.prompts * 4 // 5
    fitting, choosing = _streamed(x[:cut], y[:cut], size.batch), _streamed(x[cut:], y[cut:], size.batch)
    return ridge.fit(fitting, choosing, _grid(size).expand(size.positions, -1))


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
    x, y = _activations(size, 0)
    seconds, _ = _timed(lambda: _ours(x, y, size))
    seconds += sum(_layer_seconds(size, layer) for layer in range(1, size.layers))
    peer, plain, gap, steps = _peers(x, y, size)
    designs, limit = size.layers * size.positions, _product_seconds(size)
    calls = designs * size.targets * size.strengths
    return [
        _row(
            "readouts: RidgeCV a layer and position", seconds, peer * designs, size.sample, "calls multiplied"
        ),
        _row(
            "readouts: loop of Ridge fits",
            seconds,
            plain * calls,
            size.sample,
            f"{calls} fits, those timed multiplied",
        ),
        _row(
            "readouts: bare float64 products X'X (the FLOP limit)",
            seconds,
            limit,
            1,
            "ratio below 1: share of it",
        ),
        Row("weights at one strength: largest difference", gap, 0.0, gap, size.sample, "ours against Ridge"),
        Row(
            "chosen strength: largest difference", float(steps), 0.0, float(steps), size.sample, "grid steps"
        ),
    ]


def _peers(x: Tensor, y: Tensor, size: Size) -> tuple[float, float, float, int]:
    """Seconds a RidgeCV call, seconds a Ridge fit, the largest gap of weights, and of chosen strengths (grid
    steps).
    """
    ridge_class, cv_class = _oracle()
    grid, peer, plain, gap, steps = _grid(size).numpy(), 0.0, 0.0, 0.0, 0
    for i in range(size.sample):
        a, b = x[:, i].double().numpy(), y[:, i].double().numpy()
        spent, cv = _timed(lambda a=a, b=b: cv_class(alphas=grid, alpha_per_target=True).fit(a, b))
        peer += spent
        ours = ridge.fit_by_gcv(RidgeMoments.of(x[:, i].double(), y[:, i].double()), _grid(size)).strength
        away = np.abs(np.log(cv.alpha_) - ours.log().numpy()).max()
        steps = max(steps, int(np.rint(away / np.log(grid[1] / grid[0]))))
        spent, one = _timed(lambda a=a, b=b: ridge_class(alpha=grid[0]).fit(a, b[:, 0]))
        plain += spent
        gap = max(gap, _gap(a, b, float(grid[0]), one.coef_))
    return peer / size.sample, plain / size.sample, gap, steps


def _layer_seconds(size: Size, layer: int) -> float:
    x, y = _activations(size, layer)
    return _timed(lambda: _ours(x, y, size))[0]


def _row(name: str, ours: float, peer: float, n: int, note: str) -> Row:
    return Row(name, ours, peer, peer / ours, n, note)


def _gap(x: np.ndarray, y: np.ndarray, alpha: float, theirs: np.ndarray) -> float:
    path = ridge.Path.of(RidgeMoments.of(torch.from_numpy(x), torch.from_numpy(y[:, :1])))
    ours = path.weights(torch.tensor([alpha], dtype=torch.float64))[0, :, 0]
    return float(np.abs(ours.numpy() - theirs).max())


def _product_seconds(size: Size) -> float:
    x = torch.randn(size.positions, size.batch, size.width, dtype=torch.float64)
    once, _ = _timed(lambda: x.mT @ x)
    return once * size.layers * size.prompts / size.batch


def published_protocol(
    forward: Callable[[int], Tensor], readout_seconds: float, size: Size, steps: int = 5
) -> Row:
    """Closed form against the published readouts: each layer by Adam, `PUBLISHED_STEPS` steps with a forward
    pass each.

    `forward(prompts)` returns the last site's activations `[prompt, read, feature]`. Ours is the forward of
    all prompts plus `readout_seconds`. `steps` steps are timed and multiplied.
    """
    head = torch.nn.Linear(size.width, 1)
    adam = torch.optim.Adam(head.parameters(), lr=1e-4)

    def step() -> None:
        with torch.no_grad():
            h = forward(PUBLISHED_BATCH)
        loss = head(h).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    step()
    spent, _ = _timed(lambda: [step() for _ in range(steps)])
    with torch.no_grad():
        once, _ = _timed(lambda: forward(size.batch))
    ours = once * size.prompts / size.batch + readout_seconds
    peer = spent / steps * PUBLISHED_STEPS * (size.layers - 1)
    return _row(
        "readouts: Adam a layer, as published",
        ours,
        peer,
        steps,
        "seconds a step multiplied by 500,000 steps",
    )


def held_out_error(size: Size, steps: int = 20_000) -> Row:
    """Held-out error of the closed form beside a readout trained by Adam (ratio: Adam / ours).

    Both fit on the same prompts and choose (strength; learning rate, of three) on the same others. Adam sees kept
    activations, which only makes it cheaper; its steps are stated and are fewer than the published protocol's.
    """
    x, y = _activations(dataclasses.replace(size, positions=1, targets=1), 0)
    x, y, cut = x[:, 0], y[:, 0], size.prompts * 4 // 5
    inner = cut * 4 // 5
    fitting, choosing = RidgeMoments.of(x[:inner], y[:inner]), RidgeMoments.of(x[inner:cut], y[inner:cut])
    grid = ridge.relative_strengths(fitting, tuple(10.0**e for e in range(-10, 3)))
    ours = ridge.fit(fitting, choosing, grid)
    error = float((ours.predict(x[cut:]) - y[cut:]).square().mean())
    theirs = {lr: _adam_errors(x, y, (inner, cut), steps, lr) for lr in (1e-4, 1e-3, 1e-2)}
    best = min(theirs, key=lambda lr: theirs[lr][0])
    note = f"{steps} steps, rate {best:g} of three"
    return _row("held-out error: Adam on a fresh readout", error, theirs[best][1], steps, note)


def _adam_errors(x: Tensor, y: Tensor, cuts: tuple[int, int], steps: int, lr: float) -> tuple[float, float]:
    """Errors on the prompts between the cuts and beyond, fitted on those before."""
    gen = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(x.shape[1], 1)
    torch.nn.init.zeros_(head.weight)
    adam = torch.optim.Adam(head.parameters(), lr=lr)
    for _ in range(steps):
        rows = torch.randint(cuts[0], (PUBLISHED_BATCH,), generator=gen)
        loss = (head(x[rows]) - y[rows]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        missed = (head(x) - y).square()
    return float(missed[cuts[0] : cuts[1]].mean()), float(missed[cuts[1] :].mean())


def forward_share(forward: Callable[[int], Tensor], readout_seconds: float, size: Size) -> Row:
    """Our readouts against the forward passes that collect their activations (ratio: forward / readouts)."""
    with torch.no_grad():
        forward(size.batch)
        once, _ = _timed(lambda: forward(size.batch))
    return _row(
        "readouts: forward passes", readout_seconds, once * size.prompts / size.batch, 1, "a batch multiplied"
    )


def _model_forward(size: Size) -> Callable[[int], Tensor]:
    from interp.config.model_transformer import TransformerConfig
    from interp.models import build_model
    from tasks.regression import InContextRegression

    task = InContextRegression(d=20 if size.width >= 256 else 5, n=size.positions - 1)
    config = TransformerConfig(
        n_layers=size.layers - 1, d_model=size.width, n_heads=8 if size.width >= 256 else 4
    )
    model: Any = build_model(config, task.interface, 0).eval()
    reads = list(task.interface.read_positions)

    def forward(prompts: int) -> Tensor:
        batch = task.sample(0, "bench", 0, prompts)
        _, cache = model.run_with_cache(batch.inputs, names_filter=lambda name: name.endswith("resid_post"))
        return cache[f"blocks.{size.layers - 2}.hook_resid_post"][:, reads]

    return forward


def benchmark(size: Size) -> list[Row]:
    """Every comparison at one size."""
    rows = readouts(size)
    forward = _model_forward(size)
    seconds = rows[0].ours
    steps = 20_000 if size.width >= 256 else 2000
    return [
        *rows,
        forward_share(forward, seconds, size),
        published_protocol(forward, seconds, size),
        held_out_error(size, steps),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it runs")
    torch.set_num_threads(1)
    for row in benchmark(QUICK if parser.parse_args().quick else Size()):
        print(
            f"{row.name:55s} ours {row.ours:10.3g}  peer {row.peer:10.3g}  ratio {row.ratio:10.3g}  {row.note}"
        )


if __name__ == "__main__":
    main()
