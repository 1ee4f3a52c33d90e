"""Rows of the benchmark table on stacks: several runs trained at once against one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from interp.config.run import RunConfig
from interp.train.stacked import train_stack
from interp.train.stacked_pace import alone, members_of, stacked_table
from tests.bench.cost import matmul_rate
from tests.bench.rows import Row, flop_of, peak_mb, weighed


def stack_rows(
    config: RunConfig, batches: Sequence[int], *, members: int, name: str, quick: bool
) -> list[Row]:
    """A line of the benchmark table a batch size; each pair is a table of its own."""
    steps, repeats = (2, 1) if quick else (10, 3)
    tables = [stacked_table(config, batches, members=members, steps=steps) for _ in range(repeats)]
    rows = []
    for k, batch in enumerate(batches):
        times = [(float(t["project_ms"][k]) / 1e3, float(t["baseline_ms"][k]) / 1e3) for t in tables]
        runs = members_of(config, batch, members, steps)
        flop = flop_of(lambda runs=runs: alone(runs[0])) / steps
        bare = Row(
            f"{members} {name}, batch {batch}", 0.0, baseline_name="one after the other", unit="CPU s a step and run",
            project_mb=peak_mb(lambda runs=runs: train_stack(runs)),
            baseline_mb=peak_mb(lambda runs=runs: alone(runs[0])),
            limit=flop / matmul_rate(seconds=0.5), note="the faster of 2 turns of each",
        )  # fmt: skip
        rows.append(weighed(bare, times))
    return rows
