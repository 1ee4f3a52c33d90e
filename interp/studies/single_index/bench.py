"""What the parts of the single-index study share: sizes of a scale, ledger rows, kept points of figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from interp.studies.ledger import Row, Scale
from interp.studies.single_index.claims import CLAIMS
from probes.stats import Interval

NAME = "single-index"


@dataclasses.dataclass(frozen=True)
class Budget:
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
    "quick": Budget(144, (100, 400, 1600), (200, 400, 800, 1600), (25, 50, 100), (1, 2, 4, 8), 96, False, 6),
    "cpu": Budget(192, (100, 400, 1600, 6400), (200, 400, 800, 1600, 3200), (25, 50, 100, 200), (1, 2, 4, 8, 16), 96,
                  True, 12),
    "paper": Budget(256, (100, 400, 1600, 6400, 25600), (200, 400, 800, 1600, 3200, 6400), (25, 50, 100, 200, 400),
                    (1, 2, 4, 8, 16, 32), 256, True, 24),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Bench:
    """A study under way: its scale, seed, folder and what it says meanwhile. `curves` fill the figures."""

    scale: Scale
    seed: int
    out: Path
    say: Callable[[str], None]
    curves: dict[str, list[dict]] = dataclasses.field(default_factory=dict)

    def row(self, name: str, found: Interval, *, arm: str, budget: str, note: str = "") -> Row:
        """The ledger's row of an interval."""
        return CLAIMS[name].measured(
            found.value,
            found.low,
            found.high,
            found.n,
            arm=arm,
            budget=budget,
            command=self.command,
            note=note,
        )

    def exact(self, name: str, value: float, *, arm: str, budget: str, note: str = "") -> Row:
        """The ledger's row of a figure without sampling error."""
        return self.row(name, Interval(value, value, value, 1, "exact"), arm=arm, budget=budget, note=note)

    @property
    def command(self) -> str:
        """What to type to measure the rows again."""
        return f"interp study {NAME} --scale {self.scale}"

    def keep(self, curve: str, **point: object) -> None:
        """One point of a figure."""
        self.curves.setdefault(curve, []).append(point)
