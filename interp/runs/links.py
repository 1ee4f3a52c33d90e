"""Where the files of an imported or adopted model lie now, when they were moved.

`links.json` in the run folder maps the place that a checkpoint refers to onto the place of today. It proves nothing and
need not: the reference holds the hash of every file, and each read checks them.
"""

from __future__ import annotations

import json
from pathlib import Path

from interp.io.files import read_bytes, write_atomically
from interp.io.hf_reference import Reference
from interp.io.weight_files import WeightFiles
from tasks.errors import UserError

NAME = "links.json"


def linked(folder: Path, reference: Reference) -> Reference:
    """The reference with the place of today. Raises UserError for a file of links that is none."""
    return reference.model_copy(update={"source": _read(folder).get(reference.source, reference.source)})


def _read(folder: Path) -> dict[str, str]:
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        body = json.loads(read_bytes(path))
        if all(isinstance(text, str) for pair in body.items() for text in pair):
            return body
    except (ValueError, AttributeError, RecursionError):
        pass
    raise UserError(
        f"{path}: no table of old and new places; write it again with: interp relink {folder} --to DIR"
    )


def relink(folder: Path, references: list[Reference], place: str) -> None:
    """Say that the model's files lie in `place` now.

    Raises UserError where they are not those of the import; nothing is written then.
    """
    source = str(Path(place).resolve()) if Path(place).is_dir() else place
    for reference in references:
        reference.model_copy(update={"source": source}).check()
    _keep(folder, {reference.source: source for reference in references})


def relink_files(folder: Path, files: list[WeightFiles], place: str) -> None:
    """Say that an adopted model's weight files lie below `place` now.

    Raises UserError where one is not there or is another file; nothing is written then.
    """
    if not Path(place).is_dir():
        raise UserError(f"{place}: no folder; give the one that holds the weight files")
    links: dict[str, str] = {}
    for each in files:
        links |= each.found_in(folder, Path(place))
    _keep(folder, links)


def linked_files(folder: Path, files: WeightFiles) -> WeightFiles:
    """The weight files with the places of today. Raises UserError for a file of links that is none."""
    return files.moved(_read(folder))


def _keep(folder: Path, found: dict[str, str]) -> None:
    links = {**_read(folder), **found}
    write_atomically(folder / NAME, (json.dumps(links, indent=1, sort_keys=True) + "\n").encode())
