"""Analysis tables on disk: Parquet, stamped with the checkpoints they came from.

The stamp is JSON under the Parquet schema's metadata key `algoscope`, with a digest of stamp, names, types and values
that is checked on reading, so that an altered table is rejected.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from interp.io.files import cannot_write, canonical, write_atomically
from interp.io.former import FORMAT, in_words, settings_in_words
from tasks.errors import UserError

KEY = b"algoscope"
DIGEST = b"algoscope-digest"


class Stamp(BaseModel):
    """Where a table comes from: analysis and settings (`key` hashes both), the run's config hash, and for each step
    the hash of the weights that were measured. `code` hashes tasks, models and analyses that are not this package's
    ("" where all are); `devices` names the device of each step that was not measured on cpu.

    `format` 1 (version 0.1) has rows that hold the run's name in a column `run`; since 2 names are put in on reading;
    3 has the words of version 0.2 (`interp.io.former`), in which older ones are read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    analysis: str
    key: str
    config: str
    checkpoints: dict[int, str]
    settings: dict[str, Any]
    code: str = ""
    devices: dict[int, str] = {}


def write_table(path: Path, table: pd.DataFrame, stamp: Stamp) -> None:
    """Write a table with its stamp in one atomic step; the same table and stamp give the same bytes.

    Raises UserError when the place cannot be written.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    text = canonical(stamp.model_dump(mode="json")).encode()
    as_read = pq.read_table(io.BytesIO(_bytes(arrow, {}))).to_pandas()
    data = _bytes(arrow, {KEY: text, DIGEST: _digest(as_read, text)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    write_atomically(path, data)


def _bytes(arrow: pa.Table, facts: dict[bytes, bytes]) -> bytes:
    sink = io.BytesIO()
    known = arrow.schema.metadata or {}
    pq.write_table(arrow.replace_schema_metadata({**known, **facts}), sink, compression="zstd")
    return sink.getvalue()


def _digest(table: pd.DataFrame, stamp: bytes) -> bytes:
    """SHA-256 over stamp, column names, types and values, as they are after reading."""
    names = canonical([[str(name), str(kind)] for name, kind in table.dtypes.items()]).encode()
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
    return hashlib.sha256(b"\0".join((stamp, names, rows))).hexdigest().encode()


def _format(stamp: bytes) -> int:
    """The format that a stamp states, whatever else is in it; 0 where it states none."""
    try:
        found = json.loads(stamp)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return found if type(found) is int else 0


def read_table(path: Path) -> tuple[pd.DataFrame, Stamp] | None:
    """A table, in today's words, and its stamp; None where there is no such file.

    Raises UserError for a damaged or foreign file.
    """
    if not path.exists():
        return None
    remedy = "delete it and run the analysis again"
    try:
        arrow = pq.read_table(io.BytesIO(path.read_bytes()))
        facts, table = arrow.schema.metadata or {}, arrow.to_pandas()
    except Exception as error:  # a damaged file can make the reader raise anything
        said = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise UserError(f"{path}: not a readable table ({said}); {remedy}") from None
    if KEY not in facts or DIGEST not in facts:
        raise UserError(f"{path}: carries no stamp of this project; {remedy}")
    if (written := _format(facts[KEY])) > FORMAT:
        raise UserError(
            f"{path}: of format {written}, newer than this version reads ({FORMAT}); upgrade algoscope"
        )
    try:
        sound = _digest(table, facts[KEY]) == facts[DIGEST]
        stamp = Stamp.model_validate_json(facts[KEY])
    except (ValidationError, TypeError, ValueError):
        sound, stamp = False, None
    if not sound or stamp is None:
        raise UserError(f"{path}: is not what was written (its digest does not match); {remedy}")
    stamp = stamp.model_copy(update={"settings": settings_in_words(stamp.settings)})
    return in_words(table, stamp.analysis, stamp.format), stamp
