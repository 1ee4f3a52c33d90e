"""The bridge: the toolkit's emergence estimator on order parameters whose crossing times are known.

Overlaps play the part of head scores: `interp.emergence.onset.onset` sees them at checkpoints only and must give back
the escape times. Also here: ordinary runs in run folders, and how an ordinary attention layer's wait grows with the
number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from interp.emergence.onset import onset
from interp.emergence.overlaps import Overlaps
from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.single_index.measure import LINEAR, SQUARE, Problem, resampled, scaling, slope
from interp.studies.single_index.runs import LENGTHS, Study, layer_config, net_config
from interp.train import train
from probes.stats import LEVEL, Interval
from tasks.theory.escapes import Escapes

CHECKPOINTS = 150


def emergence_steps(found: Escapes, threshold: float) -> Float[ndarray, " replica"]:
    """Onset of |overlap| of every replica of a tied network from the checkpoints that were kept; infinite if none."""
    steps = [int(s) for s in found.steps]
    curves = np.abs(found.path[:, :, 0]).T
    onsets = [onset(steps, curve.tolist(), threshold).step for curve in curves]
    return np.array([math.inf if step is None else float(step) for step in onsets])


def emergence(study: Study) -> list[Row]:
    """Emergence steps against crossing times: medians, slopes, and the difference of slopes.

    Checkpoints lie a 150th of the predicted time apart. A replica counts in both columns or, when its overlap is
    below the threshold at the last checkpoint, as censored in the emergence column alone.
    """
    rows, errors = [], []
    laws: list[tuple[int, Problem, tuple[int, ...], float]] = [
        (1, LINEAR, study.budget.linear, 0.1),
        (2, SQUARE, study.budget.square, 0.05),
    ]
    for order, problem, sizes, rate in laws:
        crossed, emerged = [], []
        for d in sizes:
            expected = problem.net().landscape.escape_time(d, rate, 1 / math.sqrt(d), problem.threshold)
            every = max(1, round(expected / CHECKPOINTS))
            found = problem.escape(d, rate, study.budget.replicas, 3_000_000, study.seeds[0], every=every)
            crossed.append(found.times[:, 0])
            emerged.append(emergence_steps(found, problem.threshold))
        law = scaling(sizes, order)
        errors += list(zip(emerged, crossed, strict=True))
        text = f"d {', '.join(map(str, sizes))}; {study.budget.replicas} replicas; {CHECKPOINTS} checkpoints a median"
        note = f"asymptotically {'1' if order == 1 else '1 with log d'}, not judged; n counts replicas"
        rows.append(
            study.row(
                f"bridge-slope-{order}", resampled(law, emerged), condition="onset", budget=text, note=note
            )
        )
        rows.append(_gap(study, order, crossed, emerged, law, text))
    flat = [x for pair in errors for x in pair]
    found = resampled_pairs(flat)
    budget_text = f"{len(errors)} settings, {CHECKPOINTS} checkpoints a median"
    return [
        *rows,
        study.row("bridge-times", found, condition="onset", budget=budget_text, note="n counts replicas"),
    ]


def resampled_pairs(samples: Sequence[Float[ndarray, " n"]], seed: int = 0) -> Interval:
    """Worst relative error of a median over pairs of samples, replicas kept paired in the bootstrap.

    The ends are the largest of the pairs' own, each pair at its share of the error: the largest of several errors is
    too large, and resampling it would hold the truth less than 90 times in 100.
    """
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    level = 1 - (1 - LEVEL) / len(pairs)
    found = [_paired(lambda m: abs(m[0] / m[1] - 1), pair, seed, level) for pair in pairs]
    value, low, high = (
        float(np.max(ends)) for ends in zip(*((i.value, i.low, i.high) for i in found), strict=True)
    )
    return Interval(value, low, high, found[0].n, f"{found[0].method}, largest of {len(found)}")


def _paired(statistic, samples: Sequence[ndarray], seed: int, level: float = LEVEL) -> Interval:
    import torch

    from interp.studies.single_index.measure import DRAWS, middle
    from probes.stats import percentile

    rng, n = np.random.default_rng(seed), len(samples[0])
    value = statistic([middle(s) for s in samples])
    picks = [rng.integers(0, n, n) for _ in range(DRAWS)]
    drawn = torch.tensor([statistic([middle(s[pick]) for s in samples]) for pick in picks])
    return percentile(torch.tensor(value), drawn, n, level).one()


def _gap(study: Study, order: int, crossed: list, emerged: list, law, text: str) -> Row:
    half = len(crossed)
    found = _paired(lambda m: law(m[half:]) - law(m[:half]), [*crossed, *emerged], study.seeds[0])
    note = "replicas paired; n counts replicas"
    return study.row(f"bridge-gap-{order}", found, condition="onset against crossing", budget=text, note=note)


def overlap_curve(run: Run) -> tuple[list[int], list[float]]:
    """Checkpoint steps and |m| (the root mean square over rows) of a run of an index network or tied attention.

    >>> steps, values = overlap_curve(run)             # doctest: +SKIP
    """
    found = run.tables([Overlaps()])["overlaps"].query("position == 'm'").sort_values("step")
    return [int(step) for step in found["step"]], found["value"].tolist()


def ordinary_runs(study: Study) -> list[Row]:
    """Runs of the ordinary loop at batch 1, their emergence read from checkpoints, against the reduced chain."""
    onsets = []
    for seed in range(study.budget.runs):
        folder = train(net_config(seed), study.out / f"net-{seed}")
        step = onset(*overlap_curve(Run(folder)), 0.5).step
        onsets.append(math.inf if step is None else float(step))
    reduced = SQUARE.but(length=3).escape(32, 0.1, 400, 100_000, study.seeds[0]).median()
    finite = [x / reduced for x in onsets if math.isfinite(x)]
    if len(finite) < 2:
        return [
            study.exact(
                "ordinary-runs", math.nan, condition="runs", budget="", note="fewer than 2 runs emerged"
            )
        ]
    note = f"{len(onsets) - len(finite)} of {len(onsets)} runs not emerged by step 4000; geometric mean of ratios"
    text = f"{len(onsets)} runs of 4000 steps, d 32, L 3, rate .1"
    return [
        study.row("ordinary-runs", finite, condition="index network", budget=text, note=note, scale="log")
    ]


def attention(study: Study) -> list[Row]:
    """Steps until an ordinary attention layer has half of the label's variance, against the number of tokens.

    One head with trained value matrix and separate query and key, plain SGD at one rate for every length: in the theory
    a tied net's wait at SIE 1 does not depend on L at this normalisation, an untied one's grows like L.
    """
    lengths, slopes, unlearned = LENGTHS, [], 0
    seeds = range(study.budget.layers)
    for seed in seeds:
        waits = []
        for n in lengths:
            folder = train(layer_config(n, seed), study.out / f"layer-{n}-{seed}")
            metrics = [r for r in folder.records() if "eval" in r]
            learned = [1 - r["eval"]["loss"][0] for r in metrics]
            step = onset([r["step"] for r in metrics], learned, 0.5).step
            waits.append(math.inf if step is None else float(step))
            study.keep("attention", length=n, seed=seed, value=waits[-1])
        unlearned += int(np.isinf(waits).sum())
        slopes.append(slope(lengths, waits))
    finite = [s for s in slopes if math.isfinite(s)]
    text = f"{len(seeds)} seeds x L {', '.join(map(str, lengths))}, 1500 steps of batch 16"
    note = f"{unlearned} of {len(seeds) * len(lengths)} runs did not learn in time; n counts seeds; softmax averages "
    note += "tokens (1/L) where the theory's networks sum them (1/sqrt L), which weakens the layer's gradient"
    if len(finite) < len(slopes) or not finite:
        return [study.exact("attention-length", math.nan, condition="one head", budget=text, note=note)]
    return [study.row("attention-length", finite, condition="one head", budget=text, note=note)]
