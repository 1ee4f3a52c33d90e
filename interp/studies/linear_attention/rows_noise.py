"""Rows of the landscape study on gradient noise at the start of training: its tails, between settings and depths.

The unit is the start of a training seed: draws of the noise give one tail index (its 99% quantile over its median) a
start, and intervals are over starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from interp.landscape.tails import asymmetry, tail
from interp.studies.ledger import Row
from interp.studies.linear_attention import figures, runs
from interp.studies.linear_attention import measure_paths as curves
from interp.studies.linear_attention.runs import Study
from probes.stats import share

NOISE_WORDS = (
    "Batches of 1000 prompts at the weights of the first seed's start. The slower a line falls, the heavier."
)


def _lengths(study: Study, name: str, seed: int, draws: int, batch: int, **model) -> Float[Tensor, " draw"]:
    setting = runs.SETTINGS[name]
    return curves.noise_lengths(seed, setting, runs.net_of(name, **model), draws=draws, batch=batch)


def _starts(study: Study) -> tuple[int, ...]:
    return runs.first_seeds(study, study.budget.noisy)


def _few(study: Study) -> int:
    """Draws at a start of nets whose gradients are dear."""
    return max(study.budget.noise_draws // 2, 200)


def _indices(study: Study, name: str, draws: int, batch: int, **model) -> list[float]:
    """Tail index of every start."""
    found = [_lengths(study, name, seed, draws, batch, **model) for seed in _starts(study)]
    return [tail(lengths).q99_over_median.value for lengths in found]


def tails(study: Study) -> list[Row]:
    """Tails between settings, between depths, and of softmax attention beside linear."""
    draws, first = study.budget.noise_draws, study.seeds[0]
    drawn = {name: _lengths(study, name, first, draws, 1000) for name in runs.LINEAR}
    study.show(figures.noise_figure(drawn), "Gradient noise at the start", NOISE_WORDS)
    index = {name: _indices(study, name, draws, 1000) for name in runs.LINEAR}
    budget = f"{draws} batches of 1000 a start"
    rows = [
        _ratio(study, f"noise-{name}", index[name], index["S1"], budget) for name in ("sphere", "S2", "S3")
    ]
    soft = _indices(study, "S1", _few(study), 1000, attention="softmax")
    fewer = f"{_few(study)} batches of 1000 a start, {draws} of linear attention"
    rows.append(_ratio(study, "softmax-noise", soft, index["S1"], fewer))
    shallow, deepest = (_indices(study, "S1", 2 * draws, 50, layers=n) for n in (2, 8))
    return [
        *rows,
        _ratio(study, "noise-depth", deepest, shallow, f"{2 * draws} batches of 50 a start"),
        _skew(study),
    ]


def _ratio(study: Study, claim: str, top: Sequence[float], bottom: Sequence[float], budget: str) -> Row:
    """A ratio of two tail indices, start by start."""
    ratios = [a / b for a, b in zip(top, bottom, strict=True)]
    note = f"q99/median of the first start {top[0]:.2f} against {bottom[0]:.2f}"
    return study.ratios(claim, ratios, condition="starts of the seeds", budget=budget, note=note)


def _skew(study: Study) -> Row:
    """In how many starts of the net with features the noise is skewed to the right."""
    draws, setting = _few(study), runs.SETTINGS["mlp"]
    found = [
        asymmetry(curves.noise_lengths(seed, setting, runs.FEATURES, draws=draws, batch=1000)).value
        for seed in _starts(study)
    ]
    note = "asymmetries " + ", ".join(f"{value:.3g}" for value in found)
    return study.row(
        "mlp-noise", share(sum(value > 1 for value in found), len(found)), condition="starts of the seeds",
        budget=f"{draws} batches of 1000 a start", note=note,
    )  # fmt: skip
