"""Rows of the landscape study on what is learned, not how: Lemma 1, floors, basins, gold weights, causal checks.

Nets of two and three layers at a minimum of the averaged loss (`linear_attention_deep`). GD++ is trained by Adam at
`RATE`, the rate of Ahn et al. 2306.00297 for it, and for comparison at `SLOW` and by L-BFGS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import torch

from interp.models.linear_weights import read_model
from interp.studies.ledger import Row
from interp.studies.linear_attention import measure_depth as depths
from interp.studies.linear_attention import runs as runs
from interp.studies.linear_attention.figures import preconditioner_figure
from interp.studies.linear_attention.runs import LandscapeBudget, Study
from probes.stats import share
from tasks.regression import InContextRegression

RATE, SLOW = 0.1, 0.02
B_WORDS = (
    "First seed. Above: read off trained weights. Below: the scalar optimum. A column has one colour scale."
)
A_WORDS = f"{B_WORDS} Steps of plain descent commute, so the layers are in the order of their steps."
ROTATED = InContextRegression(
    d=5, n=20, layout="merged", eigenvalues=(1.0, 1.0, 0.25, 0.0625, 1.0), x_scale=(3.3125 / 5) ** 0.5,
    basis="fixed", prior="inverse-covariance",
)  # fmt: skip


def lemma(study: Study) -> list[Row]:
    """Lemma 1, the largest error over the seeds."""
    return [
        study.exact(
            f"lemma-{dtype}", max(depths.lemma_error(dtype, seed) for seed in study.seeds),
            condition="random A, three layers", budget=f"256 prompts, {len(study.seeds)} seeds",
        )
        for dtype in ("float32", "float64")
    ]  # fmt: skip


def deep(study: Study) -> list[Row]:
    """Nets of two and three layers at their minimum under the averaged loss."""
    return [*_descent(study), *_flattening(study)]


def _numbers(study: Study, count: int) -> list[range]:
    """The starts of every seed, by number."""
    return [range(100 * seed, 100 * seed + count) for seed in study.seeds]


def _descent(study: Study) -> list[Row]:
    """Plain descent (B = 0): floors, steps, and a rotated covariance."""
    plain = runs.SETTINGS["S1"].task
    words: dict[str, Any] = {
        "condition": "best of starts, L-BFGS on the averaged loss",
        "budget": f"{study.budget.spectra} prompts, {study.budget.restarts} starts a seed",
    }
    found = {
        n: [_fit(plain, n, s, study.budget) for s in _numbers(study, study.budget.restarts)] for n in (2, 3)
    }
    rotated = [_fit(ROTATED, 3, s, study.budget) for s in _numbers(study, study.budget.restarts)]
    study.show(
        _beside(found[3][0]), "Three layers of descent: A of each layer beside the scalar optimum", A_WORDS
    )
    study.show(_beside(rotated[0]), "The same under a rotated covariance, beside multiples of S^-1", A_WORDS)
    return [
        *(study.row(f"gd-{n}", _ratios(nets), scale="log", **words) for n, nets in found.items()),
        study.row("gold-steps", [_worst_step(net) for net in found[3]], **words),
        study.row("rotated-whitened", [max(net.distances(white=True)) for net in rotated], **words),
        study.row("rotated-raw", [min(net.distances(white=False)) for net in rotated], **words),
    ]


def _fit(
    task: InContextRegression, layers: int, starts: Sequence[int], sizes: LandscapeBudget
) -> depths.Deep:
    return depths.deep_fit(task, layers, False, starts, sizes.spectra)


def _ratios(nets: Sequence[depths.Deep]) -> list[float]:
    return [net.loss / net.reference for net in nets]


def _worst_step(net: depths.Deep) -> float:
    return _worst(sorted(net.steps), net.optimum.steps)


def _worst(found: Sequence[float], expected: Sequence[float]) -> float:
    return max(abs(a / b - 1) for a, b in zip(found, expected, strict=True))


def _flattening(study: Study) -> list[Row]:
    """GD++: floors, basins by recipe, gold weights, and what B does."""
    plain, prompts = runs.SETTINGS["S1"].task, study.budget.spectra // 2
    numbers = _numbers(study, study.budget.starts)

    def trained(layers: int, rate: float) -> list[depths.Deep]:
        return depths.descended(plain, layers, numbers, prompts, rate=rate)

    def fitted(start: depths.Start) -> list[depths.Deep]:
        return [depths.deep_fit(plain, 3, True, s, prompts // 2, start=start) for s in numbers]

    two, three = trained(2, RATE), trained(3, RATE)
    words: dict[str, Any] = {
        "condition": f"best of random starts, Adam at rate {RATE:g} on the averaged loss",
        "budget": f"2000 steps of 128 prompts, {study.budget.starts} starts a seed",
    }
    study.show(_beside(three[0]), "Three layers of GD++: A and B beside the scalar optimum", B_WORDS)
    far = [max(net.far) for net in three]
    weights = "; ".join(_shown(net) for net in three)
    return [
        study.row("gd++-2", _ratios(two), scale="log", **words),
        study.row("gd++-3", _ratios(three), scale="log", **words),
        _basin(study, "basins-random", three, f"Adam at rate {RATE:g}"),
        _basin(study, "basins-slow", trained(3, SLOW), f"Adam at rate {SLOW:g}"),
        _basin(study, "basins-lbfgs", fitted("random"), "L-BFGS on fixed prompts"),
        _basin(study, "basins-scalar", fitted("scalar"), "L-BFGS on fixed prompts"),
        study.row("gd++-identity", far, note="worst of a seed's starts", **words),
        study.row("gold-gd++", [_worst_gold(net) for net in three], note=weights, **words),
        *_causal(study, three),
    ]


def _basin(study: Study, claim: str, nets: Sequence[depths.Deep], how: str) -> Row:
    """Which share of the starts ends within 5% of the minimum, and where all of them end."""
    reached = sorted(end for net in nets for end in net.reached)
    note = f"loss / minimum of the starts: {', '.join(f'{end:.2f}' for end in reached)}; largest Dist to the identity "
    note += f"{', '.join(f'{d:.2f}' for d in sorted(d for net in nets for d in net.far))}; n counts starts"
    found = share(sum(end < 1.05 for end in reached), len(reached))
    return study.row(
        claim, found, condition=f"three layers, {how}", budget=f"{len(reached)} starts", note=note
    )


def _beside(net: depths.Deep) -> go.Figure:
    """Recovered matrices of every layer above those of the scalar optimum: a S^-1 for A, b I for B.

    Steps of plain descent commute, so the layers are shown in the order of their steps, as the optimum is.
    """
    inverse, eye = torch.linalg.inv(net.covariance), torch.eye(len(net.covariance)).double()
    A = [reading.preconditioner for reading in read_model(net.model)]
    order = range(len(A)) if net.optimum.flattening else sorted(range(len(A)), key=net.steps.__getitem__)
    found = {f"A, layer {k}": A[k] for k in order}
    theory = {f"{a:.3g} S^-1": a * inverse for a in net.optimum.steps}
    for k, b in enumerate(net.optimum.flattening):
        found[f"B, layer {k}"] = net.model.layers[k].B.detach()
        theory[f"{b:.3g} I"] = b * eye
    return preconditioner_figure(found, theory)


def _worst_gold(net: depths.Deep) -> float:
    return _worst([*net.steps, *net.flattening], [*net.optimum.steps, *net.optimum.flattening])


def _shown(net: depths.Deep) -> str:
    a, b = (", ".join(f"{v:.3g}" for v in values) for values in (net.steps, net.flattening))
    return f"a {a}, b {b}"


def _causal(study: Study, nets: Sequence[depths.Deep]) -> list[Row]:
    """What is left of GD++ nets without their B, as they are and after refitting the rest."""
    plain = runs.SETTINGS["S1"].task
    pairs = zip(nets, study.seeds, strict=True)
    cut = [depths.without_flattening(net, plain, study.budget.spectra, seed) for net, seed in pairs]
    fits = [
        depths.deep_fit(plain, 3, True, starts, study.budget.spectra, fixed_b=True)
        for starts in _numbers(study, study.budget.restarts)
    ]
    words: dict[str, Any] = {
        "condition": "three layers of GD++, B = 0",
        "budget": f"{study.budget.spectra} prompts",
    }
    return [
        study.row("ablation", cut, scale="log", **words),
        study.row("refit", _ratios(fits), scale="log", **words),
    ]
