"""Ledgers of studies on a page: every claim with its measurement, the verdict as a sign and as a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.studies.criteria import Verdict
from interp.studies.ledger import Ledger, Measured, Row, by_kind
from interp.studies.summary import current
from tasks.errors import UserError
from tasks.renamed import names_of

SIGNS: dict[Verdict, str] = {
    "reproduced": "✓",
    "contradicted": "✗",
    "inconclusive": "◐",
    "not measured": "?",
    "not testable at this scale": "–",
}

RELATED = {
    "retrieval": ("stacked-heads",),
    "markov": ("markov-chains",),
    "regression": ("newton", "one-step-gd", "linear-attention", "task-diversity"),
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


def published_ledgers(kinds: Iterable[str]) -> list[Measured]:
    """The published measurements of the studies on these kinds of task, made on other runs than the page's."""
    studies = [study for kind in dict.fromkeys(kinds) for study in RELATED.get(kind, ())]
    return [found for study in studies if (found := current(study))]


def shown(one: Ledger | Measured) -> dict[str, Any]:
    """A ledger as the template prints it, with its date and version where known."""
    ledger = one.ledger if isinstance(one, Measured) else one
    origin = (
        f"measured {one.date} with version {one.version}, not on these runs"
        if isinstance(one, Measured)
        else ""
    )
    tally = [f"{kind}: {said}" for kind, rows in by_kind(ledger.claims).items() if (said := _tally(rows))]
    seeds = ", ".join(str(seed) for seed in ledger.seeds)
    return {
        "title": ledger.study,
        "scale": ledger.scale,
        "seeds": seeds,
        "origin": origin,
        "tally": "; ".join(tally),
        "stale": "; ".join(one.stale) if isinstance(one, Measured) else "",
        "rows": [{"row": row, "sign": SIGNS[row.verdict], "value": row.shown} for row in ledger.claims],
    }


def _tally(rows: Iterable[Row]) -> str:
    """How often each verdict was given, with its sign."""
    count = Counter(row.verdict for row in rows)
    return ", ".join(f"{SIGNS[verdict]} {count[verdict]} {verdict}" for verdict in SIGNS if count[verdict])


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
