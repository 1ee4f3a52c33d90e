"""What the study of layers against Newton's method measures on one trained net.

Owns: feeding prompts to the algorithm probe's accumulator and the figures taken from it. A layer is a place in `sites`
(0: before the first block). Errors are in label variances. Which layers count is decided by controls: a block speaks
when its readout beats the untrained model, shuffled targets and the zero predictor; the climb of a family goes from the
first block that speaks to the first whose best step is the last block's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import CHUNK
from interp.models.resized import resized
from interp.readouts.algorithm_rows import silences
from interp.readouts.algorithms import AlgorithmAccumulator, AlgorithmMatch
from interp.readouts.probe_interventions import probe_interventions
from interp.run import Run
from probes import matching, stats
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.matching import Match
from probes.rivals import Ladder
from probes.stats import Interval
from tasks.regression import InContextRegression
from tasks.regression_layout import RegressionBatch


@dataclass(frozen=True)
class MatchedNet:
    """A trained net, read against every rival on held-out prompts of its own task."""

    run: Run
    accumulator: AlgorithmAccumulator
    draws: int
    matches: dict[str, Match] = field(default_factory=dict)
    alike: dict[str, Match] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, settings: AlgorithmMatch) -> MatchedNet:
        """Read the last checkpoint, and an untrained model."""
        untrained = fed(run, settings, run.untrained_model(), None)
        return cls(run, fed(run, settings, run.model("last"), untrained), settings.draws)

    @property
    def task(self) -> InContextRegression:
        return self.accumulator.task

    @property
    def answers(self) -> Float[Tensor, "prompt output"]:
        return self.accumulator.rivals.answers

    @cached_property
    def layers(self) -> Float[Tensor, "layer prompt output"]:
        """What every layer's readout predicts."""
        return torch.cat(self.accumulator.layers, 1)

    @cached_property
    def problems(self) -> Problems:
        """The test prompts as least-squares problems."""
        test = self.accumulator.splits["test"]
        return Problems.of(test.x(), test.y(), self.task.contexts)

    def outputs_of(self, kind: str) -> list[int]:
        """Places of the output positions with "all", "t<d", "t>d" or "t=n" examples."""
        d, n = self.task.d, self.task.n
        keep = {
            "all": lambda t: True,
            "t<d": lambda t: t < d,
            "t>d": lambda t: t > d,
            "t=n": lambda t: t == n,
        }
        return [i for i, t in enumerate(self.task.contexts) if keep[kind](t)]

    def errors(self, kind: str = "all") -> Float[Tensor, "layer"]:
        """Mean squared error of every layer, in label variances."""
        return self.errors_by_prompt(kind).mean(0)

    def errors_by_prompt(self, kind: str) -> Float[Tensor, "prompt layer"]:
        """Squared error of every layer on each prompt, in label variances."""
        places = self.outputs_of(kind)
        return (self.layers - self.answers)[..., places].square().mean(2).T / self.task.label_variance

    def distances(self, algorithm: Algorithm, kind: str) -> Float[Tensor, "prompt layer"]:
        """Mean squared distance of every layer to an algorithm's predictions, in label variances."""
        places, wanted = self.outputs_of(kind), algorithms.predictions(self.problems, [algorithm])[0]
        return (self.layers - wanted)[..., places].square().mean(2).T / self.task.label_variance

    def match(self, family: str) -> Match:
        """Similarity of errors to every step of a family."""
        if family not in self.matches:
            scores = matching.similarity_of_errors(
                self.layers, self.accumulator.rivals.predictions[family], self.answers
            )
            self.matches[family] = Match.of(scores, self._rung(family).k, self.draws)
        return self.matches[family]

    def match_finely(self, steps: Sequence[int]) -> Match:
        """`match` with gradient descent, with more `steps` between those of its ladder."""
        rung = self._rung("gd")
        every = sorted({*rung.k, *steps})
        members = [replace(rung.members[0], k=k) for k in every]
        scores = matching.similarity_of_errors(
            self.layers, algorithms.predictions(self.problems, members), self.answers
        )
        return Match.of(scores, every, self.draws)

    def match_weights(self, family: str) -> Match:
        """Similarity of induced weights to every step of a family."""
        if family not in self.alike:
            scores = matching.similarity_of_weights(self.weights, self.accumulator.rivals.weights[family])
            self.alike[family] = Match.of(scores, self._rung(family).k, self.draws)
        return self.alike[family]

    def _rung(self, family: str) -> Ladder:
        return next(rung for rung in self.accumulator.rivals.ladders if rung.family == family)

    def similarity(self, algorithm: Algorithm) -> Interval:
        """SimE of the last layer to one algorithm."""
        predicted = algorithms.predictions(self.problems, [algorithm])
        scores = matching.similarity_of_errors(self.layers[-1:], predicted, self.answers)
        return stats.bootstrap(scores.values[0, 0], draws=self.draws).one()

    @cached_property
    def weights(self) -> Float[Tensor, "layer prompt output d"]:
        """Induced weights at the output positions that have examples."""
        return torch.cat(self.accumulator.weighed, 1)

    @cached_property
    def speaking(self) -> list[int]:
        """Blocks whose readout beats every control."""
        silent = silences(self.accumulator)
        return [i for i, site in enumerate(self.accumulator.sites) if i > 0 and site not in silent]

    def climb(self, match: Match) -> list[int]:
        """Speaking blocks up to the first that reaches the last block's best step."""
        if not self.speaking:
            return []
        top = match.best[-1]
        stop = next((i for i in self.speaking if match.best[i] >= top), self.speaking[-1])
        return [i for i in self.speaking if i <= stop]

    def slope(self, match: Match, *, log2: bool = False) -> Interval:
        """Steps (or doublings) a layer over the climb; NaN where fewer than two layers climb."""
        blocks = self.climb(match)
        if len(blocks) < 2:
            return Interval(np.nan, np.nan, np.nan, self.layers.shape[1], "none: fewer than two layers climb")
        return match.slope(blocks, log2=log2)

    def straightness(self, match: Match) -> float:
        """R2 of a line through the best steps of the climb; NaN for fewer than three layers."""
        blocks = self.climb(match)
        if len(blocks) < 3:
            return float("nan")
        return float(np.corrcoef(blocks, [match.best[i] for i in blocks])[0, 1] ** 2)

    def order(self, errors: Float[Tensor, "prompt layer"]) -> Interval:
        """Order of convergence of a mean error over the speaking blocks: slope of log e_{l+1} on log e_l, the last
        step left out where three remain. NaN for fewer than three blocks.
        """
        if len(self.speaking) < 3:
            return Interval(np.nan, np.nan, np.nan, len(errors), "none: fewer than three layers speak")
        steps = max(2, len(self.speaking) - 2)

        def slope(means: Float[Tensor, "draw block"]) -> Float[Tensor, "draw"]:
            logs = means.log()
            x, y = logs[:, :steps], logs[:, 1 : steps + 1]
            x = x - x.mean(1, keepdim=True)
            return (x * y).sum(1) / x.square().sum(1)

        return stats.bootstrap(errors[:, self.speaking], slope, draws=self.draws).one()

    @cached_property
    def causal_slopes(self) -> dict[str, dict[int, float]]:
        """Causal slope of every speaking block's probe but the last's (which the output is read from), by family
        ("newton", "gd") and block; "random" holds the mean over directions moved equally far.
        """
        table = probe_interventions(
            self.run.model("last"), self.task, prompts=128, random=2, draws=self.draws
        )
        blocks = [i - 1 for i in self.speaking[:-1]]
        found = table[(table["metric"] == "causal slope") & table["layer"].isin(blocks)].dropna(
            subset="value"
        )
        found = found[found["control"].isin(("none", "random"))]
        conditions = found["algorithm"].where(found["control"] == "none", "random")
        means = found.groupby([conditions, "layer"])["value"].mean()
        return {
            condition: means[condition].to_dict() if condition in means else {}
            for condition in ("newton", "gd", "random")
        }

    def best_steps(self, family: str) -> Interval:
        """Best step of the last layer, with its interval over prompts."""
        match = self.match(family)
        k = torch.tensor(match.ladder, dtype=torch.float64)
        return stats.percentile(
            k[match.point[-1].argmax()], k[match.draws[:, -1].argmax(-1)], self.layers.shape[1]
        ).one()


def fed(
    run: Run, settings: AlgorithmMatch, model: Any, untrained: AlgorithmAccumulator | None
) -> AlgorithmAccumulator:
    """A model of the run, shown held-out prompts of the run's own task."""
    assert isinstance(run.task, InContextRegression)
    accumulator = settings.accumulator(model, run.task, untrained)
    names = settings.hooks(model)
    for chunk in range(settings.chunks):
        batch = run.task.sample(run.config.data_seed, "analysis", chunk, CHUNK)
        with torch.no_grad():
            outputs, cache = model.run_with_cache(batch.inputs, names_filter=names)
        accumulator.add(chunk, batch, outputs, cache)
    return accumulator


def answers_to(run: Run, task: InContextRegression, prompts: int) -> tuple[RegressionBatch, Tensor]:
    """Prompts of another task and what the run's net predicts on them, `[prompt, read]`.

    Raises UserError for longer prompts than in training where positions are learned.
    """
    model = resized(run.model("last"), task.interface)
    batch = task.sample(run.config.data_seed, "elsewhere", 0, prompts)
    with torch.no_grad():
        return batch, model(batch.inputs)[:, list(task.interface.output_positions), 0].double()


def relative_errors(run: Run, task: InContextRegression, prompts: int) -> Float[Tensor, "prompt output"]:
    """Squared errors of the net's output on prompts of a task, in that task's label variances."""
    batch, found = answers_to(run, task, prompts)
    return (found - batch.y).square() / task.label_variance


def forgetting(run: Run, prompts: int, ages: Sequence[int]) -> Float[Tensor, "prompt age"]:
    """Squared error (label variances) at the last read when its x repeats an example of a given age (1: newest)."""
    task = run.task
    assert isinstance(task, InContextRegression)
    batch = task.sample(run.config.data_seed, "forgetting", 0, prompts)
    model, found = run.model("last"), []
    for age in ages:
        inputs = batch.inputs.clone()
        inputs[:, 2 * task.n] = batch.x[:, task.n - age]
        with torch.no_grad():
            predicted = model(inputs)[:, 2 * task.n, 0]
        found.append((predicted - batch.y[:, task.n - age]).square().double() / task.label_variance)
    return torch.stack(found, 1)


def outside_span(
    weights: Float[Tensor, "prompt d"], x: Float[Tensor, "prompt t d"]
) -> Float[Tensor, "prompt"]:
    """Squared length of the weights' part outside the span of the examples."""
    basis = torch.linalg.qr(x.double().mT).Q
    return (weights - (basis @ (basis.mT @ weights[..., None]))[..., 0]).square().sum(-1)
