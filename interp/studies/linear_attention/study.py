"""Study: linear attention is (maybe) all you need to understand transformer optimisation (Ahn et al.).

Owns the claims and how each is judged; `linear_attention_runs` trains and measures. Ratios are SGD over
Adam unless the claim says otherwise, geometric means over seeds with Student's t on the log scale. What the
rows do not show: causes. An optimiser that is faster where curvature is milder may be so for another
reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.landscape.tails import asymmetry, tail
from interp.run import Run
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_attention import figures as figures
from interp.studies.linear_attention import paths as curves
from interp.studies.linear_attention import runs as runs
from interp.studies.linear_attention.claims import CLAIMS
from interp.studies.linear_attention.floors import deep, lemma
from interp.studies.linear_attention.runs import Sizes
from interp.studies.linear_common import Bench, Say

NAME = "linear-attention"
SEEDS = {"quick": 3, "cpu": 6, "paper": 6}
LOSS_WORDS = (
    "Training loss of one batch, median over seeds in their range; squared error of labels as they are drawn."
)
TABLE_WORDS = (
    "Above 1, SGD's path is worse conditioned (R, max over median of |H_ii|), rougher, or ends higher."
)
NOISE_WORDS = (
    "Batches of 1000 prompts at the weights of the first seed's start. The slower a line falls, the heavier."
)
DEPTH_WORDS = "Rates of both optimisers are the best of a grid at every depth. Above 1, Adam ends lower."
SOFTMAX_WORDS = f"{LOSS_WORDS} Rates of the softmax nets are the best of a grid; their runs are shorter."


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to 3 (quick) or 6."""
    chosen = tuple(range(SEEDS[scale])) if seeds is None else tuple(seeds)
    bench, sizes = Bench(NAME, scale, out, chosen, say), runs.SIZES[scale]
    rows: list[Row] = []
    for part in (lemma, deep, gaps, conditions, paths, tails, depth, softmax, features):
        say(f"{NAME}: {part.__name__}")
        rows += part(bench, sizes)
    write_page(
        out / f"figures-{scale}.html", "Shallow linear transformers: what is learned, and how", bench.parts
    )
    return Ledger(NAME, scale, chosen, tuple(rows))


def _gap(
    bench: Bench, sizes: Sizes, name: str, *, above: str = "sgd", below: str = "adam", **model
) -> list[float]:
    """Final loss of one optimiser over another's, seed by seed; 0, infinite or NaN where an arm diverged."""
    arms = [runs.arm(bench, sizes, name, optimiser, **model) for optimiser in (above, below)]
    return [runs.final_loss(a) / runs.final_loss(b) for a, b in zip(*arms, strict=True)]


def _rates(bench: Bench, sizes: Sizes, name: str, **model) -> str:
    """The learning rates of both optimisers, in words."""
    arms = {o: runs.arm(bench, sizes, name, o, **model)[0] for o in ("sgd", "adam")}
    unit = runs.label_variance(arms["sgd"])
    return f"{arms['sgd'].config.train.lr / unit:g}/{arms['adam'].config.train.lr:g}"


def gaps(bench: Bench, sizes: Sizes) -> list[Row]:
    """Who ends lower, in each data setting."""
    for name in runs.LINEAR:
        arms = {optimiser: runs.arm(bench, sizes, name, optimiser) for optimiser in ("sgd", "adam")}
        arms |= {"sign": runs.arm(bench, sizes, name, "sign")} if name == "S1" else {}
        bench.show(figures.loss_figure(arms), f"Adam beside SGD with momentum: {name}", LOSS_WORDS)
    words: dict[str, Any] = {
        "arm": "three layers, gd++ family",
        "budget": f"{sizes.steps} steps of 1000 prompts",
    }
    return [
        *(bench.ratios(CLAIMS[f"gap-{name}"], _gap(bench, sizes, name), **words) for name in runs.LINEAR),
        bench.ratios(CLAIMS["gap-sign"], _gap(bench, sizes, "S1", below="sign"), **words),
    ]


def conditions(bench: Bench, sizes: Sizes) -> list[Row]:
    """Robust condition numbers along both paths, by the diagonal that the paper measures; by eigenvalues in the
    notes. The paper's table, in the paper's own summary, goes to the page.
    """
    rows = []
    for name in ("S1", "S2", "S3"):
        sgd, adam = (runs.arm(bench, sizes, name, optimiser) for optimiser in ("sgd", "adam"))
        asked = [step for step in runs.HESSIANS if (name, step) != ("S2", 250)]
        rows += [_condition(bench, name, step, sgd, adam) for step in asked]
        table = figures.beside_the_paper(sgd, adam, [step for step in asked if step != 250], name)
        bench.show(table, f"Beside the paper's figures: {name}", TABLE_WORDS)
    return rows


def _condition(bench: Bench, name: str, step: int, sgd: list[Run], adam: list[Run]) -> Row:
    spectral = _geometric(figures.condition_ratios(sgd, adam, step, how="eigenvalues"))
    key = f"condition-{name}" if step == 750 else f"condition-{name}-{step}"
    return bench.ratios(
        CLAIMS[key], figures.condition_ratios(sgd, adam, step), arm="max over median of |H_ii|, zero rows counted",
        budget="1000 fixed prompts", note=f"by eigenvalues {spectral:.3g}",
    )  # fmt: skip


def _median_smoothness(run: Run) -> float:
    return float(curves.path(run)["directional smoothness"].median())


def _smoothness_ratio(arms: list[list[Run]]) -> list[float]:
    return [_median_smoothness(a) / _median_smoothness(b) for a, b in zip(*arms, strict=True)]


def paths(bench: Bench, sizes: Sizes) -> list[Row]:
    """Directional smoothness of both paths, and how it goes with the gradient along Adam's."""
    arms = [runs.arm(bench, sizes, "S1", optimiser) for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {"arm": "S1", "budget": f"one true step in {runs.EVERY}, 1000 fixed prompts"}
    fits = [curves.path_fit(run) for run in arms[1]]
    bench.show(
        figures.smoothness_figure({"sgd": arms[0][0], "adam": arms[1][0]}),
        "Curvature against the gradient (S1)", "One dot a true step of the first seed; lower is smoother.",
    )  # fmt: skip
    note = f"slopes {', '.join(f'{f.slope:.2f}' for f in fits)}"
    note += f"; negative curvature at {sum(f.negative for f in fits)} steps"
    return [
        bench.row(CLAIMS["smoothness"], _smoothness_ratio(arms), scale="log", **words),
        bench.row(CLAIMS["l0-l1"], [f.correlation for f in fits], note=note, **words),
    ]


def _noise(bench: Bench, name: str, draws: int, batch: int, **model) -> Float[Tensor, " draw"]:
    setting = runs.SETTINGS[name]
    return curves.noise_lengths(bench.seeds[0], setting, runs.net_of(name, **model), draws=draws, batch=batch)


def tails(bench: Bench, sizes: Sizes) -> list[Row]:
    """Tails of the gradient noise at the start, between settings and between depths."""
    lengths = {name: _noise(bench, name, sizes.noise_draws, 1000) for name in runs.LINEAR}
    bench.show(figures.noise_figure(lengths), "Gradient noise at the start", NOISE_WORDS)
    found = {name: tail(one) for name, one in lengths.items()}
    index = {name: one.q99_over_median.value for name, one in found.items()}
    words: dict[str, Any] = {
        "arm": "first seed's start, n counts draws",
        "budget": f"{sizes.noise_draws} batches of 1000",
    }
    rows = [
        bench.row(
            CLAIMS[f"noise-{name}"], curves.tail_ratio(found[name], found["S1"]),
            note=f"q99/median {index[name]:.2f} against {index['S1']:.2f}", **words,
        )
        for name in ("sphere", "S2", "S3")
    ]  # fmt: skip
    draws = 4 * sizes.noise_draws
    shallow, deepest = (tail(_noise(bench, "S1", draws, 50, layers=n)) for n in (2, 8))
    words = {"arm": "first seed's start, n counts draws", "budget": f"{draws} batches of 50"}
    return [*rows, bench.row(CLAIMS["noise-depth"], curves.tail_ratio(deepest, shallow), **words)]


def depth(bench: Bench, sizes: Sizes) -> list[Row]:
    """Slope of the log loss ratio on log depth, seed by seed; learning rates are searched at every depth."""
    layers = (2, 4, 6, 8)
    ratios = {n: _gap(bench, sizes, "S1", layers=n) for n in layers}
    bench.show(figures.depth_figure(layers, ratios), "The gap against depth (S1)", DEPTH_WORDS)
    slopes = [_log_slope(layers, [ratios[n][k] for n in layers]) for k in range(len(bench.seeds))]
    note = "ratio and rates SGD/Adam " + "; ".join(
        f"L={n}: {_geometric(ratios[n]):.2f} at {_rates(bench, sizes, 'S1', layers=n)}" for n in layers
    )
    budget = f"{sizes.depth_steps} steps, rates the best of a grid of those that come to the end"
    return [bench.values(CLAIMS["depth-gap"], slopes, arm="S1", budget=budget, note=note)]


def _geometric(values: Sequence[float]) -> float:
    finite = [math.log(v) for v in values if 0 < v < math.inf]
    return math.exp(sum(finite) / len(finite)) if finite else math.nan


def _log_slope(x: Sequence[int], y: Sequence[float]) -> float:
    """Least-squares slope of log y on log x; NaN where a y is 0, infinite or no number."""
    if not all(0 < v < math.inf for v in y):
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def softmax(bench: Bench, sizes: Sizes) -> list[Row]:
    """The same instruments on softmax attention with the same weights; learning rates are searched."""
    arms = [runs.arm(bench, sizes, "S1", optimiser, attention="softmax") for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "arm": "S1, softmax, three layers",
        "budget": f"{sizes.softmax_steps} steps of 1000 prompts, rates the best of a grid",
    }
    draws = max(sizes.noise_draws // 4, 200)
    linear, soft = (tail(_noise(bench, "S1", draws, 1000, attention=kind)) for kind in ("linear", "softmax"))
    both = dict(zip(("softmax, sgd", "softmax, adam"), arms, strict=True))
    both |= {f"linear, {name}": runs.arm(bench, sizes, "S1", name) for name in ("sgd", "adam")}
    bench.show(figures.loss_figure(both), "Softmax attention beside linear attention (S1)", SOFTMAX_WORDS)
    ends = [sum(map(runs.final_loss, arm)) / len(arm) for arm in arms]
    note = f"rates SGD/Adam {_rates(bench, sizes, 'S1', attention='softmax')}; mean losses {ends[0]:.3g}/{ends[1]:.3g}"
    fits = [curves.path_fit(run).correlation for run in arms[1]]
    return [
        bench.ratios(
            CLAIMS["softmax-gap"], _gap(bench, sizes, "S1", attention="softmax"), note=note, **words
        ),
        bench.row(CLAIMS["softmax-smoothness"], _smoothness_ratio(arms), scale="log", **words),
        bench.row(CLAIMS["softmax-l0-l1"], fits, **words),
        bench.row(
            CLAIMS["softmax-noise"], curves.tail_ratio(soft, linear), arm="first seed's start, n counts draws",
            budget=f"{draws} batches of 1000",
        ),
    ]  # fmt: skip


def features(bench: Bench, sizes: Sizes) -> list[Row]:
    """The non-linear variant: targets linear in a frozen net, a trained net before full linear attention."""
    arms = [runs.arm(bench, sizes, "mlp", optimiser) for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "arm": "ReLU net 5-30-5, three full layers",
        "budget": f"{sizes.mlp_steps} steps of 2000 prompts",
    }
    draws = max(sizes.noise_draws // 4, 200)
    setting = runs.SETTINGS["mlp"]
    lengths = curves.noise_lengths(bench.seeds[0], setting, runs.FEATURES, draws=draws, batch=1000)
    named: dict[str, list[Run]] = {"sgd": arms[0], "adam": arms[1]}
    bench.show(figures.loss_figure(named), "Targets through a frozen ReLU net", LOSS_WORDS)
    ends = [_geometric([runs.final_loss(run) for run in arm]) for arm in arms]
    return [
        bench.ratios(
            CLAIMS["mlp-gap"], _gap(bench, sizes, "mlp"), note=f"losses {ends[0]:.3g}/{ends[1]:.3g}", **words
        ),
        bench.ratios(CLAIMS["mlp-condition"], figures.condition_ratios(arms[0], arms[1], 750), **words),
        bench.row(
            CLAIMS["mlp-noise"], asymmetry(lengths), arm="first seed's start, n counts draws",
            budget=f"{draws} batches of 1000",
        ),
    ]  # fmt: skip
