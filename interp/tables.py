"""Analysis tables on disk: Parquet, stamped with the checkpoints they came from.

The stamp is JSON under the Parquet schema's metadata key `algoscope`. Pages carry checksums that are verified on
reading, so a table that was altered is refused, not read.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from interp.train.files import write_atomically
from tasks.errors import UserError

KEY = b"algoscope"


class Stamp(BaseModel):
    """Where a table comes from: analysis and settings (`key` hashes both), the run's config hash, and for each step
    the hash of the weights that were measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    analysis: str
    key: str
    config: str
    checkpoints: dict[int, str]
    settings: dict[str, Any]


def write_table(path: Path, table: pd.DataFrame, stamp: Stamp) -> None:
    """Write a table with its stamp in one atomic step; the same table and stamp give the same bytes."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    text = json.dumps(stamp.model_dump(mode="json"), sort_keys=True, allow_nan=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), KEY: text.encode()})
    sink = io.BytesIO()
    pq.write_table(arrow, sink, compression="zstd", write_page_checksum=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, sink.getvalue())


def read_table(path: Path) -> tuple[pd.DataFrame, Stamp] | None:
    """A table and its stamp; None where there is no such file. Raises UserError for a damaged or foreign file."""
    if not path.exists():
        return None
    remedy = "delete it and run the analysis again"
    try:
        arrow = pq.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        stamp = Stamp.model_validate_json((arrow.schema.metadata or {}).get(KEY, b""))
        return arrow.to_pandas(), stamp
    except ValidationError:
        raise UserError(f"{path}: carries no stamp of this project; {remedy}") from None
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a readable table ({str(error).splitlines()[0][:80]}); {remedy}"
        ) from None
