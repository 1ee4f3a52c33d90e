"""Which algorithm each layer's readout of a regression label resembles, checkpoint by checkpoint.

Owns: streaming prompts to the two instruments and choosing what they see. Matching compares a layer's held-out
predictions with every rival's ladder of steps; the filter verdict runs the model again on probe queries, reads each
layer with the readout that was fitted to it, and asks which spectral filter the outputs follow. Prompts are split by
chunk as in `interp.readouts.readouts`; sizes of the rivals are tuned on the "validation" prompts. Prompts are the same
at every checkpoint, so the rivals are computed once, with the untrained model.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.models.resized import resized
from interp.readouts import algorithm_rows
from interp.readouts.asked import Asked, Rivals, Split
from interp.readouts.iterates import RIVALS, Posed, check_families
from interp.readouts.readouts import ReadoutAccumulator, Readouts
from probes import induced
from probes.algorithms.problems import Step
from probes.contrast import Rows
from probes.filters import FilterConfig
from probes.readout import Readout
from probes.rivals import Ladder
from tasks import Batch, Task, UserError
from tasks.regression import InContextRegression
from tasks.regression_layout import RegressionBatch
from tasks.streams import generator

PASS = 512
QUICK_STEPS: tuple[Step, ...] = ("fixed", "norm")


class AlgorithmMatch(Readouts):
    """Matches, slopes, contrast and filter verdict of every residual site against rival algorithms.

    `context`: number of examples at which the filter and the contrast are read (None: as many as dimensions, where
    the eigenvalues of S are spread widest). `queries` a prompt (None: 2d + 2) for `filter_prompts` of the test
    prompts; induced weights are taken at every output position of `weight_prompts` of them. A family fits where its
    misfit is shown to be below `tau`, at a level corrected for all sites at `checkpoints` checkpoints
    (`for_checkpoints` raises that for longer runs). With `quick` sizes are tuned on the prompts that they are scored
    on, and steps are fixed or over |S|. `draws` resamples of prompts an interval. `families`, any of
    `interp.readouts.iterates`, are what layers are matched with; a filter verdict always knows those of
    `probes.filters`. With `shift` everything but the readouts and the sizes of the steps is taken on prompts of the
    other distribution.
    """

    name: ClassVar[str] = "algorithms"
    version: ClassVar[int] = 4
    runs_model: ClassVar[bool] = True

    families: tuple[str, ...] = RIVALS
    context: int | None = Field(default=None, ge=1)
    queries: int | None = Field(default=None, ge=2)
    filter_prompts: int = Field(default=512, ge=2)
    weight_prompts: int = Field(default=32, ge=2)
    tau: float = Field(default=0.01, gt=0, lt=1)
    checkpoints: int = Field(default=32, ge=1)
    quick: bool = False
    draws: int = Field(default=300, ge=2)

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> AlgorithmAccumulator:
        if not isinstance(task, InContextRegression):
            raise UserError(
                f"algorithms are matched on regression runs only: task {task.kind!r} has no least-squares iterates"
            )
        super().accumulator(model, task, None)  # the split of chunks is checked there
        asked = self.elsewhere(task)
        assert isinstance(asked, InContextRegression)
        self._check(asked)
        assert untrained is None or isinstance(untrained, AlgorithmAccumulator)
        fitting = resized(model, asked.interface) if self.shift else model
        return AlgorithmAccumulator(self, self.hooks(model), fitting, task, untrained)

    def _check(self, task: InContextRegression) -> None:
        at, number = self.at(task), self.asks(task)
        check_families(self.families)
        if at not in task.contexts or at == 0:
            raise UserError(f"context {at} is not read by this task: it reads {_spread(task)} examples")
        if number <= task.d:
            raise UserError(f"{number} probe queries cannot fix {task.d} weights: ask at least {task.d + 1}")

    def constants(self, model: Any, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        """The untrained model's own rows, filter verdict included."""
        assert isinstance(untrained, AlgorithmAccumulator)
        return algorithm_rows.as_control(untrained.table())

    def at(self, task: InContextRegression) -> int:
        """The context length of filter and contrast."""
        if self.context is not None:
            return self.context
        return task.n if task.layout == "merged" else min(task.d, task.n)

    def asks(self, task: InContextRegression) -> int:
        """Probe queries a prompt."""
        return 2 * task.d + 2 if self.queries is None else self.queries

    def filters(self, sites: int) -> FilterConfig:
        """How verdicts on so many sites are reached."""
        found = FilterConfig(tau=self.tau, tests=sites * self.checkpoints, draws=self.draws)
        return found.model_copy(update={"folds": 1, "steps": QUICK_STEPS}) if self.quick else found

    def for_checkpoints(self, count: int) -> AlgorithmMatch:
        """Settings corrected for a run of so many checkpoints: doubled until they suffice, so that a run that grows by
        one keeps its tables.
        """
        checkpoints = self.checkpoints
        while checkpoints < count:
            checkpoints *= 2
        return self.model_copy(update={"checkpoints": checkpoints})


def _spread(task: InContextRegression) -> str:
    return f"{task.contexts[0]} to {task.contexts[-1]}"


class AlgorithmAccumulator(ReadoutAccumulator):
    """Fits the label's readout of one model and keeps what matching, contrast and filters ask of it."""

    settings: AlgorithmMatch
    own: InContextRegression
    task: InContextRegression

    def __init__(
        self,
        settings: AlgorithmMatch,
        sites: list[str],
        model: Any,
        task: Task,
        untrained: AlgorithmAccumulator | None,
    ):
        super().__init__(settings, sites, task, untrained)
        self.model = model
        self.splits = {"fit": Split(), "validation": Split(), "test": Split()}
        self.layers: list[Float[Tensor, "layer prompt output"]] = []
        self.asked: list[Asked] = []
        self.labels: list[Float[Tensor, "set layer prompt"]] = []
        self.weighed: list[Float[Tensor, "layer prompt output d"]] = []

    @property
    def context(self) -> int:
        return self.settings.at(self.task)

    @property
    def position(self) -> int:
        """The token at which `context` examples have been seen."""
        return self._token(self.context)

    def _token(self, context: int) -> int:
        return context if self.task.layout == "merged" else 2 * context

    @property
    def shown(self) -> tuple[int, ...]:
        """The context lengths with at least one example."""
        return tuple(t for t in self.task.contexts if t > 0)

    @property
    def scale(self) -> float:
        return self.own.label_variance**0.5

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        assert isinstance(batch, RegressionBatch)
        super().add(chunk, batch, outputs, cache)
        split = self.settings.split(chunk)
        kept = self.splits[split]
        kept.batches.append(batch)
        for site in self.sites:
            kept.activations.setdefault(site, []).append(cache[site][:, self.position, None].clone())
        if split == "test":
            places = list(self.task.interface.output_positions)
            self.layers.append(self._predict({site: cache[site][:, places] for site in self.sites}))
            missing = self.settings.filter_prompts - sum(len(asked.queries) for asked in self.asked)
            if missing > 0:
                self._ask(chunk, batch, min(missing, len(batch)))
            missing = self.settings.weight_prompts - sum(found.shape[1] for found in self.weighed)
            if missing > 0:
                self.weighed.append(self._weigh(chunk, batch, min(missing, len(batch))))

    def _predict(self, activations: dict[str, Tensor]) -> Float[Tensor, "layer prompt output"]:
        assert isinstance(self.probe, Readout)
        found = [self.probe.predict(site, x)[..., 0] for site, x in activations.items()]
        return torch.stack(found) * self.scale

    def _ask(self, chunk: int, batch: RegressionBatch, count: int) -> None:
        """Read every layer at probe queries, and at labels of other prompts and their sum (superposition)."""
        inputs, y = batch.inputs[:count], batch.y[:count]
        queries, outputs = self._answers(chunk, batch, count, self.context)
        self.asked.append(Asked(batch.x[:count], y, batch.basis[:count], queries, outputs))
        other = y.roll(1, 0)
        sets = [
            self._run(self._relabelled(inputs, labels), self.position) for labels in (y, other, y + other)
        ]
        self.labels.append(torch.stack(sets))

    def _answers(self, chunk: int, batch: RegressionBatch, count: int, context: int) -> tuple[Tensor, Tensor]:
        """Probe queries of the task's own distribution, and every layer's answers to them after `context` examples."""
        gen, number = generator(0, "probe queries", chunk), self.settings.asks(self.task)
        queries = self.task.draw_x(gen, batch.basis[:count].float(), number).double()
        position = self._token(context)
        probed = induced.probe_inputs(batch.inputs[:count, : position + 1], position, queries).flatten(0, 1)
        return queries, self._run(probed, position).unflatten(1, (count, number))

    def _weigh(
        self, chunk: int, batch: RegressionBatch, count: int
    ) -> Float[Tensor, "layer prompt output d"]:
        """Induced weights of every layer at every output position that has examples."""
        found = []
        for context in self.shown:
            queries, outputs = self._answers(chunk, batch, count, context)
            found.append(torch.stack([induced.induced_weights(queries, out).weights for out in outputs]))
        return torch.stack(found, 2)

    def _relabelled(self, inputs: Tensor, labels: Tensor) -> Tensor:
        merged = self.task.layout == "merged"
        places = range(self.context) if merged else range(1, 2 * self.context, 2)
        return induced.relabelled(inputs, list(places), -1 if merged else 0, labels)

    def _run(self, inputs: Float[Tensor, "prompt pos d_in"], position: int) -> Float[Tensor, "layer prompt"]:
        found = []
        for part in inputs[:, : position + 1].split(PASS):
            with torch.no_grad():
                _, cache = self.model.run_with_cache(part, names_filter=self.sites)
            found.append(self._predict({site: cache[site][:, position, None] for site in self.sites})[..., 0])
        return torch.cat(found, 1)

    def questions(self) -> Asked:
        """All probe queries of this model in one."""
        parts = [(a.x, a.y, a.basis, a.queries, a.outputs.transpose(0, 1)) for a in self.asked]
        x, y, basis, queries, outputs = (torch.cat(column) for column in zip(*parts, strict=True))
        return Asked(x, y, basis, queries, outputs.transpose(0, 1))

    @cached_property
    def rivals(self) -> Rivals:
        if isinstance(self.untrained, AlgorithmAccumulator):
            return self.untrained.rivals
        contexts = self.task.contexts
        validation, test = self.splits["validation"], self.splits["test"]
        tuning = self._posed(validation, validation.y(), contexts)
        labels = validation.y()[:, list(contexts)]
        ladders = tuple(tuning.ladder(labels, family) for family in self.settings.families)
        posed = self._posed(test, test.y(), contexts)
        few = self.settings.weight_prompts
        asked = Posed(self.own, test.x()[:few], test.y()[:few], test.basis()[:few], self.shown)
        own = {name: self._at(split, ladders, split.y()) for name, split in self.splits.items()}
        other = {name: self._at(split, ladders, split.other()) for name, split in self.splits.items()}
        return Rivals(
            ladders,
            {rung.family: posed.predictions(rung) for rung in ladders},
            test.y()[:, list(contexts)],
            own,
            other if self.task.target == "linear" else None,
            {rung.family: asked.weights(rung) for rung in ladders},
        )

    def _posed(self, split: Split, y: Tensor, contexts: tuple[int, ...]) -> Posed:
        return Posed(self.own, split.x(), y, split.basis(), contexts)

    def _at(self, split: Split, ladders: tuple[Ladder, ...], y: Tensor) -> dict[str, Tensor]:
        posed = self._posed(split, y, (self.context,))
        found = {rung.family: posed.predictions(rung) for rung in ladders}
        return {**found, "nuisance": torch.stack([y[:, self.context, None], posed.least_squares], -1)}

    def contrast_rows(
        self, site: str, first: tuple[str, int], second: tuple[str, int], at: dict[str, dict[str, Tensor]]
    ) -> tuple[Rows, Rows, Rows]:
        """Fit, validation and test rows of a site for two rivals, each a family and a column of its ladder; `at` are
        the rivals' predictions for the prompts' own labels or for those of random w.
        """
        fit, validation, test = (
            Rows(
                torch.cat(split.activations[site]),
                at[name][first[0]][first[1]],
                at[name][second[0]][second[1]],
                at[name]["nuisance"],
            )
            for name, split in self.splits.items()
        )
        return fit, validation, test

    def table(self) -> pd.DataFrame:
        return algorithm_rows.table(self)

    def errors(self) -> pd.DataFrame:
        """Rows of the label's readout over all output positions, with every control."""
        found = super().table()
        return found[(found["position"] == "all") & (found["readout"] == "all") & (found["metric"] == "mse")]
