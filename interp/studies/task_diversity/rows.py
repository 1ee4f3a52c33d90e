"""Rows of the study of task diversity. Intervals are over seeds, each with a pool of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.studies.ledger import Row
from interp.studies.task_diversity import measure
from interp.studies.task_diversity.claims import LARGE, SMALL
from interp.studies.task_diversity.measure import FRESH, POOL
from interp.studies.task_diversity.runs import Study, runs_of

COST = "scale cpu: pools of 16 and 32, six seeds, 40,000 steps at a constant rate, two and a half hours on one core"


def words(study: Study, pools: str) -> dict[str, Any]:
    """What a row says of its runs."""
    return {"condition": pools, "budget": f"{study.budget.steps} steps of 64 prompts"}


def one_pool(study: Study) -> list[Row]:
    """What a net of a small and of a large pool follows, and how well that serves on both distributions."""
    small, large = runs_of(study, SMALL), runs_of(study, LARGE)
    few, many = words(study, f"pool of {SMALL}"), words(study, f"pool of {LARGE}")
    nearest = {
        pool: np.exp([measure.nearness(run) for run in runs])
        for pool, runs in ((SMALL, small), (LARGE, large))
    }
    losses = {
        "small-pool-gain": [measure.excess(run, "ridge", POOL) for run in small],
        "small-pool-fresh": [measure.excess(run, "ridge", FRESH) for run in small],
        "large-pool-fresh": [measure.excess(run, "dMMSE", FRESH) for run in large],
    }
    return [
        study.ratios("small-pool", nearest[SMALL].tolist(), **few),
        study.ratios("large-pool", (1 / nearest[LARGE]).tolist(), **many),
        *(
            study.ratios(claim, found, **(few if "small" in claim else many))
            for claim, found in losses.items()
        ),
        study.ratios("leaves-ridge", [measure.turned(run) for run in small], **few),
    ]


def over_pools(study: Study) -> list[Row]:
    """How the preference depends on the pool."""
    pools = study.budget.pools
    by_seed = list(zip(*(runs_of(study, pool) for pool in pools), strict=True))
    found = [measure.nearnesses(runs) for runs in by_seed]
    shares = [[measure.share(run) for run in runs] for runs in by_seed]
    said = words(study, f"pools of {', '.join(map(str, pools))}")
    mean = dict(zip(pools, np.mean(shares, axis=0), strict=True))
    note = f"mean share of dMMSE by pool: {', '.join(f'{pool}: {value:.2f}' for pool, value in mean.items())}"
    lost = "the level is not crossed within these pools"
    return [
        study.row("preference", [measure.slope(pools, values) for values in found], **said),
        study.values("threshold", [measure.threshold(pools, values) for values in found], lost=lost, **said),
        study.values(
            "sharp", [measure.width(pools, values) for values in shares], note=note, lost=lost, **said
        ),
    ]


def lasting(study: Study) -> list[Row]:
    """Whether ridge is left again at pools just under the threshold, where the scale trains for so long."""
    if not study.budget.lasting:
        return [study.claims["transience"].not_testable(would_need=COST, command=study.command)]
    found = {
        pool: [measure.turned(run) for run in runs_of(study, pool, long=True)]
        for pool in study.budget.lasting
    }
    each = np.exp(np.mean(np.log(list(found.values())), axis=0)).tolist()
    note = "; ".join(
        f"pool {pool}: {', '.join(f'{x:.2f}' for x in values)}" for pool, values in found.items()
    )
    said = words(study, f"pools of {', '.join(map(str, found))}, constant rate")
    said["budget"] = f"{study.budget.long} steps of 64 prompts"
    return [study.ratios("transience", each, note=f"geometric mean over pools; {note}", **said)]
