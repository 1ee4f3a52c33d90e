"""Options that several commands share, as types; imports nothing heavy, so that help is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

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
