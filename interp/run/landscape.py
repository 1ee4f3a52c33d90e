"""Loss landscape of a run: curvature, local learning coefficient, gradient noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.registry import build, entry
from interp.analysis.result import Result
from interp.run.measuring import Measuring
from interp.runs.steps import Steps

if TYPE_CHECKING:
    from interp.landscape.llc import LearningCoefficient
    from interp.landscape.noise import GradientNoise


class LandscapeQuestions(Measuring):
    """Landscape analyses as methods of a run."""

    def curvature(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 1000,
        probes: int = 32,
        hessian: bool = True,
        llc: LearningCoefficient | None = None,
        noise: GradientNoise | None = None,
    ) -> Result:
        """Curvature of the loss at each checkpoint on one fixed batch, and along the line to the next checkpoint.

        Without `hessian`, loss, gradient norm and directional smoothness only. With `llc`, its settings, also the
        local learning coefficient at its gamma and step (seconds a checkpoint); with `noise`, also the tail of the
        gradient noise.
        Where 3 true steps of positive curvature are among the checkpoints, the caption gives the correlation of
        curvature and gradient norm. Raises UserError for fewer than 1 prompt or 2 probes.
        """
        from interp.landscape.landscape import fit_in_words

        bends = build("curvature", prompts=prompts, probes=probes, sharp=hessian)
        tables = self.tables([bends, *filter(None, (noise, llc))], steps, progress)
        caption = entry("curvature").caption + fit_in_words(tables["curvature"])
        if noise is not None:
            caption += f" Noise: {noise.draws} batches of {noise.prompts} prompts."
        if llc is not None:
            caption += f" {entry('llc').caption_of(llc, self.task)}"
        return Result("curvature", pd.concat(tables.values(), ignore_index=True), caption)

    def llc(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 512,
        minibatch: int = 32,
        n: int = 10_000,
        chains: int = 4,
        draws: int = 150,
        burn_in: int = 60,
        step: float = 1e-4,
        gamma: float = 1e3,
        seed: int = 0,
    ) -> Result:
        """Effective parameters by SGLD at each checkpoint, at this gamma and step; bad chains have no value.

        Settings and source in `interp.landscape.llc`; Student's t interval over `chains`, Monte Carlo error alone.
        """
        return self._measured(
            "llc", steps, progress, prompts=prompts, minibatch=minibatch, n=n, chains=chains, draws=draws,
            burn_in=burn_in, step=step, gamma=gamma, seed=seed,
        )  # fmt: skip

    def llc_sweep(
        self,
        gammas: Sequence[float],
        step_sizes: Sequence[float],
        steps: Steps = "last",
        progress: Progress | None = None,
        *,
        llc: LearningCoefficient | None = None,
    ) -> Result:
        """The local learning coefficient at every combination of gamma and step size, as a heat map: how far it is a
        figure of its settings. `llc`: the other settings. Raises UserError for an empty axis.
        """
        from interp.landscape.llc_sweep import CAPTION, NAME, llc_sweep

        return Result(NAME, llc_sweep(self, gammas, step_sizes, steps, llc, progress), CAPTION)

    def noise(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        draws: int = 500,
        prompts: int | None = None,
        seed: int = 0,
    ) -> Result:
        """Tail of the gradient noise over `draws` batches (at least 100).

        Batches are of `prompts` prompts, as many as in training by default. Source: Ahn et al. 2310.01082.
        """
        size = self.config.train.batch if prompts is None else prompts
        return self._measured("noise", steps, progress, draws=draws, prompts=size, seed=seed)
