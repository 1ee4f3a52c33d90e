"""One thing that was tried of an adopted model, and how it is written."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Proof:
    """One thing that was tried: `error` is what was measured, `refuses` what is not offered where it fails."""

    claim: str
    holds: bool
    error: float | None = None
    refuses: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        measured = "" if self.error is None else f" ({self.error:.1e})"
        refused = f"; refused: {', '.join(self.refuses)}" if self.refuses and not self.holds else ""
        note = f"; {self.note}" if self.note and (self.error is None or not self.holds) else ""
        return f"{'holds' if self.holds else 'FAILS'}  {self.claim}{measured}{refused}{note}"
