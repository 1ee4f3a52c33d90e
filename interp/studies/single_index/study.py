"""Study: how long SGD waits before it finds the direction of a sequence single-index model (Arnaboldi et al.).

Owns the order of its parts and the ledger; claims, sizes and the parts have modules of their own. Times are counted in
steps of batch 1, thresholds are on overlaps; rows without sampling error carry equal bounds. What the rows do not show:
theorems are about d to infinity, and finite dimensions bend every exponent, so asymptotic exponents stand in notes and
are never judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.single_index import bridge as bridge
from interp.studies.single_index import landscape as landscape
from interp.studies.single_index import waits as waiting
from interp.studies.single_index.bench import BUDGETS, NAME, Bench
from interp.studies.single_index.claims import CLAIMS
from interp.studies.single_index.figures import write_figures

LANDSCAPE = (landscape.closed_forms, landscape.odd_targets, landscape.inside, landscape.transition)
WAITS = (waiting.waits, waiting.gains, waiting.rules, waiting.staircase, waiting.speed)


def run(scale: Scale, out: Path, say: Callable[[str], None], seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. `seeds` gives the one seed of the chains (0); ordinary runs stay in `out`."""
    chosen = (0,) if seeds is None else tuple(seeds)
    bench, budget = Bench(scale, chosen[0], out, say), BUDGETS[scale]
    parts = (*LANDSCAPE, *WAITS, bridge.emergence, bridge.ordinary_runs, bridge.attention)
    rows: list[Row] = []
    for part in parts:
        say(f"{NAME}: {part.__name__.replace('_', ' ')}")
        rows += part(bench, budget)
    say(f"{NAME}: figures")
    write_figures(bench.curves, out / f"figures-{scale}.html")
    order = list(CLAIMS)
    return Ledger(NAME, scale, chosen, tuple(sorted(rows, key=lambda row: order.index(row.id))))
