"""Output of a result: its conclusion first, as JSON, as a Parquet table; and the list of available analyses."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from interp.analysis.cached import cached
from interp.analysis.result import Result, parted
from interp.cli import asking, show
from interp.io.files import make_room, write_atomically
from tasks.errors import UserError


def print_json(result: Result, besides: Mapping[str, Any] | None = None) -> int:
    """Conclusion and rows of a result as one JSON document, with further entries."""
    rows = show.records(result.table)
    conclusion = [sentence.text for _, found in parted(result) for sentence in found.conclusion]
    shown = {"analysis": result.name, "conclusion": conclusion, "caption": result.caption, "rows": rows}
    show.document({**shown, **(besides or {})})
    return 0


def at_hand(run: Path, name: str | None, steps: str) -> Result | None:
    """What is cached of an analysis in its usual settings, without loading torch; None where it has to be asked for."""
    return None if name is None or asking.given() else cached(run, name, steps)


def by_group(run: Any, attribute: str | None) -> Any:
    """A run, or with an attribute of its prompts the same run by groups."""
    return run if attribute is None else run.by(attribute)


def each(result: Result, *further: Result) -> Iterator[Result]:
    """The result below what it concludes, or that of each group below a line that names it; every command that prints
    a result prints it through here. `further` results conclude along with it.
    """
    for label, found in parted(result):
        if label:
            show.note(f"{label}:")
        concluded(found, *further)
        yield found


def concluded(*results: Result) -> None:
    """What results conclude, a sentence a paragraph, and an empty line."""
    sentences = [sentence for result in results for sentence in result.conclusion]
    for sentence in sentences:
        show.note(sentence.text)
    if sentences:
        show.note("")


def room(out: Path | None) -> None:
    """Makes the folder of a file that is asked for, one level of it: more is a typing error more often than a wish.

    Raises UserError at once for a place where the file could not be written later.
    """
    if out is None:
        return
    above = out.parent.parent
    if not above.exists():
        missing = next(folder for folder in (*reversed(above.parents), above) if not folder.exists())
        raise UserError(f"{out}: there is no folder {missing}; make it, or choose another place")
    make_room(out)


def keep(result: Result, out: Path | None) -> None:
    """The rows as Parquet, written in one step."""
    if out is not None:
        buffer = io.BytesIO()
        pd.DataFrame(result.table).to_parquet(buffer, index=False)
        write_atomically(out, buffer.getvalue())


def listed(analyses: pd.DataFrame, json: bool) -> int:
    """The analyses that apply to a run."""
    if json:
        show.document({"analyses": show.records(analyses)})
        return 0
    for each in analyses.itertuples():
        show.note(f"{each.name}: {each.command}")
        show.indented(str(each.caption))
    return 0
