"""Steps of the small models (`tests.bench.linear`, `tests.bench.chains`) as rows of the table.

Each ratio is the median of repeated measurements, every one of them the fastest turns of both arms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interp.config.run import RunConfig, configure
from interp.models.build import build_model
from tests.bench import chains as single_index
from tests.bench import linear
from tests.bench.cost import matmul_rate
from tests.bench.rows import Row, flop_of, peak_mb, weighed
from tests.bench.stacked import stack_rows

REPEATS = 5


def linear_rows(quick: bool) -> list[Row]:
    """Gram form beside token form, then stacks of six beside their members one by one, by batch size."""
    config, steps = configure("linear-attention"), 4 if quick else 20
    found = [linear.forms(config, steps) for _ in range(1 if quick else REPEATS)]
    work = _gram(config, steps)
    limit = flop_of(work) / steps / matmul_rate(seconds=0.5)
    row = Row(
        "step of the linear transformer", 0.0, baseline_name="token form", limit=limit, project_mb=peak_mb(work),
        note=f"{config.model.n_layers} layers, batch {config.train.batch}; Gram form",  # type: ignore[union-attr]
    )  # fmt: skip
    times = [(float(each["project_ms"]) / 1e3, float(each["baseline_ms"]) / 1e3) for each in found]
    batches = (16,) if quick else (16, 64, 256, 1000)
    return [
        weighed(row, times),
        *stack_rows(config, batches, members=6, name="stacked linear runs", quick=quick),
    ]


def _gram(config: RunConfig, steps: int) -> Callable[[], None]:
    model: Any = build_model(config.model, config.task.interface, config.init_seed)
    return lambda: linear._steps(config, model, steps)


def single_index_rows(quick: bool) -> list[Row]:
    """The exact reduced chain beside SGD on d = 1000 weights; no matrix product bounds either."""
    pairs = [single_index.pace(1 if quick else 3) for _ in range(1 if quick else REPEATS)]
    times = [(project.value / 1e6, baseline.value / 1e6) for project, baseline in pairs]
    row = Row(
        "step of 48 single-index replicas", 0.0, baseline_name="SGD on 1000 weights",
        note="reduced chain, 4 tokens, exponent 2, batch 1",
    )  # fmt: skip
    return [weighed(row, times)]
