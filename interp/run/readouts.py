"""Readouts of a run's layers: linear readouts, the algorithms they match, interventions on probe directions.

`probe` has the options of `interp probe`; the rarer settings are in `targets`, `algorithms` and `probe_interventions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.readouts.label_targets import CAPTION, label_target
from interp.readouts.strategies import require as require_strategies
from interp.readouts.strategy_targets import strategy_target
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks import Batch, UserError
from tasks.renamed import keywords


class ReadoutQuestions(Measuring):
    """Readout analyses as methods of a run."""

    def probe(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        target: Callable[[Batch], Tensor] | None = None,
        targets: Sequence[str] = (),
        algorithms: bool = False,
        causal: bool = False,
        families: Sequence[str] | None = None,
        context: int | None = None,
        quick: bool | None = None,
        shift: Mapping[str, Any] | None = None,
        normalised: bool | None = None,
        per_position: bool | None = None,
        strengths: Sequence[float] | None = None,
    ) -> Result:
        """Held-out score of a linear readout of the target at each layer, and of the untrained model.

        Where the task has a label at every output position (a Markov chain's next symbol), one readout is shared by
        them all. With `target` one's own in place of the task's: a function of a batch to numbers [batch, position, k],
        or to whole numbers, symbols to decode; positions are all of the prompt's, or the output positions. With
        `targets` the score of readouts of those, see `targets`; of a run of another task one of its closed-form
        predictors ("bigram"). With `algorithms` (seconds a
        checkpoint) the algorithms whose iterates the readouts match, see `algorithms`. With `causal` whether the model
        uses the directions, see `probe_interventions`.

        `normalised` also probes the residual stream after a LayerNorm; `per_position` also fits a readout at each
        output position; `shift` scores under distribution shift, such as {"x_scale": 2.0}; `strengths` are the
        candidate ridge strengths, multiples of a layer's mean eigenvalue. `families`, `context` and `quick` apply to
        `algorithms`, `context` to `causal` too. Raises UserError for these on another task, for two of the four at
        once, for a setting that does not apply, and for a target of another shape.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.probe(steps="last").table["control"].unique().tolist()
        ['none', 'shuffled', 'untrained']
        """
        if algorithms + causal + bool(targets) + (target is not None) > 1:
            raise UserError("target, targets, algorithms and causal exclude each other: give one at a time")
        asked = {
            "algorithms": algorithms,
            "causal-probe": causal,
            "targets": targets,
            "own-target": target is not None,
        }
        name = next((name for name, wanted in asked.items() if wanted), "probe")
        if targets and self.task.kind != "regression":
            name, target, targets = "own-target", strategy_target(self.task, targets), ()
        labels = label_target(self.task) if name == "probe" else None
        found = self._measured(
            name if labels is None else "own-target", steps, progress,
            target=labels or target, targets=tuple(targets) or None, families=_tuple(families),
            context=context, shift=None if shift is None else dict(shift), normalised=normalised,
            per_position=per_position, strengths=_tuple(strengths), quick=quick,
            checkpoints=self._corrected() if algorithms else None,
        )  # fmt: skip
        return found if labels is None else replace(found, caption=CAPTION)

    def strategies(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 256,
        draws: int = 500,
        seed: int = 0,
    ) -> Result:
        """Distance of the outputs from each closed-form predictor of the task, and the weights of these in a mixture.

        On every distribution of the task, with intervals over `prompts`; `interp.emergence.strategies.stages` gives
        onset and loss of each. Raises UserError for a task that knows fewer than two predictors.
        """
        require_strategies(self.task)
        return self._measured("strategies", steps, progress, prompts=prompts, draws=draws, seed=seed)

    def _corrected(self) -> int:
        """The number of checkpoints that filter verdicts on this run are corrected for."""
        from interp.readouts.algorithms import AlgorithmMatch

        return AlgorithmMatch().for_checkpoints(len(self.steps)).checkpoints

    @keywords
    def targets(
        self,
        targets: Sequence[str],
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        shift: Mapping[str, Any] | None = None,
        normalised: bool = False,
        per_position: bool = False,
        strengths: Sequence[float] | None = None,
        draws: int = 300,
        chunks: int = 8,
        validation_chunks: int = 2,
        test_chunks: int = 2,
    ) -> Result:
        """Held-out R2 of linear readouts of named quantities of a regression run (`interp.readouts.target_readouts`).

        `targets`: "label", "w", "xy" (X'y), "spectrum" (of X'X), "iterates", "dMMSE" (of a run's pool), or algorithms
        by name. Of `chunks` of 256
        prompts the last `test_chunks` score and the `validation_chunks` before them choose the ridge strength;
        intervals from `draws` bootstrap resamples of prompts. Raises UserError for another task and unknown targets.
        """
        return self._measured(
            "targets", steps, progress, targets=tuple(targets), shift=None if shift is None else dict(shift),
            normalised=normalised, per_position=per_position, strengths=_tuple(strengths), draws=draws,
            chunks=chunks, validation_chunks=validation_chunks, test_chunks=test_chunks,
        )  # fmt: skip

    @keywords
    def algorithms(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        families: Sequence[str] | None = None,
        context: int | None = None,
        queries: int | None = None,
        filter_prompts: int = 512,
        weight_prompts: int = 32,
        tau: float = 0.01,
        checkpoints: int | None = None,
        quick: bool = False,
        shift: Mapping[str, Any] | None = None,
        normalised: bool = False,
        per_position: bool = False,
        strengths: Sequence[float] | None = None,
        draws: int = 300,
        chunks: int = 8,
        validation_chunks: int = 2,
        test_chunks: int = 2,
    ) -> Result:
        """Best-matching steps, slopes, contrast and filter verdict of every layer, seconds each.

        Settings are described in `interp.readouts.algorithms.AlgorithmMatch`; `families`, `context` and `queries`
        have defaults, the last two from the task's dimension; `checkpoints` those of the run, at least 32. Raises
        UserError for a task other than regression, unknown families, and a context that the task never shows.
        """
        return self._measured(
            "algorithms", steps, progress, families=_tuple(families), context=context, queries=queries,
            filter_prompts=filter_prompts, weight_prompts=weight_prompts, tau=tau, quick=quick,
            checkpoints=checkpoints or self._corrected(),
            shift=None if shift is None else dict(shift), normalised=normalised, per_position=per_position,
            strengths=_tuple(strengths), draws=draws, chunks=chunks, validation_chunks=validation_chunks,
            test_chunks=test_chunks,
        )  # fmt: skip

    def probe_interventions(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        rivals: Sequence[str] = ("newton", "gd"),
        pair: str = "replace-w",
        context: int | None = None,
        prompts: int = 256,
        fit_prompts: int = 1024,
        random: int = 4,
        least_r2: float = 0.1,
        draws: int = 300,
        seed: int = 0,
    ) -> Result:
        """Interchange interventions on probe directions: does the model use what a probe decodes of an iterate?

        Slope 1: as the iterate predicts; 0: not at all; controls: `random` directions and the untrained model. Settings
        are described in `interp.readouts.probe_interventions`. Raises UserError for a task other than regression.
        """
        return self._measured(
            "causal-probe", steps, progress, rivals=tuple(rivals), pair=pair, context=context, prompts=prompts,
            fit_prompts=fit_prompts, random=random, least_r2=least_r2, draws=draws, seed=seed,
        )  # fmt: skip

    def filters(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        families: Sequence[str] | None = None,
        context: int | None = None,
    ) -> Result:
        """The spectral filter of each layer's readout, and the nearest member of each family of algorithms."""
        return self._measured("filters", steps, progress, families=_tuple(families), context=context)

    def preconditioners(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Preconditioner that each layer of a linear transformer applies to the gradient, computed from its weights.

        Raises UserError for models that are not linear attention on a regression task.
        """
        return self._measured("preconditioners", steps, progress)


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
