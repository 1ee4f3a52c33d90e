"""Conclusions: what a table says in one or two sentences, the same at the terminal, in a notebook and on a page.

Owns `Sentence`. A conclusion is a function of a table alone and speaks of its last checkpoint (or of training as a
whole, where the table dates something); the registry's entry of an analysis names it (`conclude`). It claims no more
than the intervals allow: what lies no higher than its control is reported as such, and what an interval leaves open as
undecided. Limits are those in the table, each for itself, unless a sentence says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

MOST_NAMED = 6
LEVEL = 0.05  # of several tests together
LIMIT = 1.959964  # standard errors from a value to its 95% limit


@dataclass(frozen=True)
class Sentence:
    """One sentence, and by name the figures of the table that it rests on.

    >>> str(Sentence("Nothing emerged by step 8.", {"last": 8.0}))
    'Nothing emerged by step 8.'
    """

    text: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


Conclude = Callable[[pd.DataFrame], "list[Sentence]"]


def paragraph(sentences: Iterable[Sentence]) -> str:
    """Sentences as one text."""
    return " ".join(sentence.text for sentence in sentences)


def measured(table: pd.DataFrame, control: str = "none") -> pd.DataFrame:
    """The rows of the last checkpoint that are no control."""
    own = table[table["control"] == control] if "control" in table else table
    return own[own["step"] == own["step"].max()]


def at(rows: pd.DataFrame) -> str:
    """The checkpoint of rows, as a sentence begins with it.

    >>> at(pd.DataFrame({"step": [1200.0]}))
    'Step 1,200'
    """
    return f"Step {rows['step'].max():,.0f}"


def of(row: Any, name: str) -> float:
    """A figure of a row, of a frame or of its `itertuples`; NaN where there is none."""
    value = row.get(name) if isinstance(row, pd.Series) else getattr(row, name, None)
    return math.nan if value is None else float(value)


def limits(row: Any) -> tuple[float, float]:
    """The confidence limits of a row; NaN where it has none."""
    return of(row, "ci_low"), of(row, "ci_high")


def fixed(number: float, digits: str = ".2f") -> str:
    """A number as text, 0 without a sign.

    >>> fixed(-0.001), fixed(-0.01)
    ('0.00', '-0.01')
    """
    text = f"{number:{digits}}"
    return text.removeprefix("-") if not any(c in "123456789in" for c in text) else text


def significant(rows: pd.DataFrame) -> pd.Series:
    """Which values differ from 0, all of them tested together (Holm's correction at 5%), by their 95% limits.

    The p value of a row is a normal one, whose standard error is the distance to the limit on the side of 0.

    >>> rows = pd.DataFrame({"value": [1.0, 0.3, 0.3], "ci_low": [0.9, 0.02, -0.1], "ci_high": [1.1, 0.58, 0.7]})
    >>> significant(rows).tolist()
    [True, False, False]
    """
    inner = rows["ci_low"].where(rows["value"] > 0, rows["ci_high"])
    apart = (rows["value"] - inner).abs()
    p = pd.Series(
        [
            math.erfc(LIMIT * abs(value) / width / math.sqrt(2))
            if width > 0
            else float(math.isnan(width) or value == 0)
            for value, width in zip(rows["value"], apart, strict=True)
        ],
        index=rows.index,
        dtype=float,
    )
    ordered = p.sort_values(kind="stable")
    left = pd.Series(range(len(p), 0, -1), index=ordered.index)
    return ((ordered * left).cummax() <= LEVEL).reindex(rows.index)


def interval(row: Any, digits: str = ".2f") -> str:
    """A row's value with its 95% interval.

    >>> interval(pd.Series({"value": 0.931, "ci_low": 0.92, "ci_high": 0.942}))
    '0.93 [0.92, 0.94]'
    """
    low, high = limits(row)
    between = (
        "" if math.isnan(low) and math.isnan(high) else f" [{fixed(low, digits)}, {fixed(high, digits)}]"
    )
    return f"{fixed(of(row, 'value'), digits)}{between}"


def figures(row: Any, name: str = "value") -> dict[str, float]:
    """A row's value and limits by name."""
    low, high = limits(row)
    return {name: of(row, "value"), f"{name}, lower limit": low, f"{name}, upper limit": high}


def head(row: Any) -> str:
    """A head's name, L0H1; a layer's where a row is of a whole layer."""
    layer, number = int(of(row, "layer")), int(of(row, "head"))
    return f"L{layer}" if number < 0 else f"L{layer}H{number}"


def few(parts: Sequence[str], most: int = MOST_NAMED) -> str:
    """A list in a sentence; what is beyond `most` is counted.

    >>> few(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = ", ".join(parts[:most])
    return f"{shown} and {len(parts) - most} more" if len(parts) > most else shown


def first_middle_last(count: int) -> list[int]:
    """Indices of the first, the middle and the last of many, the same wherever three of them stand for all."""
    return sorted({round(i * (count - 1) / 2) for i in range(3)}) if count else []


def capital(text: str) -> str:
    """With a capital letter in front."""
    return text[:1].upper() + text[1:]
