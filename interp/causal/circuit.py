"""A circuit as data: its edges, their scores, the settings of its search, and the document it is kept in.

The document holds edges, scores and settings; the curve and the attribution estimate of the search are tables of their
own and live only as long as the object.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pandas as pd

from interp.causal.curve import Curve, is_head
from interp.causal.estimate import Estimate
from interp.causal.graph import Edge
from interp.hooks.sites import Site
from interp.io.former import settings_in_words
from tasks.errors import UserError

SCHEMA = 2  # 1: in the words of version 0.1


@dataclasses.dataclass(frozen=True)
class Circuit:
    """A set of edges with their normalised scores, the settings that found it, and the curve it is a point of.

    >>> circuit = Circuit((("embed", "L0H1.v"), ("L0H1", "output")), (0.9, 1.0), {"method": "exact"})
    >>> Circuit.from_json(circuit.to_json()) == circuit, sorted(circuit.heads)
    (True, ['L0H1'])
    """

    edges: tuple[Edge, ...]
    scores: tuple[float, ...]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    curve: Curve | None = dataclasses.field(default=None, compare=False, repr=False)
    estimate: Estimate | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def heads(self) -> frozenset[str]:
        """Heads that write into the circuit."""
        return frozenset(s for s, _ in self.edges if is_head(s))

    def to_json(self) -> str:
        """One JSON document, the same for the same circuit."""
        edges = [[*edge, score] for edge, score in zip(self.edges, self.scores, strict=True)]
        document = {"schema": SCHEMA, "edges": edges, "settings": self.settings}
        return json.dumps(document, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Circuit:
        """The circuit of such a document. Raises UserError for anything else."""
        try:
            document = json.loads(text)
            if document["schema"] not in (1, SCHEMA):
                raise UserError(
                    f"circuit of schema {document['schema']!r}: this version reads 1 and {SCHEMA}"
                )
            rows = [
                (Site.parse(s).label, Site.parse(r).label, float(score)) for s, r, score in document["edges"]
            ]
            return cls(
                tuple((s, r) for s, r, _ in rows),
                tuple(x for *_, x in rows),
                settings_in_words(document["settings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"not a circuit document: {str(error).splitlines()[0][:80]}") from None

    def table(self) -> pd.DataFrame:
        """One row an edge."""
        rows = [
            {"sender": s, "receiver": r, "value": x}
            for (s, r), x in zip(self.edges, self.scores, strict=True)
        ]
        return pd.DataFrame(rows, columns=["sender", "receiver", "value"]).assign(unit="normalised effect")
