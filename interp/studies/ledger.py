"""The ledger of a study: claims with a criterion fixed beforehand, what was measured, and the verdict that follows.

A claim is one full sentence. Its kind says what a verdict is worth: an *identity* is a closed form or a theorem that
our code can only confirm, a *confirmatory* claim could have come out otherwise and had its criterion fixed before it
was measured, an *exploratory* one was found by looking. The three are counted apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from interp.studies.criteria import Criterion as Criterion
from interp.studies.criteria import Verdict
from interp.studies.possible import NONE, Bounds, possible
from interp.studies.power import Design, Means, Planted, Power

Scale = Literal["quick", "cpu", "paper"]
Kind = Literal["identity", "confirmatory", "exploratory"]
KINDS: tuple[Kind, ...] = ("confirmatory", "identity", "exploratory")
UNSTATED = ("none stated", "not in the paper")


class Row(BaseModel):
    """One line of a ledger, in the order in which it is printed and stored.

    `interval` says by which method the limits were made: a "range" is no confidence interval and settles nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    id: str
    statement: str
    source: str
    paper_value: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    interval: str = ""
    n: int
    unit: str
    condition: str
    budget: str
    command: str
    criterion: str
    power: Power | None = None
    kind: Kind = "confirmatory"
    verdict: Verdict
    note: str

    @property
    def claim(self) -> str:
        """The claim's id; a claim asked of several models has a row "claim, model" for each."""
        return self.id.partition(", ")[0]

    @property
    def shown(self) -> str:
        """The measurement in one cell: value, confidence limits where there are any, unit."""
        if self.value is None:
            return "–"
        known = self.ci_low is not None and self.ci_high is not None and self.ci_low != self.ci_high
        word = "range " if self.interval == "range" else ""
        span = f" [{word}{self.ci_low:.3g}, {self.ci_high:.3g}]" if known else ""
        return f"{self.value:.3g}{span} {self.unit}".strip()

    @property
    def stated(self) -> bool:
        """Whether the source gives a value or a direction to hold the measurement against."""
        return not self.paper_value.startswith(UNSTATED)


@dataclass(frozen=True)
class Replaced:
    """A criterion that was given up: what it was, when (ISO) and why.

    Powers in `why` were computed on that day, with its intervals. `remeasure`: what is measured changed with it
    (another statistic or unit), so that values of before cannot be judged by the new one.
    """

    criterion: str
    when: str
    why: str
    remeasure: bool = False


@dataclass(frozen=True)
class Claim:
    """What a paper says, where it says it, and what would count as reproducing it.

    `statement` is a full sentence that can be understood alone. `paper_value` is text as printed there ("none stated"
    where there is none). `n` in a row counts training seeds unless the note says otherwise. `design`: what the value
    is when the claim is true and when it is false, from which the criterion's power is computed. `same_as`: the claim
    whose measurement this one judges by another criterion; its row is made from that one's when ledgers are judged.
    """

    id: str
    statement: str
    source: str
    paper_value: str
    criterion: Criterion
    unit: str = ""
    kind: Kind = "confirmatory"
    design: Design | None = None
    history: tuple[Replaced, ...] = ()
    same_as: str = ""

    @property
    def power(self) -> Power | None:
        """Chances that the criterion is met at the quick scale's number of units."""
        return self.power_of(self.design.n) if self.design else None

    def power_of(self, n: int) -> Power | None:
        """The same at `n` units."""
        return self.design.power(self.criterion, n, self.bounds) if self.design else None

    @property
    def bounds(self) -> Bounds:
        """Least and largest possible value, where the figure is a mean over seeds."""
        return possible(self.unit) if isinstance(self.design, Means | Planted) else NONE

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
        interval: str = "",
    ) -> Row:
        """The row for a measurement; NaN where something could not be measured.

        A range (`interval` "range") is printed, and judged as if its limits were unknown.
        """
        limits = (math.nan, math.nan) if interval == "range" else (ci_low, ci_high)
        numbers = {"value": value, "ci_low": ci_low, "ci_high": ci_high}
        return self._row(
            **{k: None if math.isnan(v) else float(v) for k, v in numbers.items()},
            n=n, condition=condition, budget=budget, command=command, note=note, interval=interval,
            verdict=self.criterion.judge(value, *limits),
            power=self.power_of(n),
        )  # fmt: skip

    def not_testable(self, *, would_need: str, command: str) -> Row:
        """The row of a claim that this scale cannot test; `would_need` names the scale that could, and its cost."""
        return self._row(
            value=None, ci_low=None, ci_high=None, n=0, condition="", budget="", command=command,
            verdict="not testable at this scale", note=would_need,
        )  # fmt: skip

    def _row(self, **found: Any) -> Row:
        return Row(
            id=self.id,
            statement=self.statement,
            source=self.source,
            paper_value=self.paper_value,
            unit=self.unit,
            criterion=self.criterion.text,
            kind=self.kind,
            **found,
        )


def by_kind(rows: Iterable[Row]) -> dict[Kind, list[Row]]:
    """Rows by what a verdict on them is worth; every kind is there, if empty."""
    found: dict[Kind, list[Row]] = {kind: [] for kind in KINDS}
    for row in rows:
        found[row.kind].append(row)
    return found


@dataclass(frozen=True)
class Ledger:
    """A study's claims and their verdicts. `fingerprint`: what made it (`interp.studies.fingerprint`);
    `cpu_seconds`: what it cost, from its first run on (`interp.studies.cost`; None where that was not counted)."""

    study: str
    scale: Scale
    seeds: Sequence[int]
    claims: Sequence[Row] = field(default_factory=tuple)
    fingerprint: dict[str, str] = field(default_factory=dict)
    cpu_seconds: float | None = None

    def to_json(self) -> str:
        """The document that `interp study NAME --json` prints."""
        document = {
            "study": self.study,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "fingerprint": self.fingerprint,
            "cpu_seconds": self.cpu_seconds,
            "claims": [json.loads(row.model_dump_json()) for row in self.claims],
        }
        return json.dumps(document, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Ledger:
        document = json.loads(text)
        rows = tuple(Row(**row) for row in document["claims"])
        made = dict(document.get("fingerprint", {}))
        cost = document.get("cpu_seconds")
        return Ledger(document["study"], document["scale"], tuple(document["seeds"]), rows, made, cost)

    def table(self) -> pd.DataFrame:
        """One row a claim."""
        return pd.DataFrame([row.model_dump() for row in self.claims], columns=list(Row.model_fields))

    @property
    def contradicted(self) -> tuple[Row, ...]:
        """The rows that contradict their claim (what `--strict` asks)."""
        return tuple(row for row in self.claims if row.verdict == "contradicted")


@dataclass(frozen=True)
class Measured:
    """A ledger with the version that measured it and the day (ISO); `stale`: what has changed since, in words."""

    ledger: Ledger
    version: str
    date: str
    stale: tuple[str, ...] = ()
