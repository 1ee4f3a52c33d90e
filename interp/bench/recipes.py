"""Time until the held-out loss is within 10% of the Bayes answer's: our recipe against the published one.

Same model, task and batch; only the recipe differs. Published: Adam at 1e-4, no schedule, no clipping, GPT-2's
initialisation (Garg et al., arXiv 2208.01066, appendix A; their curriculum over dimensions is left out). Its budget is
`BUDGET` times our steps; a recipe that has not arrived by then is printed as over it, with the ratio that it would take
at least. There is no physical limit to compare with.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

from interp.bench.rows import Row
from interp.bench.time_to_floor import TimeToFloor, measure
from interp.config import configure

PUBLISHED = (
    *(
        "train.optimiser=adam",
        "train.lr=1e-4",
        "train.betas=[0.9, 0.999]",
        "train.warmup=0",
        "train.decay=none",
    ),
    *("train.clip=0", "model.init=gpt2"),
)
BUDGET = 2
QUICK = (
    "train.steps=50",
    "train.schedule.log=0",
    "train.schedule.every=50",
    "train.warmup=10",
    "model.n_layers=1",
)


def rows(quick: bool) -> list[Row]:
    """One line: CPU seconds of both, and the least that the peer's ratio can be when it never arrived."""
    short = QUICK if quick else ()
    steps = 50 if quick else configure("regression").train.steps * BUDGET
    with tempfile.TemporaryDirectory() as folder:
        ours = measure("regression", 0, Path(folder) / "ours", short)
        longer = (*short, *PUBLISHED, f"train.steps={steps}")
        peer = measure("regression", 0, Path(folder) / "peer", longer)
    return [_row(ours, peer)]


def _row(ours: TimeToFloor, peer: TimeToFloor) -> Row:
    mine, theirs = (found.cpu_s if found.cpu_s is not None else math.inf for found in (ours, peer))
    ratio = mine / theirs if math.isfinite(mine) and math.isfinite(theirs) else math.nan
    said = [
        f"loss {found.best_loss:.3f} at best in {found.steps} steps, floor {found.floor:.3f}"
        for found in (ours, peer)
    ]
    reached = f"ours within 10% at step {ours.step}" if ours.step is not None else "ours never within 10%"
    note = f"{reached}; ours {said[0]}; peer {said[1]}; seed 0; {os.cpu_count()} cores"
    return Row(
        "time to within 10% of the floor, regression",
        mine,
        theirs,
        "published recipe",
        ratio,
        pairs=1,
        note=note,
    )
