"""Questions to a run about what its layers carry: linear readouts, the algorithms they match, directions that are used.

`probe` has what `interp probe` has; the rarer settings stand in `targets`, `algorithms` and `probe_swaps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks import UserError


class ReadoutQuestions(Measuring):
    """A run whose layers can be read."""

    def probe(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        targets: Sequence[str] = (),
        algorithms: bool = False,
        causal: bool = False,
        families: Sequence[str] | None = None,
        context: int | None = None,
        shift: Mapping[str, Any] | None = None,
        normalised: bool | None = None,
        per_position: bool | None = None,
        strengths: Sequence[float] | None = None,
    ) -> Result:
        """How well a linear readout of each layer gives the target, on held-out prompts, beside an untrained model.

        With `targets` (regression runs only) how well it gives those instead: the question of `targets`. With
        `algorithms` (seconds a checkpoint) which rival iterates the readouts match: that of `algorithms`. With
        `causal` whether the net uses the directions: that of `probe_swaps`.

        `normalised` reads the stream after a LayerNorm as well; `per_position` fits each output position apart as
        well; `shift` scores on prompts of another distribution, such as {"x_scale": 2.0}; `strengths` are the ridge
        strengths to choose from, multiples of a layer's mean eigenvalue. `families` and `context` go with
        `algorithms`, `context` with `causal` too. Raises UserError for these of another task, for two questions at
        once, and for a setting that the question has not.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.probe(steps="last").table["control"].unique().tolist()
        ['none', 'shuffled', 'untrained']
        """
        if algorithms + causal + bool(targets) > 1:
            raise UserError("targets, algorithms and causal are questions apart: ask one at a time")
        name = "algorithms" if algorithms else "causal-probe" if causal else "targets" if targets else "probe"
        return self._measured(
            name, steps, progress, targets=tuple(targets) or None, families=_tuple(families), context=context,
            shift=None if shift is None else dict(shift), normalised=normalised, per_position=per_position,
            strengths=_tuple(strengths),
        )  # fmt: skip

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
        choose_chunks: int = 2,
        test_chunks: int = 2,
    ) -> Result:
        """Held-out R2 of linear readouts of named quantities of a regression run (`interp.readouts.target_readouts`).

        `targets`: "label", "w", "xy" (X'y), "spectrum" (of X'X), "iterates", or algorithms by name. Of `chunks` of 256
        prompts the last `test_chunks` score and the `choose_chunks` before them choose the ridge strength; intervals
        from `draws` bootstrap resamples of prompts. Raises UserError for another task and for unknown targets.
        """
        return self._measured(
            "targets", steps, progress, targets=tuple(targets), shift=None if shift is None else dict(shift),
            normalised=normalised, per_position=per_position, strengths=_tuple(strengths), draws=draws,
            chunks=chunks, choose_chunks=choose_chunks, test_chunks=test_chunks,
        )  # fmt: skip

    def algorithms(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        families: Sequence[str] | None = None,
        context: int | None = None,
        queries: int | None = None,
        filter_prompts: int = 256,
        weight_prompts: int = 32,
        most_unexplained: float = 0.5,
        shift: Mapping[str, Any] | None = None,
        normalised: bool = False,
        per_position: bool = False,
        strengths: Sequence[float] | None = None,
        draws: int = 300,
        chunks: int = 8,
        choose_chunks: int = 2,
        test_chunks: int = 2,
    ) -> Result:
        """Best steps, slopes, contrast and filter verdict of every layer against rival algorithms, seconds each.

        Settings are described in `interp.readouts.algorithms.AlgorithmMatch`; `families` are the usual rivals, and
        `context` and `queries` what the task's dimension asks for, unless given. Raises UserError for a task other
        than regression, unknown families, and a context that the task never shows.
        """
        return self._measured(
            "algorithms", steps, progress, families=_tuple(families), context=context, queries=queries,
            filter_prompts=filter_prompts, weight_prompts=weight_prompts, most_unexplained=most_unexplained,
            shift=None if shift is None else dict(shift), normalised=normalised, per_position=per_position,
            strengths=_tuple(strengths), draws=draws, chunks=chunks, choose_chunks=choose_chunks,
            test_chunks=test_chunks,
        )  # fmt: skip

    def probe_swaps(
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
        """Interchange interventions on probe directions: does the net use what a probe reads of an iterate?

        Slope 1: as the iterate says; 0: not at all; beside `random` directions and an untrained model. Settings are
        described in `interp.readouts.probe_swaps`. Raises UserError for a task other than regression.
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
        """What each layer of a linear transformer does to the gradient, read from its weights.

        Raises UserError for models that are not linear attention on a regression task.
        """
        return self._measured("preconditioners", steps, progress)


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
