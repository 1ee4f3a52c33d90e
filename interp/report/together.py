"""What a page draws of runs that are compared, beyond their curves: plain data, made by `over_seeds` and `phase`."""

from __future__ import annotations

from dataclasses import dataclass

from interp.report.cells import JsonRow


@dataclass(frozen=True)
class Together:
    """One group of runs: for each condition with several of them its name and parts (`interp.report.over_seeds`), and
    the phase diagrams of a varied pool (`interp.report.phase`).
    """

    conditions: tuple[tuple[str, tuple[JsonRow, ...]], ...] = ()
    diagrams: tuple[JsonRow, ...] = ()
