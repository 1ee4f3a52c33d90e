"""Scores of a run and emergence over training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.emergence.choices import Of
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks.errors import UserError


class EmergenceQuestions(Measuring):
    """Scores and emergence as methods of a run."""

    def scores(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        score: Callable[..., Tensor] | None = None,
        prompts: int | None = None,
    ) -> Result:
        """Loss and score at every output position, with the Bayes risk and the chance level.

        With `score`, a function (outputs [batch, pos, out], batch) -> [batch] or [batch, output position], that score
        instead, and the untrained model's. On the first `prompts` (2 or more) of those that analyses share: 1,024
        unless given, and 64 of a model with 50 million weights in its blocks. Raises UserError for a function that
        gives another shape.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> chance = run.scores(steps="last").table.query("control == 'chance'")
        >>> chance["position"].tolist()
        ['hop 1', 'hop 2', 'hop 3']
        """
        if score is not None:
            return self._measured("own-score", steps, progress, score=score, prompts=prompts)
        return self._measured("scores", steps, progress, prompts=prompts)

    def overlaps(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Absolute overlaps of a single-index model's weights with the teacher's direction, in [0, 1].

        Raises UserError for other models and tasks.
        """
        return self._measured("overlaps", steps, progress)

    def emergence(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        of: Of = "skills",
        score: Callable[..., Tensor] | None = None,
        relation: Callable[..., Any] | None = None,
    ) -> Result:
        """First sustained crossing of each score, head and overlap over its threshold, with intervals over prompts.

        `of` selects other curves: "readouts" what can be decoded at each site, "landscape" curvature and learning
        coefficient (seconds a checkpoint), "edges" those of the final circuit; their intervals are gaps between
        checkpoints. With `score` or `relation` (as in `scores` and `heads`) these are dated instead: a score as it
        rises, so turn the sign of one that is better the lower it is. Raises UserError for another `of`, and for too
        few checkpoints.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.emergence().table["subject"].str.startswith(("hop", "L")).all().item()
        True
        """
        if score is not None or relation is not None:
            from interp.emergence.skills import CAPTION, asked_own, dated_own

            if of != "skills":
                raise UserError(
                    f"emergence of a score or relation of your own goes with of='skills', not {of!r}"
                )
            return Result(
                "emergence", dated_own(self.tables(asked_own(score, relation), steps, progress)), CAPTION
            )
        if of == "skills":
            from interp.emergence.skills import CAPTION, asked, dated

            found = self.tables(asked(self.config.model, self.task), steps, progress)
            return Result("emergence", dated(found), CAPTION)
        from interp.emergence.instruments import CAPTIONS, instrument_onsets

        table = instrument_onsets(self, of, self.resolve(steps), progress)
        return Result(f"emergence of {of}", table, CAPTIONS[of])
