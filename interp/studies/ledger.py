"""The ledger of a study: claims with a criterion fixed beforehand, what was measured, and the verdict that follows.

A criterion carries its own text, so what is printed and what is judged cannot drift apart. An interval that lies
inside the criterion reproduces the claim; a value inside with an interval that reaches outside reproduces it partly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

Scale = Literal["quick", "cpu", "paper"]
Verdict = Literal["reproduced", "partly", "not reproduced", "not testable at this scale"]


@dataclass(frozen=True)
class Criterion:
    """A range of values that counts as reproduced; `text` says it in words.

    >>> Criterion.within(0.9, 1.1).judge(1.0, 0.95, 1.05)
    'reproduced'
    >>> Criterion.above(0.5).judge(0.6, 0.4, 0.8)
    'partly'
    """

    text: str
    holds: Callable[[float], bool]

    @staticmethod
    def above(bound: float) -> Criterion:
        return Criterion(f"value and interval above {bound:g}", lambda v: v > bound)

    @staticmethod
    def below(bound: float) -> Criterion:
        return Criterion(f"value and interval below {bound:g}", lambda v: v < bound)

    @staticmethod
    def within(low: float, high: float) -> Criterion:
        return Criterion(f"value and interval within [{low:g}, {high:g}]", lambda v: low <= v <= high)

    def judge(self, value: float, low: float, high: float) -> Verdict:
        """Verdict on a value with its interval (equal bounds where a figure has no sampling error).

        An unknown bound (NaN) cannot make the claim reproduced, only partly.
        """
        if not self.holds(value):
            return "not reproduced"
        return "reproduced" if self.holds(low) and self.holds(high) else "partly"


class Row(BaseModel):
    """One line of a ledger, in the order in which it is printed and stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    statement: str
    source: str
    paper_value: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    unit: str
    condition: str
    budget: str
    command: str
    criterion: str
    verdict: Verdict
    note: str

    @property
    def claim(self) -> str:
        """The claim's id; a claim asked of several models has a row "claim, model" for each."""
        return self.id.partition(", ")[0]

    @property
    def shown(self) -> str:
        """The measurement in one cell: value, interval where there is one, unit."""
        if self.value is None:
            return "–"
        known = self.ci_low is not None and self.ci_high is not None and self.ci_low != self.ci_high
        span = f" [{self.ci_low:.3g}, {self.ci_high:.3g}]" if known else ""
        return f"{self.value:.3g}{span} {self.unit}".strip()


@dataclass(frozen=True)
class Claim:
    """What a paper says, where it says it, and what would count as reproducing it.

    `paper_value` is text as printed there ("none stated" where there is none). `n` in a row counts seeds unless the
    note says otherwise.
    """

    id: str
    statement: str
    source: str
    paper_value: str
    criterion: Criterion
    unit: str = ""

    def measured(
        self,
        value: float,
        ci_low: float,
        ci_high: float,
        n: int,
        *,
        condition: str,
        budget: str,
        command: str,
        note: str = "",
    ) -> Row:
        """The row for a measurement; NaN where something could not be measured, which is never "reproduced"."""
        verdict = self.criterion.judge(value, ci_low, ci_high)
        numbers = {"value": value, "ci_low": ci_low, "ci_high": ci_high}
        return self._row(
            **{k: float(v) if math.isfinite(v) else None for k, v in numbers.items()},
            n=n, condition=condition, budget=budget, command=command, verdict=verdict, note=note,
        )  # fmt: skip

    def not_testable(self, *, would_need: str, command: str) -> Row:
        """The row of a claim that this scale cannot test; `would_need` names the scale that could, and its cost."""
        return self._row(
            value=None, ci_low=None, ci_high=None, n=0, condition="", budget="", command=command,
            verdict="not testable at this scale", note=would_need,
        )  # fmt: skip

    def _row(self, **found) -> Row:
        return Row(
            id=self.id,
            statement=self.statement,
            source=self.source,
            paper_value=self.paper_value,
            unit=self.unit,
            criterion=self.criterion.text,
            **found,
        )


@dataclass(frozen=True)
class Ledger:
    """A study's claims and their verdicts."""

    study: str
    scale: Scale
    seeds: Sequence[int]
    claims: Sequence[Row] = field(default_factory=tuple)

    def to_json(self) -> str:
        """The document that `interp study NAME --json` prints."""
        document = {
            "study": self.study,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "claims": [row.model_dump() for row in self.claims],
        }
        return json.dumps(document, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Ledger:
        document = json.loads(text)
        rows = tuple(Row(**row) for row in document["claims"])
        return Ledger(document["study"], document["scale"], tuple(document["seeds"]), rows)

    def table(self) -> pd.DataFrame:
        """One row a claim."""
        return pd.DataFrame([row.model_dump() for row in self.claims], columns=list(Row.model_fields))

    @property
    def all_reproduced(self) -> bool:
        """Whether no testable claim failed (what `--strict` asks)."""
        return all(row.verdict in ("reproduced", "not testable at this scale") for row in self.claims)
