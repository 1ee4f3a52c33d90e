"""No interval is made but where its coverage is simulated: whoever makes one says which simulation is its own.

What only averages prompts or seeds (bootstrap of means, ratio, paired, Student's t, shares, medians) is covered by the
simulations of `probes.stats`. Whoever resamples a statistic of its own, or puts ends together by hand, is listed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import interp

ROOT = Path(interp.__file__).parents[1]
STATISTIC = {"percentile", "Interval", "Intervals"}
NONE = "no interval of 95%: exact values, ranges, bounds and gaps that say so"
COPIED = "ends read from a table, or shifted by a constant"
COMBINED = "quotient of two bootstraps"
WORLDS = {
    "interp/causal/directions.py": "causal slope, missed change",
    "interp/readouts/algorithm_rows.py": "matching: similarity to a step; matching: best step",
    "interp/emergence/curriculum.py": "Clopper-Pearson, mean Kendall tau of 8 seeds; "
    "order statistics, median with censored runs",
    "interp/heads/ablation.py": "bootstrap, ratio of sums",
    "interp/heads/damage.py": "Fisher transform, rank correlation of 16 heads",
    "interp/heads/growth.py": NONE,
    "interp/heads/roles.py": NONE,
    "interp/landscape/tails.py": "order statistics, tail index; order statistics, asymmetry; "
    "order statistics, 99% quantile of gradient noise",
    "interp/studies/newton/measure.py": "matching: order of convergence; matching: best step",
    "interp/studies/newton/rows_common.py": COMBINED,
    "interp/studies/newton/measure_two_layer.py": "matching: similarity at the best step",
    "interp/studies/single_index/rows_emergence.py": "medians: the worst relative error of several; "
    "bootstrap, paired medians of replicas",
    "interp/studies/single_index/measure.py": "bootstrap, slope of log medians over replicas",
    "interp/studies/single_index/rows_landscape.py": COMBINED,
    "interp/studies/retrieval_prompts/rows.py": COMBINED,
    "interp/studies/retrieval_prompts/measure_facts.py": COPIED,
    "interp/studies/retrieval_prompts/rows_facts.py": COPIED,
    "interp/studies/retrieval_prompts/measure.py": COPIED,
    "interp/studies/stacked_heads/rows.py": COPIED,
    "interp/studies/stacked_heads/measure.py": "order statistics, median with censored runs; "
    "quotient of two medians, the upper with censored runs",
    "interp/studies/context.py": NONE,
    "interp/studies/stacked_heads/rows_depth.py": NONE,
    "probes/contrast.py": "contrast: partial R2, difference",
    "probes/doubling.py": "doubling: misfit of a pattern",
    "probes/interval.py": COPIED,
    "probes/filter_shape.py": "filters: f at an eigenvalue; bootstrap, power of a filter",
    "probes/filters.py": "filters: misfit above the best; filters: misfit",
    "probes/matching.py": "matching: relative distance to a step; bootstrap, slope of matched steps",
    "probes/readout.py": "readout: squared error, R2",
    "probes/seeds.py": "over seeds, a share of 5; over pairs, overlap of the circuits of 5 seeds; "
    "Clopper-Pearson, share of 8 seeds; "
    "order statistics, median of 8 seeds",
    "probes/strategy_weights.py": "strategies: weight in a mixture; strategies: share unexplained; "
    "strategies: residual; strategies: weight of dMMSE beside ridge",
    "probes/stats.py": "bootstrap, mean of 64 prompts; skewness-corrected t, mean of 64 prompts",
}


def simulated() -> set[str]:
    """Names of all simulations."""
    names: set[str] = set()
    for file in Path(__file__).parent.glob("test_coverage*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            target = (
                node.target
                if isinstance(node, ast.AnnAssign)
                else node.targets[0]
                if isinstance(node, ast.Assign)
                else None
            )
            if isinstance(target, ast.Name) and target.id == "WORLDS" and isinstance(node.value, ast.Dict):
                names |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    return names - set(WORLDS)


def makers() -> Iterator[str]:
    """Files that resample a statistic of their own, or build an interval by hand."""
    for room in ("interp", "probes", "tasks"):
        for file in (ROOT / room).rglob("*.py"):
            calls = [
                n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
            ]
            for call in calls:
                name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                own = name == "bootstrap" and (
                    len(call.args) > 1 or any(k.arg == "of" for k in call.keywords)
                )
                if name in STATISTIC or own:
                    yield str(file.relative_to(ROOT))


def test_whoever_makes_an_interval_says_what_covers_it():
    found = set(makers())
    assert sorted(found - set(WORLDS)) == [], "say which simulation covers these intervals"
    assert sorted(set(WORLDS) - found) == [], "these make no interval any more"


def test_what_is_said_to_cover_an_interval_is_simulated():
    said = {name for names in WORLDS.values() for name in names.split("; ") if names not in (NONE, COPIED)}
    assert said <= simulated()
