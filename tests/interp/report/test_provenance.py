"""What a page says of where its figures come from are commands that, pasted, make the very table beside them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

import interp
from interp.cli import run as cli
from interp.io.tables import read_table
from interp.report.collect import collect
from tests.interp.runs.test_run_names import ENDS

SHELL = set("<>|&;`$(){}*?")


def rows_of(path: Path) -> pd.DataFrame:
    found = read_table(path)
    assert found is not None
    return found[0]


REGRESSION = {
    **{name: value for name, value in ENDS.items() if not name.startswith("task.")},
    "task.d": 2,
    "task.n": 3,
    "model.d_mlp": 8,
}


@pytest.mark.parametrize(
    ("preset", "place"), [("retrieval", "r"), ("retrieval", "a run; rm x"), ("regression", "r")]
)
def test_every_command_of_a_page_makes_what_stands_beside_it(preset, place, nets, tmp_path, capsys):
    made = nets.reported(f"{preset}-ends-0", preset, ENDS if preset == "retrieval" else REGRESSION)
    folder = Path(shutil.copytree(made, tmp_path / place))
    page = collect(interp.load(folder))
    shown = [tuple(text.split(" · ")) for text in page.sources.values()]
    assert all(len(pair) == 2 for pair in shown)
    commands = {(command, table) for _, command, table in page.made} | set(shown)
    if preset == "regression":
        assert {"algorithms", "filters", "probe"} <= {Path(table).stem for _, table in commands}
    for command, table in sorted(commands):
        words = shlex.split(command)
        assert words[0] == "interp"
        assert not SHELL & set(command.replace(shlex.quote(str(folder)), "")), command
        if place != "r" or "*" in table:
            continue  # quoting is seen above; each command is run once
        path = folder / table
        before = rows_of(path) if path.suffix == ".parquet" else None
        if path.suffix == ".parquet":
            path.unlink()
        assert cli(words[1:]) == 0, command
        assert path.exists(), command
        if before is not None:
            pd.testing.assert_frame_equal(rows_of(path), before)
    capsys.readouterr()
