"""Loss and the task's own score at each output position of a checkpoint, with Bayes risk and chance.

Loss is the task's, so lower is better; a score named "accuracy" is a share of prompts in [0, 1], higher is better. Rows
without a step hold the levels to compare with: `control` "bayes_risk" (Bayes risk) and "chance" (score of the
best guess that ignores the examples). Intervals are over prompts, not over training seeds.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.prompted import Prompted
from probes import tables
from probes.stats import Interval, mean, share
from tasks import Batch, Level, Task, UserError


class Scores(Prompted):
    """Loss and score at every output position."""

    name: ClassVar[str] = "scores"
    version: ClassVar[int] = 2

    def hooks(self, model: Any) -> list[str]:
        return []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> ScoreAccumulator:
        return ScoreAccumulator(task)

    def constants(self, model: Any, task: Task, untrained: Accumulator | None) -> pd.DataFrame:
        """Floor of the loss and chance level of the score, as far as the task knows them."""
        rows = _level_rows(task, "loss", "bayes_risk", task.bayes_risk) + _level_rows(
            task, task.score_name, "chance", task.chance
        )
        return pd.DataFrame(rows)


def _level_rows(task: Task, metric: str, control: str, level_of: Any) -> list[dict[str, Any]]:
    try:
        level: Level = level_of()
    except UserError:
        return []
    return [
        {"position": output, "metric": metric, "control": control, "value": value, "unit": unit_of(metric)}
        for output, value in zip(task.output_names, level.value.tolist(), strict=True)
    ]


def unit_of(metric: str) -> str:
    """The unit in which a score or loss is counted."""
    return "share of prompts" if metric == "accuracy" else "task loss"


class ScoreAccumulator:
    """Collects losses and scores prompt by prompt."""

    def __init__(self, task: Task):
        self.task = task
        self.losses: list[Float[Tensor, "batch output"]] = []
        self.scores: list[Float[Tensor, "batch output"]] = []

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        self.losses.append(self.task.loss(outputs, batch))
        self.scores.append(self.task.score(outputs, batch))

    def table(self) -> pd.DataFrame:
        found = {"loss": torch.cat(self.losses)}
        if self.task.score_name != "loss":
            found[self.task.score_name] = torch.cat(self.scores)
        return pd.concat([self._rows(metric, values) for metric, values in found.items()])

    def _rows(self, metric: str, values: Float[Tensor, "batch output"]) -> pd.DataFrame:
        fixed = {"metric": metric, "control": "none", "unit": unit_of(metric)}
        return tables.frame(
            [
                {**fixed, "position": output, **interval.row()}
                for output, interval in zip(self.task.output_names, _intervals(metric, values), strict=True)
            ]
        )


def _intervals(metric: str, values: Float[Tensor, "batch output"]) -> list[Interval]:
    """Clopper-Pearson for a share of prompts, a skewness-corrected t for a loss, which is heavy-tailed."""
    if metric == "accuracy" and bool(((values == 0) | (values == 1)).all()):  # else it is no count of prompts
        return [share(int(count), len(values)) for count in values.sum(0).tolist()]
    means = mean(values, least=0.0)
    return [means[output] for output in range(values.shape[1])]
