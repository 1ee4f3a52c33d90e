"""Sizes of the single-index study by scale: replicas of the chains, dimensions, and ordinary runs."""

from __future__ import annotations

import dataclasses

from interp.studies.context import StudyContext

NAME = "single-index"


@dataclasses.dataclass(frozen=True)
class ChainBudget:
    """Replicas and dimensions of a scale."""

    replicas: int
    linear: tuple[int, ...]
    square: tuple[int, ...]
    cubic: tuple[int, ...]
    lengths: tuple[int, ...]
    semantic: int
    wide: bool
    runs: int


BUDGETS = {
    "quick": ChainBudget(144, (100, 400, 1600), (200, 400, 800, 1600), (25, 50, 100), (1, 2, 4, 8), 96, False, 6),
    "cpu": ChainBudget(
        192, (100, 400, 1600, 6400), (200, 400, 800, 1600, 3200), (25, 50, 100, 200), (1, 2, 4, 8, 16), 96, True, 12
    ),
    "paper": ChainBudget(
        256, (100, 400, 1600, 6400, 25600), (200, 400, 800, 1600, 3200, 6400), (25, 50, 100, 200, 400),
        (1, 2, 4, 8, 16, 32), 256, True, 24,
    ),
}  # fmt: skip

Study = StudyContext[ChainBudget]
