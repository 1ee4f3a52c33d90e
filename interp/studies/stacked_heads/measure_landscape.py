"""The study's loss landscape: curvature and the local learning coefficient of one run, on the axis of its hops.

Taken at the start, at the onsets of hops, in the middle of the plateaus between them, and at the end. Where a
hop is just being learned the loss still falls and has no minimum to sample around; chains that are refused
leave a gap.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd

from interp.run import Run
from interp.studies.stacked_heads.measure import HOPS, onsets
from interp.studies.stacked_heads.runs import Study

PROMPTS, PROBES = 128, 2


def measured_landscape(study: Study, run: Run) -> pd.DataFrame:
    """Rows of `Run.curvature` with the coefficient."""
    emerged = [step for hop in HOPS if math.isfinite(step := float(onsets([run], hop)[0]))]
    between = [(a + b) / 2 for a, b in pairwise(sorted(emerged))]
    steps = {min(run.steps, key=lambda step, at=at: abs(step - at)) for at in (*emerged, *between)}
    asked = sorted({run.steps[0], *steps, run.steps[-1]})
    return run.curvature(asked, prompts=PROMPTS, probes=PROBES, llc=study.budget.llc).table
