"""Overlaps of single-index students with the teacher and with their encoding, at every checkpoint.

Owns the table "overlaps": |m_l| = |w_l.w*| / d of every weight vector ("m 1", "m 2", ... if there are several), their
root mean square ("m"), and |e| = |w.p| / sqrt(d) of tied attention with opposite encodings. All lie in [0, 1]; a
random direction in d dimensions has about 1/sqrt(d). They are functions of the weights alone, so they have no sampling
error, and as emergence scores they have known asymptotics (Arnaboldi et al., arXiv 2506.02651).
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.config.model_single_index import TiedAttentionConfig
from tasks import Batch, Task, UserError
from tasks.single_index import SingleIndex

KINDS = ("tied-attention", "index-network")


def measurable(settings: Any, task: Task) -> bool:
    """Whether a model of these settings has overlaps with the task's teacher."""
    return isinstance(task, SingleIndex) and settings.kind in KINDS


def overlaps(model: Any, task: SingleIndex) -> dict[str, float]:
    """Absolute overlaps by name, `m` first."""
    found = task.overlaps(model.get_parameter("w").detach().double()).abs()
    named = {"m": float(found.square().mean().sqrt())}
    if len(found) > 1:
        named |= {f"m {row + 1}": float(value) for row, value in enumerate(found)}
    if isinstance(model.config, TiedAttentionConfig) and model.config.positional == "opposite":
        named["e"] = float(model.positional_overlaps()[0].abs())
    return named


class Overlaps(Analysis):
    """The overlaps of a checkpoint; no prompts are read."""

    name: ClassVar[str] = "overlaps"
    chunks: int = 0

    def hooks(self, model: Any) -> list[str]:
        return []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> Accumulator:
        """Raises UserError for a model or a task of another kind."""
        if not isinstance(task, SingleIndex) or not measurable(model.config, task):
            raise UserError(f"overlaps need a single-index task and a model of kind {' or '.join(KINDS)}")
        return _OverlapAccumulator(overlaps(model, task))


class _OverlapAccumulator:
    """Overlaps that were read off the weights."""

    def __init__(self, values: dict[str, float]):
        self.values = values

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        """Nothing here depends on prompts."""

    def table(self) -> pd.DataFrame:
        rows = [
            {"position": name, "metric": "overlap", "control": "none", "value": value, "unit": "share"}
            for name, value in self.values.items()
        ]
        return pd.DataFrame(rows)
