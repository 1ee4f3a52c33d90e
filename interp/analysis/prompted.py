"""Analyses that take prompts one by one, of which fewer or more than usual can be asked for.

Usual are the four shared chunks of 256; of a large model 64 prompts, since each costs it seconds. The first of the
shared prompts are taken, so that figures of fewer prompts are of the same ones. The number is part of the key of the
table that is kept, and stands in its column `n`.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from interp.analysis.applies import large
from interp.analysis.base import CHUNK, Analysis
from interp.config.run import RunConfig

FEWER = 64
PARTS = 8  # of given prompts, which come in smaller chunks (`tasks.given`)


class Prompted(Analysis):
    """An analysis of the first `prompts` of the shared prompts; None: as many as are usual for the model."""

    later: ClassVar[tuple[str, ...]] = ("prompts",)

    prompts: int | None = Field(default=None, ge=2)

    def of(self, config: RunConfig) -> Analysis:
        usual = self.prompts is not None or not large(config.model)
        return self if usual else self.model_copy(update={"prompts": FEWER})

    @property
    def most_prompts(self) -> int | None:
        return self.prompts

    @property
    def most_chunks(self) -> int:
        return self.chunks if self.prompts is None else max(PARTS, math.ceil(self.prompts / CHUNK))
