"""The comparisons that live in modules of their own (patching, probes, stacked runs), as rows of the table."""

from __future__ import annotations

import dataclasses

from interp.causal.engine import FastEngine
from interp.causal.reference import LensEngine
from interp.config.run import configure
from interp.hooks.sites import grid
from tests.bench import patching, readouts, stacked
from tests.bench.rows import Row, peak_mb, weighed

QUICK = {"model.n_layers": 2, "model.d_model": 32}


def patching_rows(quick: bool) -> list[Row]:
    """Each sweep at each metric; the baseline's time is that of a sample of its sites, multiplied."""
    layers, repeats = 2 if quick else 4, 1 if quick else 5
    found = [(row, repeats) for row in patching.rows(repeats, 4 if quick else 24, layers)]
    fewer = min(repeats, 3)
    for size in patching.OTHERS[: 1 if quick else None]:
        found += [(row, fewer) for row in patching.other_rows(size, fewer)]
    project_mb, baseline_mb = _peaks(layers)
    name = "TransformerLens loop"
    return [
        Row(
            _patching_name(row.name), row.project, row.baseline, name, 1 / row.ratio, *_inverted(row.spread),
            pairs, row.project / row.limit, row.limit, project_mb, baseline_mb,
            note=f"{row.n} of the baseline's sites timed; {layers} layers of 8 x 64, 41 tokens where none are named",
        )
        for row, pairs in found
    ]  # fmt: skip


def _patching_name(name: str) -> str:
    return f"attribution, {name}" if "first-order" in name else f"patching, {name}"


def _inverted(spread: str) -> tuple[float, float]:
    low, high = (float(end) for end in spread.split("-"))
    return 1 / high, 1 / low


def _peaks(layers: int) -> tuple[float, float]:
    at = patching.setting(layers)
    metric = patching.last_or_all(False)
    sites = grid(at.model, "head_out", patching.POSITIONS, by=("layer", "head"))
    inputs = at.pair.corrupt.inputs
    engines = (FastEngine(at.model, inputs, metric), LensEngine(at.model, inputs, metric))
    project, baseline = (peak_mb(lambda engine=engine: engine.values(sites, at.cache)) for engine in engines)
    return project, baseline


def probe_rows(quick: bool) -> list[Row]:
    """Readouts of a model against RidgeCV and a loop of Ridge fits; a calls' sample multiplied."""
    size = readouts.QUICK if quick else dataclasses.replace(readouts.Size(), layers=2)
    repeats = [readouts.readouts(size) for _ in range(1 if quick else 3)]
    limits = [next(row.baseline for row in found if "FLOP limit" in row.name) for found in repeats]
    rows = []
    for which, baseline_name in (
        ("RidgeCV", "scikit-learn RidgeCV"),
        ("loop of Ridge", "scikit-learn Ridge, a loop"),
    ):
        pairs = [next(row for row in found if which in row.name) for found in repeats]
        note = f"{size.layers} layers x {size.positions} reads x {size.targets} targets x {size.strengths} strengths"
        bare = Row(
            "probe sweep", 0.0, baseline_name=baseline_name, limit=min(limits), unit="s",
            note=f"{note}, {size.prompts} prompts; {pairs[0].n} of the baseline's designs timed",
            project_mb=_probe_memory(size),
        )  # fmt: skip
        rows.append(weighed(bare, [(pair.project, pair.baseline) for pair in pairs]))
    return rows


def _probe_memory(size: readouts.Size) -> float:
    def project() -> None:
        readouts._project(*readouts.activations(size, 0), size)

    return peak_mb(project)


def stacked_rows(quick: bool) -> list[Row]:
    """Four runs as one stack against one after the other, by batch size."""
    config = configure("retrieval", changes=QUICK if quick else {})
    batches = (16,) if quick else (16, 256)
    return stacked.stack_rows(config, batches, members=4, name="stacked runs", quick=quick)
