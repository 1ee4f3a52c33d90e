"""Ledgers of studies on a page: every claim with its measurement, the verdict as a sign and as a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.studies.ledger import Ledger, Row
from interp.studies.summary import Measured, measured
from tasks.errors import UserError

SIGNS = {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "not testable at this scale": "–"}

RELATED = {
    "retrieval": ("stacked-heads",),
    "regression": ("newton", "one-step-gd", "linear-attention"),
    "single-index": ("single-index",),
    "prompts": ("retrieval-prompts",),
}


def read_ledger(path: Path) -> Ledger:
    """A ledger saved by a study, or printed by `interp study NAME --json`. Raises UserError when the file is none."""
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
    """Every ledger that studies have saved under a folder, by name."""
    return [read_ledger(path) for path in sorted(folder.glob("*/ledger-*.json"))]


def kept_ledgers(kinds: Iterable[str]) -> list[Measured]:
    """The published measurements of the studies on these kinds of task, made on other runs than the page's."""
    studies = [study for kind in dict.fromkeys(kinds) for study in RELATED.get(kind, ())]
    return [found for study in studies if (found := measured(study))]


def shown(one: Ledger | Measured) -> dict[str, Any]:
    """A ledger as the template prints it, with its date and version where known."""
    ledger = one.ledger if isinstance(one, Measured) else one
    origin = (
        f"measured {one.date} with version {one.version}, not on these runs"
        if isinstance(one, Measured)
        else ""
    )
    count = Counter(row.verdict for row in ledger.claims)
    tally = [f"{SIGNS[verdict]} {count[verdict]} {verdict}" for verdict in SIGNS if count[verdict]]
    seeds = ", ".join(str(seed) for seed in ledger.seeds)
    return {
        "title": ledger.study,
        "scale": ledger.scale,
        "seeds": seeds,
        "origin": origin,
        "tally": ", ".join(tally),
        "rows": [{"row": row, "sign": SIGNS[row.verdict], "ours": _ours(row)} for row in ledger.claims],
    }


def _ours(row: Row) -> str:
    if row.value is None:
        return "–"
    known = row.ci_low is not None and row.ci_high is not None
    span = f" [{row.ci_low:.3g}, {row.ci_high:.3g}]" if known else ""
    return f"{row.value:.3g}{span} {row.unit}".strip()
