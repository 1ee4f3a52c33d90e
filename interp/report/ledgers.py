"""Ledgers of studies on a page: every claim beside what was measured, the verdict as a sign and as a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from interp.studies.ledger import Ledger, Row
from tasks.errors import UserError

SIGNS = {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "not testable at this scale": "–"}


def read_ledger(path: Path) -> Ledger:
    """A ledger kept by a study, or printed by `interp study NAME --json`. Raises UserError when the file is none."""
    try:
        return Ledger.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); name a ledger-SCALE.json of a study"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: is not a study's ledger; name a ledger-SCALE.json under runs/studies"
        ) from None


def find_ledgers(folder: Path) -> list[Ledger]:
    """Every ledger that studies have kept under a folder, by name."""
    return [read_ledger(path) for path in sorted(folder.glob("*/ledger-*.json"))]


def shown(ledger: Ledger) -> dict[str, Any]:
    """A ledger as the template prints it."""
    count = Counter(row.verdict for row in ledger.claims)
    tally = [f"{SIGNS[verdict]} {count[verdict]} {verdict}" for verdict in SIGNS if count[verdict]]
    seeds = ", ".join(str(seed) for seed in ledger.seeds)
    return {
        "title": ledger.study,
        "scale": ledger.scale,
        "seeds": seeds,
        "tally": ", ".join(tally),
        "rows": [{"row": row, "sign": SIGNS[row.verdict], "ours": _ours(row)} for row in ledger.claims],
    }


def _ours(row: Row) -> str:
    if row.value is None:
        return "–"
    known = row.ci_low is not None and row.ci_high is not None
    span = f" [{row.ci_low:.3g}, {row.ci_high:.3g}]" if known else ""
    return f"{row.value:.3g}{span} {row.unit}".strip()
