"""Probes against the field's usual ways: seconds of project, seconds of theirs, the ratio.

Owns: the published protocol of a fresh Adam-trained readout a layer, the held-out error of one beside the closed form,
the share of the forward passes, and the command that prints these after the comparisons of `readouts`. `n` counts the
steps that were timed.

    python -m tests.bench.probes [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probes import ridge
from probes.ridge import RidgeMoments
from tests.bench.readouts import QUICK, Row, Size, activations, compared, readouts, timed

PUBLISHED_STEPS, PUBLISHED_BATCH = (
    500_000,
    64,
)  # 2310.17086, appendix; a readout of each layer is trained afresh


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
    spent, _ = timed(lambda: [step() for _ in range(steps)])
    with torch.no_grad():
        once, _ = timed(lambda: forward(size.batch))
    project = once * size.prompts / size.batch + readout_seconds
    baseline = spent / steps * PUBLISHED_STEPS * (size.layers - 1)
    return compared(
        "readouts: Adam a layer, as published",
        project,
        baseline,
        steps,
        "seconds a step multiplied by 500,000 steps",
    )


def held_out_error(size: Size, steps: int = 20_000) -> Row:
    """Held-out error of the closed form beside a readout trained by Adam (ratio: Adam / project).

    Both fit on the same prompts and choose (strength; learning rate, of three) on the same others. Adam sees kept
    activations, which only makes it cheaper; its steps are stated and are fewer than the published protocol's.
    """
    x, y = activations(dataclasses.replace(size, positions=1, targets=1), 0)
    x, y, cut = x[:, 0], y[:, 0], size.prompts * 4 // 5
    inner = cut * 4 // 5
    fitting, validating = RidgeMoments.of(x[:inner], y[:inner]), RidgeMoments.of(x[inner:cut], y[inner:cut])
    grid = ridge.relative_strengths(fitting, tuple(10.0**e for e in range(-10, 3)))
    project = ridge.fit(fitting, validating, grid)
    error = float((project.predict(x[cut:]) - y[cut:]).square().mean())
    theirs = {lr: _adam_errors(x, y, (inner, cut), steps, lr) for lr in (1e-4, 1e-3, 1e-2)}
    best = min(theirs, key=lambda lr: theirs[lr][0])
    note = f"{steps} steps, rate {best:g} of three"
    return compared("held-out error: Adam on a fresh readout", error, theirs[best][1], steps, note)


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
        once, _ = timed(lambda: forward(size.batch))
    return compared(
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
    output_positions = list(task.interface.output_positions)

    def forward(prompts: int) -> Tensor:
        batch = task.sample(0, "bench", 0, prompts)
        _, cache = model.run_with_cache(batch.inputs, names_filter=lambda name: name.endswith("resid_post"))
        return cache[f"blocks.{size.layers - 2}.hook_resid_post"][:, output_positions]

    return forward


def benchmark(size: Size) -> list[Row]:
    """Every comparison at one size."""
    rows = readouts(size)
    forward = _model_forward(size)
    seconds = rows[0].project
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
            f"{row.name:55s} project {row.project:10.3g}  baseline {row.baseline:10.3g}  ratio {row.ratio:10.3g}"
            f"  {row.note}"
        )


if __name__ == "__main__":
    main()
