"""What one checkpoint of an analysis costs, as a straight line in what it grows with: the sentence on its page.

CPU seconds of one thread at three sizes, the smallest of `REPEATS` times each, and the least-squares line through
them. `off` is the largest distance of a time from the line, as a share of the time. Models are untrained (values do not
change the cost), but for hop growth, whose paths are those of heads that reach, so a hand-constructed net is measured.
Reading the checkpoint and the untrained control, once a run, are left out. Times are of the machine that measured.

    python -m tests.bench.cost_models [NAME ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from interp.analysis.base import CHUNK, Analysis
from interp.config.run import configure
from interp.heads.growth import HopGrowth
from interp.heads.heads import HeadScores
from interp.landscape.landscape import Curvature
from interp.landscape.llc import LearningCoefficient
from interp.models.build import build_model
from interp.models.constructed_hops import constructed_doubling
from interp.readouts.readouts import Readouts
from interp.readouts.strategies import Strategies
from tasks.base import Task

REPEATS = 5
CHAINS, BURN_IN, HEADS = 2, 20, 4
Work = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class CostModel:
    """One analysis: its `page`, what it grows with (`per`, the word for one of them), where it was measured."""

    page: str
    per: str
    sizes: tuple[int, ...]
    setting: str
    work: Callable[[int], Work]


@dataclasses.dataclass(frozen=True)
class Line:
    """Seconds = `start` + `slope` x size, and how far the times lie from that, at most."""

    start: float
    slope: float
    off: float


def line(sizes: Sequence[float], times: Sequence[float]) -> Line:
    """The least-squares line.

    >>> line((1, 2, 4), (3.0, 5.0, 9.0))
    Line(start=1.0, slope=2.0, off=0.0)
    """
    slope, start = (round(float(x), 12) for x in np.polyfit(sizes, times, 1))
    missed = np.abs(start + slope * np.array(sizes) - np.array(times)) / np.array(times)
    return Line(start, slope, round(float(missed.max()), 12))


def sentence(model: CostModel, found: Line) -> str:
    """What stands on the page."""
    sizes = ", ".join(map(str, model.sizes))
    grows = f"{found.start:.2g} s + {found.slope:.2g} s x {model.per}s"
    return (
        f"A checkpoint costs {grows} of one core; measured at {sizes} {model.per}s ({model.setting}), "
        f"off by at most {math.ceil(round(100 * found.off, 6))}%."
    )


def checkpoint(analysis: Analysis, model: Any, task: Task) -> Work:
    """One checkpoint's share of an analysis: forward passes of its own chunks, and the table."""

    def work() -> Any:
        names, accumulator = analysis.hooks(model), analysis.accumulator(model, task, None)
        for chunk in range(analysis.chunks):
            batch = analysis.distribution(task, chunk).sample(0, "analysis", chunk, CHUNK)
            with torch.no_grad():
                outputs, cache = model.run_with_cache(batch.inputs, names_filter=names)
            accumulator.add(chunk, batch, outputs, cache)
        return accumulator.table()

    return work


def of_preset(preset: str, analysis: Analysis, **changes: Any) -> Work:
    """An analysis of a preset's untrained model, with some of its settings changed."""
    config = configure(preset, changes={f"model.{name}": value for name, value in changes.items()})
    return checkpoint(analysis, build_model(config.model, config.task.interface, 0).eval(), config.task)


def growth(prompts: int) -> Work:
    """Hop growth of a net of three layers that doubles its reach."""
    net = constructed_doubling(3, vocab=16, distractors=6)
    return checkpoint(HopGrowth(prompts=prompts), net.model, net.task)


def chains(gradients: int) -> Work:
    """Chains of the learning coefficient that take so many gradients in all."""
    draws = gradients // CHAINS - BURN_IN
    analysis = LearningCoefficient(chains=CHAINS, draws=draws, burn_in=BURN_IN, step=1e-6)
    return of_preset("retrieval", analysis)


MODELS: dict[str, CostModel] = {
    "head scores": CostModel(
        "head-scores", "head", (8, 16, 32), "preset `retrieval` of 2, 4 and 8 layers, 1,024 prompts",
        lambda heads: of_preset("retrieval", HeadScores(), n_layers=heads // HEADS),
    ),
    "readouts": CostModel(
        "readouts", "site", (3, 5, 9), "preset `regression` of 2, 4 and 8 layers, 2,048 prompts",
        lambda sites: of_preset("regression", Readouts(), n_layers=sites - 1),
    ),
    "learning coefficient": CostModel(
        "learning-coefficient", "gradient", (80, 160, 320),
        f"preset `retrieval`, minibatches of 32, {CHAINS} chains; a gradient is a draw or a step of burn-in of a chain",
        chains,
    ),
    "curvature": CostModel(
        "curvature", "prompt", (32, 64, 128), "preset `retrieval`, 32 probes",
        lambda prompts: of_preset("retrieval", Curvature(prompts=prompts)),
    ),
    "strategies": CostModel(
        "strategies", "prompt", (64, 128, 256), "preset `markov`, 500 draws of the bootstrap",
        lambda prompts: of_preset("markov", Strategies(prompts=prompts)),
    ),
    "growth": CostModel(
        "growth", "prompt", (32, 64, 128), "a hand-constructed doubling net of 3 layers and 7 hops, 6 distractor heads",
        growth,
    ),
}  # fmt: skip


def seconds(works: Sequence[Work], repeats: int = REPEATS) -> list[float]:
    """The smallest CPU time of each, in turns (what else runs meets all of them), after a turn that does not count."""
    turns = [[_spent(work) for work in works] for _ in range(repeats + 1)][1:]
    return [min(times) for times in zip(*turns, strict=True)]


def _spent(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print each page's sentence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all by default")
    asked = parser.parse_args().names or list(MODELS)
    if unknown := [name for name in asked if name not in MODELS]:
        parser.error(f"no cost model of {unknown[0]!r}: there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    for name in asked:
        model = MODELS[name]
        times = seconds([model.work(size) for size in model.sizes])
        print(f"{name}: {sentence(model, line(model.sizes, times))}", flush=True)
        print(f"  times {', '.join(f'{t:.3g}' for t in times)}", flush=True)


if __name__ == "__main__":
    main()
