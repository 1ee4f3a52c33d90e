"""A run is what its settings and first weights are, not what its folder is called; copies are said to be copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import interp
from interp.cli import run as cli
from interp.runs.names import copies, description, distinct, distinguished, shortest
from interp.runs.verify import verify
from tasks import UserError

SMALL = {
    "model.n_layers": 1, "model.d_model": 8, "model.n_heads": 2, "task.chains": 2, "task.hops": 2,
    "train.batch": 8, "train.eval_batch": 8, "train.steps": 4, "train.schedule": {"log": 0, "every": 2},
}  # fmt: skip
ENDS = SMALL | {"train.schedule": {"log": 0, "every": 4}}  # the first and the last checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        interp.Run.train("retrieval", place / f"seed{seed}", seed=seed, changes=SMALL)
    return place


@pytest.fixture
def place(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def measured(nets, tmp_path) -> Path:
    """Such runs with the tables of their pages."""
    for seed in (0, 1):
        shutil.copytree(
            nets.reported(f"retrieval-ends-{seed}", "retrieval", ENDS, seed), tmp_path / f"seed{seed}"
        )
    return tmp_path


def test_a_moved_run_keeps_its_tables_without_its_name(place):
    run = interp.load(place / "seed0")
    before, identity = run.scores().table, run.identity
    data = (place / "seed0" / "analysis" / "scores.parquet").read_bytes()
    shutil.move(place / "seed0", place / "moved")
    moved = interp.load(place / "moved")
    after = moved.scores().table
    assert (place / "moved" / "analysis" / "scores.parquet").read_bytes() == data
    assert "run" not in pd.read_parquet(place / "moved" / "analysis" / "scores.parquet")
    assert set(before["run"]) == {"seed0"}
    assert set(after["run"]) == {"moved"}
    pd.testing.assert_frame_equal(after.drop(columns="run"), before.drop(columns="run"))
    assert moved.identity == identity
    with pytest.raises(UserError, match="has no checkpoint"):
        assert type(moved.folder)(place / "gone", moved.folder.head).identity


def test_a_table_measured_in_two_places_holds_no_name(place):
    shutil.copytree(place / "seed0", place / "copy")
    interp.load(place / "seed0").scores(steps=0)
    shutil.copytree(place / "seed0" / "analysis", place / "copy" / "analysis")
    interp.load(place / "copy").scores()
    interp.load(place / "seed0").scores()
    tables = [place / name / "analysis" / "scores.parquet" for name in ("seed0", "copy")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_the_page_of_the_folder_one_stands_in_has_a_title(measured, monkeypatch):
    monkeypatch.chdir(measured / "seed0")
    assert interp.load(".").name == "seed0"
    assert cli(["report", "."]) == 0
    assert "<title>seed0" in Path("report.html").read_text()


def test_equal_settings_in_two_places_are_one_run_and_other_seeds_are_not(place, tmp_path):
    again = interp.Run.train("retrieval", tmp_path / "elsewhere" / "x", seed=0, changes=SMALL)
    first, second = interp.load(place / "seed0"), interp.load(place / "seed1")
    assert first.identity == again.identity != second.identity
    assert copies([first, second, again]) == [(first, again)]
    assert "copies of one run" in description((first, again))
    assert "differ" not in description((first, again))
    longer = interp.Run.train("retrieval", tmp_path / "longer", seed=0, changes=SMALL | {"train.lr": 0.002})
    assert longer.identity != first.identity


def test_names_are_the_shortest_ends_that_differ(place):
    for group in ("A", "B"):
        shutil.copytree(place / "seed0", place / group / "seed0")
    assert shortest([place / "A" / "seed0", place / "B" / "seed0"]) == ["A/seed0", "B/seed0"]
    assert shortest([place / "A" / "seed0", place / "seed1"]) == ["seed0", "seed1"]
    runs = distinguished([interp.load(place / group / "seed0") for group in ("A", "B")])
    assert [set(run.scores().table["run"]) for run in runs] == [{"A/seed0"}, {"B/seed0"}]


@pytest.mark.filterwarnings("default")
def test_an_interval_over_runs_counts_a_copy_once(place, capsys):
    shutil.copytree(place / "seed0", place / "copy")
    runs = [interp.load(place / name) for name in ("seed0", "copy", "seed1")]
    with pytest.warns(UserWarning, match="seed0 and copy are copies of one run"):
        assert [run.name for run in distinct(runs)] == ["seed0", "seed1"]
    with pytest.raises(UserError, match="copies of one run"):  # and no warning besides
        distinct(runs[:2])
    assert cli(["emergence", *(str(place / name) for name in ("seed0", "copy", "seed1")), "--json"]) == 0
    told = capsys.readouterr()
    assert "counted once" in told.err
    assert {row["run"] for row in json.loads(told.out)["rows"]} == {"seed0", "seed1"}


def test_a_page_of_copies_says_so(measured):
    shutil.copytree(measured / "seed0", measured / "B" / "seed0")
    shutil.copytree(measured / "seed0", measured / "A" / "seed0")
    out = measured / "both.html"
    names = [str(measured / name) for name in ("A/seed0", "B/seed0", "seed1")]
    assert cli(["report", *names, "-o", str(out)]) == 0
    assert "A/seed0 and B/seed0 are copies of one run" in out.read_text()
    assert "(2 runs: A/seed0, seed1)" in out.read_text()


def test_a_table_of_version_0_1_is_read_under_the_name_of_today(tmp_path):
    golden = Path(__file__).parents[2] / "golden" / "v0.1" / "retrieval"
    folder = shutil.copytree(golden, tmp_path / "renamed")
    assert set(pd.read_parquet(folder / "analysis" / "scores.parquet")["run"]) == {"retrieval"}
    assert set(interp.load(folder).scores().table["run"]) == {"renamed"}
    assert verify(folder).ok
