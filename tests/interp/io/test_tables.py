"""Tables on disk: what was written comes back, and an altered file never reads as another table."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp.io.tables import Stamp, read_table, write_table
from tasks import UserError

STAMP = Stamp(analysis="heads", key="k", config="c", checkpoints={0: "a", 10: "b"}, settings={"chunks": 4})


def _table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "step": pd.array([None, 0, 0, 10, 10], dtype="Int64"),
            "metric": ["query -> link_1", "a", None, "</script>", "ü"],
            "value": [0.5, float("nan"), *rng.normal(size=3)],
            "n": [1, 2, 3, 4, 5],
        }
    )


def test_round_trip_and_equal_bytes(tmp_path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, _table(), STAMP)
    found = read_table(tmp_path / "one")
    assert found is not None
    pd.testing.assert_frame_equal(found[0], _table(), check_dtype=False)
    assert found[1] == STAMP
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_table(tmp_path / "none") is None


def test_no_flipped_bit_reads_as_another_table(tmp_path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, _table(), STAMP)
    whole = path.read_bytes()
    rng = random.Random(1)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        found = _read_or_refusal(path)
        if isinstance(found, str):
            assert found.startswith(str(path))
            assert len(found.splitlines()) == 1
            refused += 1
            continue
        assert found is not None
        pd.testing.assert_frame_equal(found[0], _table(), check_dtype=False)
        assert found[1] == STAMP
    assert refused > 100


def _read_or_refusal(path: Path) -> tuple[pd.DataFrame, Stamp] | str | None:
    try:
        return read_table(path)
    except UserError as error:
        return str(error)


def test_empty_table_and_foreign_file(tmp_path) -> None:
    write_table(tmp_path / "empty", _table().iloc[:0], STAMP)
    found = read_table(tmp_path / "empty")
    assert found is not None
    assert found[0].empty
    _table().to_parquet(tmp_path / "foreign")
    with pytest.raises(UserError, match="no stamp"):
        read_table(tmp_path / "foreign")


def test_a_table_of_a_newer_version_is_told_in_one_line(tmp_path) -> None:
    write_table(tmp_path / "t", _table(), STAMP.model_copy(update={"format": 99}))
    with pytest.raises(
        UserError, match=r"t: of format 99, newer than this version reads \(3\); upgrade algoscope"
    ):
        read_table(tmp_path / "t")
