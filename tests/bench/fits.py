"""Cost models of analyses, fitted: CPU seconds at three sizes of one thing at a time, and the power it grows with.

Everything else is held at the middle size. The power is that of a least-squares line through logarithms; `spread` is
the largest ratio of a measured time to the line's. One thread, the smallest of `repeats` times. Times are of this
machine; powers are what the page on cost gives.

    python -m tests.bench.fits
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import torch

from interp.causal.attribution import attribute_edges
from interp.causal.engine import FastEngine
from interp.causal.metrics import custom
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import grid
from interp.landscape.langevin import model_slopes
from interp.models.build import build_model
from tasks.base import Interface
from tasks.regression import InContextRegression

MIDDLE = {"layers": 3, "width": 32, "positions": 21, "prompts": 32}
SIZES = {"layers": (2, 3, 5), "width": (16, 32, 64), "positions": (11, 21, 41), "prompts": (16, 32, 64)}
HEADS = 4
Setting = dict[str, int]


def power(sizes: Iterable[float], times: Iterable[float]) -> tuple[float, float]:
    """The power that times grow with, and the largest ratio of a time to the fitted line (1: all lie on it).

    >>> [round(x, 6) for x in power((1, 2, 4), (3, 12, 48))]
    [2.0, 1.0]
    """
    x, y = (torch.tensor([math.log(v) for v in values]) for values in (list(sizes), list(times)))
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    rest = y - y.mean() - slope * (x - x.mean())
    return float(slope), float(rest.abs().max().exp())


def net(at: Setting) -> tuple[Any, torch.Tensor]:
    """An untrained net of a size (values do not change the cost) and two batches of prompts."""
    face = Interface(
        inputs="continuous", n_ctx=at["positions"], d_in=8, d_out=1, output_positions=(at["positions"] - 1,)
    )
    settings = TransformerConfig(n_layers=at["layers"], n_heads=HEADS, d_model=at["width"])
    draws = torch.randn(2, at["prompts"], at["positions"], 8, generator=torch.Generator().manual_seed(0))
    return build_model(settings, face, 0).eval(), draws


def patching(by: tuple[str, ...]) -> Callable[[Setting], Callable[[], Any]]:
    """Patches of every head's output."""

    def made(at: Setting) -> Callable[[], Any]:
        model, (clean, corrupt) = net(at)
        last = at["positions"] - 1
        metric = custom("output", lambda outputs: outputs[:, last, 0], (last,))
        sites = grid(model, "z", at["positions"], by=by)
        with torch.no_grad():
            cache = model.run_with_cache(clean, return_cache_object=False)[1]
        return lambda: FastEngine(model, corrupt, metric).values(sites, cache)

    return made


def edges(steps: int) -> Callable[[Setting], Callable[[], Any]]:
    """An attribution estimate of every edge."""

    def made(at: Setting) -> Callable[[], Any]:
        model, (clean, corrupt) = net(at)
        last = at["positions"] - 1
        metric = custom("output", lambda outputs: outputs[:, last, 0], (last,))
        return lambda: attribute_edges(model, clean, corrupt, metric, ig_steps=steps)

    return made


def chain(at: Setting) -> Callable[[], Any]:
    """Twenty gradients, as a chain of the learning coefficient takes them; `positions` are two an example."""
    task = InContextRegression(d=4, n=(at["positions"] - 1) // 2)
    settings = TransformerConfig(n_layers=at["layers"], n_heads=HEADS, d_model=at["width"])
    model = build_model(settings, task.interface, 0).eval()
    slopes, start = model_slopes(model, task, [task.sample(0, "llc", 0, at["prompts"])])
    return lambda: [slopes[0](start) for _ in range(20)]


WORK: dict[str, Callable[[Setting], Callable[[], Any]]] = {
    "patching, heads": patching(("layer", "head")),
    "patching, heads by position": patching(("layer", "head", "position")),
    "EAP": edges(0),
    "EAP-IG, 4 steps": edges(4),
    "learning coefficient": chain,
}


def fitted(repeats: int = 3, names: Iterable[str] = WORK) -> pd.DataFrame:
    """One row an analysis and thing that grows: seconds at the middle, power and spread."""
    rows = []
    for name in names:
        for what, sizes in SIZES.items():
            times = [_seconds(WORK[name]({**MIDDLE, what: size}), repeats) for size in sizes]
            slope, spread = power(sizes, times)
            rows.append(
                {"analysis": name, "grows": what, "seconds": times[1], "power": slope, "spread": spread}
            )
    return pd.DataFrame(rows)


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print the fits, one line an analysis."""
    torch.set_num_threads(1)
    table = fitted()
    wide = table.pivot(index="analysis", columns="grows", values="power")[list(SIZES)].loc[list(WORK)]
    wide.insert(0, "seconds", table.groupby("analysis", sort=False)["seconds"].min())
    wide["spread"] = table.groupby("analysis", sort=False)["spread"].max()
    print(wide.round(2).to_string())


if __name__ == "__main__":
    main()
