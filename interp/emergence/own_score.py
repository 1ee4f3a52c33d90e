"""A score of a user's own at every checkpoint, with that of the untrained model.

A score is a function (outputs [batch, pos, d_out], batch) -> [batch], or [batch, output position]. Scores that are
0 or 1 alone are counted (Clopper-Pearson); others have a bootstrap of prompts. What is good is for its author to say.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.own import Own, expected, short_name, tensor_of
from interp.analysis.prompted import Prompted
from probes import tables
from probes.stats import bootstrap, shares
from tasks import Batch, Task, UserError


class OwnScore(Prompted):
    """One number a prompt (and output position) by a function of outputs and batch."""

    name: ClassVar[str] = "own-score"
    with_untrained: ClassVar[bool] = True

    score: Own

    def hooks(self, model: Any) -> list[str]:
        return []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> OwnScoreAccumulator:
        return OwnScoreAccumulator(self.score, task)

    def constants(self, model: Any, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        """The untrained model's scores."""
        return None if untrained is None else untrained.table().assign(control="untrained")


class OwnScoreAccumulator:
    """Collects the score prompt by prompt."""

    def __init__(self, score: Any, task: Task):
        self.score, self.task = score, task
        self.values: list[Float[Tensor, "batch output"]] = []

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        reads = len(self.task.output_names)
        shapes = [f"[{len(batch)}]", f"[{len(batch)}, {reads}]"]
        found = tensor_of("score", self.score, shapes, outputs, batch)
        if found.shape not in ((len(batch),), (len(batch), reads)):
            raise expected("score", self.score, shapes, found)
        if not bool(torch.isfinite(found.float()).all()):
            raise UserError(f"score {short_name(self.score)} is NaN or infinite on these outputs")
        self.values.append(found.reshape(len(batch), -1).double())

    def outputs(self, width: int) -> tuple[str, ...]:
        """Names of the columns of a score: the task's output positions, or all of them."""
        return self.task.output_names if width == len(self.task.output_names) else ("all",)

    def table(self) -> pd.DataFrame:
        values = torch.cat(self.values)
        reads = self.outputs(values.shape[1])
        counted = bool(((values == 0) | (values == 1)).all())
        found = shares(values) if counted else bootstrap(values)
        unit = "share of prompts" if counted else "own score"
        axes = {"position": list(reads)}
        return tables.frame(
            tables.grid(found, axes, metric=short_name(self.score), control="none", unit=unit)
        )
