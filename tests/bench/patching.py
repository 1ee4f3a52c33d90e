"""Patching sweeps against TransformerLens' own loop, on one thread in one process: CPU seconds of both, the ratio.

Owns: the grids of `causal.patching` on the model that the comparison is stated for (4 layers, 8 heads, width 64,
batch 64, 41 positions, causal), with a metric at the last position and at all positions, the screen of all sites by
gradients, and the same grids on a smaller and a larger model. The baseline runs one full forward pass a site, so a
stated sample of its sites is timed and multiplied (`n`); project is timed whole. Both take turns; a row holds the
smallest time of each and the spread of the ratio. `limit` is project over the time that the sweep's own matrix products
would take at the rate of the model's largest one. Values must agree to 1e-5 on the sample, or the row is refused.

Left out of the table: auto-circuit (1.0.1, the newest on the index) installs beside our pins, but it imports
`transformer_lens.past_key_value_caching`, which TransformerLens 4 no longer has. It does run in an environment of its
own, where the same weights are given to it: `tests.peers` compares numbers and time of edge attribution. EAP-IG is not
on the index.

    python -m tests.bench.patching [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from interp.causal.attribution import attribute_sites
from interp.causal.engine import FastEngine
from interp.causal.metrics import Metric, custom
from interp.causal.reference import LensEngine
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import Site, grid
from interp.models.build import build_model
from tasks.base import Batch, Interface, Pair
from tasks.errors import UserError
from tasks.streams import generator

POSITIONS, WIDTH_IN, BATCH = 41, 20, 64
SWEEPS = (
    ("resid_pre by position", "resid_pre", ("layer", "position")),
    ("head_out by position", "head_out", ("layer", "head", "position")),
    ("head_out, all positions", "head_out", ("layer", "head")),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """Seconds of both for one sweep, baseline / project, its least and largest value over repeats, project / limit."""

    name: str
    project: float
    baseline: float
    ratio: float
    spread: str
    limit: float
    n: int


@dataclasses.dataclass(frozen=True)
class Size:
    """A model and its prompts; of grids by position every `apart`-th site is patched."""

    layers: int = 4
    heads: int = 8
    width: int = 64
    positions: int = POSITIONS
    batch: int = BATCH
    apart: int = 1

    @property
    def name(self) -> str:
        """As the table writes it."""
        some = f", a site in {self.apart} by position" if self.apart > 1 else ""
        return f"{self.layers} x {self.heads} x {self.width}, {self.positions} tokens{some}"


OTHERS = (Size(3, 4, 64, 13), Size(12, 8, 256, 81, batch=8, apart=53))


@dataclasses.dataclass(frozen=True)
class Setting:
    """The model and prompts that every sweep shares."""

    model: Any
    pair: Pair
    cache: dict[str, Tensor]


def setting(layers: int = 4) -> Setting:
    """The model that the comparison is stated for."""
    return setting_of(Size(layers))


def setting_of(size: Size) -> Setting:
    """An untrained model (values do not change the cost) and a pair of random prompts."""
    last, shape = size.positions - 1, (size.batch, size.positions)
    face = Interface(
        inputs="continuous", n_ctx=size.positions, d_in=WIDTH_IN, d_out=1, output_positions=(last,)
    )
    settings = TransformerConfig(n_layers=size.layers, n_heads=size.heads, d_model=size.width)
    model: Any = build_model(settings, face, 0).eval()
    draws = torch.randn(2, *shape, WIDTH_IN, generator=generator(0, "bench", 0))
    clean, corrupt = (Batch(x, torch.zeros(size.batch, 1)) for x in draws)
    pair = Pair("random", clean, corrupt, torch.ones(shape, dtype=torch.bool))
    with torch.no_grad():
        cache = model.run_with_cache(clean.inputs, return_cache_object=False)[1]
    return Setting(model, pair, cache)


def last_or_all(every: bool, positions: int = POSITIONS) -> Metric:
    """The mean output, at the last position or over all of them."""
    looked_at = tuple(range(positions)) if every else (positions - 1,)
    return custom("mean output", lambda o: o[:, list(looked_at), 0].mean(1), looked_at)


def rows(repeats: int = 3, sample: int = 24, layers: int = 4) -> list[Row]:
    """Every sweep with both metrics, then the gradient screen of all their sites. CPU seconds, one thread."""
    torch.set_num_threads(1)
    at = setting(layers)
    rate = matrix_rate(at.model)
    found = []
    for every in (False, True):
        metric, where = last_or_all(every), "all positions" if every else "last position"
        for name, component, by in SWEEPS:
            sites = grid(at.model, component, POSITIONS, by=by)
            found.append(_sweep(at, f"{name}, metric at {where}", sites, metric, repeats, sample, rate))
    return [*found, _screen(at, last_or_all(False), repeats, sample)]


def other_rows(size: Size, repeats: int = 3, sample: int = 12) -> list[Row]:
    """Every sweep at another size, the metric at the last position."""
    torch.set_num_threads(1)
    at, metric = setting_of(size), last_or_all(False, size.positions)
    rate, found = matrix_rate(at.model, size.batch * size.positions), []
    for name, component, by in SWEEPS:
        sites = grid(at.model, component, size.positions, by=by)
        some = sites[:: size.apart] if "position" in by else sites
        found.append(_sweep(at, f"{name}, {size.name}", some, metric, repeats, sample, rate))
    return found


def table(found: list[Row]) -> pd.DataFrame:
    """The rows as a table."""
    return pd.DataFrame([dataclasses.asdict(row) for row in found])


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of this process for one call, and what it returned."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def matrix_rate(model: Any, tokens: int = BATCH * POSITIONS) -> float:
    """Floating-point operations a second of the model's largest matrix product on a whole batch."""
    x, weight = torch.randn(tokens, model.cfg.d_model), model.blocks[0].mlp.W_in.detach()
    best = min(cpu_seconds(lambda: x @ weight)[0] for _ in range(30))
    return 2 * x.numel() * weight.shape[1] / max(best, 1e-7)


def _sweep(
    at: Setting, name: str, sites: list[Site], metric: Metric, repeats: int, sample: int, rate: float
) -> Row:
    some = sites[:: max(1, len(sites) // sample)]
    project, baselines = [], []
    for _ in range(repeats):
        seconds, values = cpu_seconds(
            lambda: FastEngine(at.model, at.pair.corrupt.inputs, metric).values(sites, at.cache)
        )
        project.append(seconds)
        seconds, theirs = cpu_seconds(
            lambda: LensEngine(at.model, at.pair.corrupt.inputs, metric).values(some, at.cache)
        )
        baselines.append(seconds * len(sites) / len(some))
        gap = float((values[:: max(1, len(sites) // sample)] - theirs).abs().max())
        if gap > 1e-5:
            raise UserError(f"{name}: the engines differ by {gap:.1e}; a benchmark of wrong numbers is none")
    with FlopCounterMode(display=False) as counter:
        FastEngine(at.model, at.pair.corrupt.inputs, metric).values(sites, at.cache)
    return _row(name, project, baselines, min(project) * rate / counter.get_total_flops(), len(some))


def _screen(at: Setting, metric: Metric, repeats: int, sample: int) -> Row:
    """All sites of the sweeps by gradients, against the baseline's exact loop: a screen, not the same numbers."""
    sites = [s for _, component, by in SWEEPS for s in grid(at.model, component, POSITIONS, by=by)]
    some = sites[:: max(1, len(sites) // sample)]
    loop = LensEngine(at.model, at.pair.corrupt.inputs, metric)
    project, baselines = [], []
    for _ in range(repeats):
        project.append(cpu_seconds(lambda: attribute_sites(at.model, at.pair, sites, metric))[0])
        baselines.append(cpu_seconds(lambda: loop.values(some, at.cache))[0] * len(sites) / len(some))
    return _row("first-order screen of all sites", project, baselines, float("nan"), len(some))


def _row(name: str, project: list[float], baselines: list[float], limit: float, n: int) -> Row:
    ratios = [baseline / own for own, baseline in zip(project, baselines, strict=True)]
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    return Row(name, min(project), min(baselines), min(baselines) / min(project), spread, limit, n)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one repeat, few sites of the baseline")
    quick = parser.parse_args().quick
    found = rows(1, 8) if quick else rows()
    for size in OTHERS[: 1 if quick else None]:
        found += other_rows(size, 1 if quick else 3)
    print(table(found).to_string(index=False, float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    main()
