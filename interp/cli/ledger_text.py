"""A study's ledger as people read it, and as one JSON document."""

from __future__ import annotations

import json
from collections import Counter

from interp.cli import show
from interp.studies.criteria import VERDICTS
from interp.studies.ledger import Ledger, by_kind


def document(ledger: Ledger) -> dict:
    """The ledger as a dictionary of JSON values."""
    return json.loads(ledger.to_json())


def print_ledger(ledger: Ledger) -> None:
    """A ledger as text: each claim's name and verdict, then its statement, figures and criterion."""
    show.note(f"{ledger.study} at scale {ledger.scale}, seeds {list(ledger.seeds)}\n")
    for row in ledger.claims:
        show.note(f"{row.id}: {row.verdict}")
        show.indented(f"{row.statement} ({row.source})")
        show.indented(f"measured {row.shown}, n {row.n}; paper {row.paper_value}; criterion: {row.criterion}")
        chances = f"; criterion met if true / if false: {row.power.shown}" if row.power else ""
        show.indented(f"{row.kind}{chances}")
        if row.note:
            show.indented(row.note)
    for kind, rows in by_kind(ledger.claims).items():
        count = Counter(row.verdict for row in rows)
        each = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])
        show.note(f"\n{kind}: {each or 'none'}")
