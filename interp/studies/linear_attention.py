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

from interp.run import Run
from interp.studies import linear_attention_runs as runs
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_attention_claims import CLAIMS
from interp.studies.linear_attention_runs import Sizes
from interp.studies.linear_nets import Bench, Say
from tasks.regression import InContextRegression

NAME = "linear-attention"
SEEDS = {"quick": 3, "cpu": 6, "paper": 6}


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to 3 (quick) or 6."""
    chosen = tuple(range(SEEDS[scale])) if seeds is None else tuple(seeds)
    bench, sizes = Bench(NAME, scale, out, chosen, say), runs.SIZES[scale]
    rows: list[Row] = []
    for part in (lemma, deep, gaps, conditions, paths, tails, depth, softmax):
        say(f"{NAME}: {part.__name__}")
        rows += part(bench, sizes)
    return Ledger(NAME, scale, chosen, tuple(rows))


def lemma(bench: Bench, sizes: Sizes) -> list[Row]:
    """Lemma 1, the largest error over the seeds."""
    return [
        bench.exact(
            CLAIMS[f"lemma-{dtype}"], max(runs.lemma_error(dtype, seed) for seed in bench.seeds),
            arm="random A, three layers", budget=f"256 prompts, {len(bench.seeds)} seeds",
        )
        for dtype in ("float32", "float64")
    ]  # fmt: skip


ROTATED = InContextRegression(
    d=5, n=20, layout="merged", eigenvalues=(1.0, 1.0, 0.25, 0.0625, 1.0), x_scale=(3.3125 / 5) ** 0.5,
    basis="fixed", prior="inverse-covariance",
)  # fmt: skip


def deep(bench: Bench, sizes: Sizes) -> list[Row]:
    """Nets of two and three layers at their minimum under the averaged loss."""
    words: dict[str, Any] = {
        "arm": "best of starts, L-BFGS on the averaged loss",
        "budget": f"{sizes.spectra} prompts (GD++ a quarter), {sizes.restarts} starts a seed",
    }
    plain = runs.SETTINGS["S1"].task

    def fits(task: InContextRegression, layers: int, flatten: bool, fixed_b: bool = False) -> list[runs.Deep]:
        starts = [range(100 * s, 100 * s + sizes.restarts) for s in bench.seeds]
        prompts = sizes.spectra // 4 if flatten else sizes.spectra
        return [runs.deep_fit(task, layers, flatten, s, prompts, fixed_b) for s in starts]

    found = {(n, f): fits(plain, n, f) for n in (2, 3) for f in (False, True)}
    rotated = fits(ROTATED, 3, False)
    ratio = {key: [net.loss / net.floor for net in nets] for key, nets in found.items()}
    worst = [
        max(abs(a / b - 1) for a, b in zip(sorted(net.steps), net.optimum.steps, strict=True))
        for net in found[3, False]
    ]
    cut = [
        runs.without_flattening(net, plain, sizes.spectra, s)
        for net, s in zip(found[3, True], bench.seeds, strict=True)
    ]
    return [
        *(
            bench.row(CLAIMS[f"{'gd++' if f else 'gd'}-{n}"], ratio[n, f], scale="log", **words)
            for n, f in found
        ),
        bench.row(CLAIMS["gold-steps"], worst, **words),
        bench.row(CLAIMS["rotated-whitened"], [max(net.distances(white=True)) for net in rotated], **words),
        bench.row(CLAIMS["rotated-raw"], [min(net.distances(white=False)) for net in rotated], **words),
        bench.row(CLAIMS["ablation"], cut, scale="log", **words),
        bench.row(
            CLAIMS["refit"], _refit(fits(plain, 3, True, fixed_b=True), found[3, False]), scale="log", **words
        ),
    ]


def _refit(without: list[runs.Deep], descent: list[runs.Deep]) -> list[float]:
    """Loss of the nets refitted with B = 0 over the floor of descent on the same prompts."""
    return [a.loss / b.floor for a, b in zip(without, descent, strict=True)]


def _gap(
    bench: Bench, sizes: Sizes, name: str, *, above: str = "sgd", below: str = "adam", **model
) -> list[float]:
    """Final loss of one optimiser over another's, seed by seed."""
    arms = [runs.arm(bench, sizes, name, optimiser, **model) for optimiser in (above, below)]
    return [runs.final_loss(a) / runs.final_loss(b) for a, b in zip(*arms, strict=True)]


def gaps(bench: Bench, sizes: Sizes) -> list[Row]:
    """Who ends lower, in each data setting."""
    words: dict[str, Any] = {
        "arm": "three layers, gd++ family",
        "budget": f"{sizes.steps} steps of 1000 prompts",
    }
    rows = [
        bench.row(CLAIMS[f"gap-{name}"], _gap(bench, sizes, name), scale="log", **words)
        for name in runs.SETTINGS
    ]
    return [
        *rows,
        bench.row(CLAIMS["gap-sign"], _gap(bench, sizes, "S1", below="sign"), scale="log", **words),
    ]


def _condition_ratio(bench: Bench, sizes: Sizes, name: str, step: int) -> list[float]:
    sgd, adam = (runs.arm(bench, sizes, name, optimiser) for optimiser in ("sgd", "adam"))
    return [
        runs.robust_condition(a, step) / runs.robust_condition(b, step)
        for a, b in zip(sgd, adam, strict=True)
    ]


def conditions(bench: Bench, sizes: Sizes) -> list[Row]:
    """Robust condition numbers along both paths, by the diagonal that the paper measures."""
    asked = {"S1-250": 250, "S3-250": 250, "S1": 750, "S2": 750, "S3": 750}
    return [
        bench.row(
            CLAIMS[f"condition-{key}"], _condition_ratio(bench, sizes, key[:2], step), scale="log",
            arm="max over median of |H_ii|, zero rows counted", budget="1000 fixed prompts",
        )
        for key, step in asked.items()
    ]  # fmt: skip


def _median_smoothness(run: Run) -> float:
    return float(runs.path(run)["directional smoothness"].median())


def _smoothness_ratio(arms: list[list[Run]]) -> list[float]:
    return [_median_smoothness(a) / _median_smoothness(b) for a, b in zip(*arms, strict=True)]


def paths(bench: Bench, sizes: Sizes) -> list[Row]:
    """Directional smoothness of both paths, and how it goes with the gradient along Adam's."""
    arms = [runs.arm(bench, sizes, "S1", optimiser) for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {"arm": "S1", "budget": f"one true step in {runs.EVERY}, 1000 fixed prompts"}
    fits = [runs.path_fit(run) for run in arms[1]]
    note = f"slopes {', '.join(f'{f.slope:.2f}' for f in fits)}"
    note += f"; negative curvature at {sum(f.negative for f in fits)} steps"
    return [
        bench.row(CLAIMS["smoothness"], _smoothness_ratio(arms), scale="log", **words),
        bench.row(CLAIMS["l0-l1"], [f.correlation for f in fits], note=note, **words),
    ]


def tails(bench: Bench, sizes: Sizes) -> list[Row]:
    """Tails of the gradient noise at the start, between settings and between depths."""
    found = {name: runs.noise(bench, name, draws=sizes.noise_draws, batch=1000) for name in runs.SETTINGS}
    index = {name: one.q99_over_median.value for name, one in found.items()}
    words: dict[str, Any] = {
        "arm": "first seed's start, n counts draws",
        "budget": f"{sizes.noise_draws} batches of 1000",
    }
    rows = [
        bench.row(
            CLAIMS[f"noise-{name}"], runs.tail_ratio(found[name], found["S1"]),
            note=f"q99/median {index[name]:.2f} against {index['S1']:.2f}", **words,
        )
        for name in ("sphere", "S2", "S3")
    ]  # fmt: skip
    draws = 4 * sizes.noise_draws
    shallow, deepest = (runs.noise(bench, "S1", draws=draws, batch=50, layers=n) for n in (2, 8))
    words = {"arm": "first seed's start, n counts draws", "budget": f"{draws} batches of 50"}
    return [*rows, bench.row(CLAIMS["noise-depth"], runs.tail_ratio(deepest, shallow), **words)]


def depth(bench: Bench, sizes: Sizes) -> list[Row]:
    """Slope of the log loss ratio on log depth, seed by seed."""
    layers = (2, 4, 6, 8)
    ratios = [_gap(bench, sizes, "S1", layers=n) for n in layers]
    x = [math.log(n) for n in layers]
    centre = sum(x) / len(x)
    slopes = [
        sum((a - centre) * math.log(r[seed]) for a, r in zip(x, ratios, strict=True))
        / sum((a - centre) ** 2 for a in x)
        for seed in range(len(bench.seeds))
    ]
    means = ", ".join(
        f"L={n}: {math.exp(sum(map(math.log, r)) / len(r)):.2f}" for n, r in zip(layers, ratios, strict=True)
    )
    return [bench.row(CLAIMS["depth-gap"], slopes, arm="S1", budget=f"{sizes.depth_steps} steps", note=means)]


def softmax(bench: Bench, sizes: Sizes) -> list[Row]:
    """The same instruments on softmax attention with the same weights."""
    arms = [runs.arm(bench, sizes, "S1", optimiser, attention="softmax") for optimiser in ("sgd", "adam")]
    words: dict[str, Any] = {
        "arm": "S1, softmax, three layers",
        "budget": f"{sizes.softmax_steps} steps of 1000 prompts",
    }
    linear, soft = (
        runs.noise(bench, "S1", draws=sizes.noise_draws // 4, batch=1000, attention=kind)
        for kind in ("linear", "softmax")
    )
    return [
        bench.row(CLAIMS["softmax-gap"], _gap(bench, sizes, "S1", attention="softmax"), scale="log", **words),
        bench.row(CLAIMS["softmax-smoothness"], _smoothness_ratio(arms), scale="log", **words),
        bench.row(CLAIMS["softmax-l0-l1"], [runs.path_fit(run).correlation for run in arms[1]], **words),
        bench.row(CLAIMS["softmax-noise"], runs.tail_ratio(soft, linear), **words),
    ]
