"""Options that several commands share, as types, with their ranges; imports nothing heavy, so that help is fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter


def least(low: int) -> Callable[[Any, Any], None]:
    """A check that a number is at least `low`."""

    def check(_: Any, value: Any) -> None:
        if value is not None and value < low:
            raise ValueError(f"must be {low} or more")

    return check


def _share(_: Any, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError("must lie between 0 and 1")


Count = Annotated[int, Parameter(validator=least(1))]
CountFromZero = Annotated[int, Parameter(validator=least(0))]
Prompts = Annotated[
    int | None,
    Parameter(
        validator=least(2),
        show_default=False,
        help="Number of prompts: the usual one, and fewer of a large model, unless given.",
    ),
]
Share = Annotated[float, Parameter(validator=_share)]
Json = Annotated[bool, Parameter(name="--json", help="Print the rows as one JSON document instead.")]
WithoutInterventions = Annotated[
    bool,
    Parameter(
        negative="",
        help="Measure without the interventions that the run was trained with; they are active otherwise.",
    ),
]
Steps = Annotated[str, Parameter(help="'all', 'last', or comma-separated steps.")]
Out = Annotated[Path | None, Parameter(name=["--out", "-o"], help="Also write the rows as a Parquet table.")]
Several = Annotated[list[str] | None, Parameter(negative="", consume_multiple=True, show_default=False)]
Question = Annotated[str | None, Parameter(metavar="MODULE:FUNCTION", show_default=False)]
Group = Annotated[
    str | None,
    Parameter(
        name="--by", show_default=False, help="Each group of prompts apart: an attribute such as hops."
    ),
]
Sinks = Annotated[
    list[str] | None,
    Parameter(
        name="--sink",
        negative="",
        show_default=False,
        help="Where metrics go as well: tensorboard, trackio, or a sink of your own; may be given several times.",
    ),
]
