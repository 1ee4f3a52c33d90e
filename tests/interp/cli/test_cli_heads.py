"""interp heads and interp emergence: every view fits 100 columns, JSON and Parquet hold the same rows, and what
cannot be is refused in one line.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from interp.cli import onset_tables
from interp.cli import run as cli
from interp.sweep.onsets import onset_tables as onsets
from tasks.errors import UserError

SMALL = [
    *("--steps", "8", "--set", "train.batch=16", "train.schedule.log=0", "train.schedule.every=4"),
    *("train.eval_batch=16", "model.n_layers=2", "model.n_heads=2", "model.d_model=16", "task.hops=2"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("heads")
    for seed in (0, 1):
        assert (
            cli(["train", "retrieval", "--seed", str(seed), "--out", str(root / f"seed{seed}"), *SMALL]) == 0
        )
    return [str(root / "seed0"), str(root / "seed1")]


@pytest.mark.parametrize("view", ["chain", "roles", "circuits", "composition", "attribution"])
def test_views_fit_and_json_and_parquet_agree(folders, view, capsys, tmp_path) -> None:
    capsys.readouterr()
    assert cli(["heads", folders[0], "--view", view]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 100
    kept = tmp_path / "rows.parquet"
    assert cli(["heads", folders[0], "--view", view, "--json", "-o", str(kept)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == len(pd.read_parquet(kept)) > 0


def test_an_untrained_net_has_no_circuit_at_any_checkpoint(folders, capsys) -> None:
    capsys.readouterr()
    assert cli(["heads", folders[0], "--view", "circuits", "--json"]) == 0
    rows = pd.DataFrame(json.loads(capsys.readouterr().out)["rows"])
    assert set(rows.loc[rows["metric"] == "circuit", "note"]) == {"not solved"}
    assert set(rows["step"]) == {0, 4, 8}


def test_several_runs_are_compared_over_seeds(folders, capsys, tmp_path) -> None:
    capsys.readouterr()
    kept = tmp_path / "events.parquet"
    assert cli(["emergence", *folders, "--json", "-o", str(kept)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["run"] for row in document["rows"]} == {"seed0", "seed1"}
    medians = document["onset of each event, median over runs"]
    assert {row["method"] for row in medians} == {"range"}, "two runs have a range, which says so"
    order = {row["metric"]: row["value"] for row in document["order of the hops"]}
    assert order["every event emerged"] == 0
    assert pd.read_parquet(kept)["step"].isna().all(), (
        "nothing is learned in eight steps: censored, not dropped"
    )
    assert cli(["emergence", *folders]) == 0
    printed = capsys.readouterr().out
    assert "range" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_what_cannot_be_shown_is_refused_in_one_line(folders, capsys, tmp_path) -> None:
    other = str(tmp_path / "other")
    assert cli(["train", "retrieval", "--out", other, *SMALL[:4], "train.schedule.every=3", *SMALL[5:]]) == 0
    capsys.readouterr()
    wrong = {
        "different checkpoints": ["emergence", folders[0], other],
        "two that differ, such as two seeds": ["emergence", folders[0], folders[0]],
        "exactly one with --of edges": ["emergence", *folders, "--of", "edges"],
        "no circuit at checkpoint 8": ["emergence", folders[0], "--of", "edges"],
        "cannot tell a rise from noise": ["emergence", folders[0], "--of", "landscape"],
        "relations only": ["heads", folders[0], "--view", "roles", "--layers"],
        "single tokens": ["heads", folders[0], "--view", "patterns"],
    }
    for said, arguments in wrong.items():
        assert cli(arguments) == 2, arguments
        err = capsys.readouterr().err.strip()
        assert said in err, err
        assert len(err.splitlines()) == 1


def test_onsets_of_two_tasks_are_not_laid_side_by_side() -> None:
    runs: Any = [SimpleNamespace(config=SimpleNamespace(task=SimpleNamespace(kind=k))) for k in ("a", "b")]
    with pytest.raises(UserError, match="a and b: runs must be of one task and differ in the seed only"):
        onsets(runs, "skills", "all", None)


def test_edges_are_shown_with_the_checkpoints_between_which_they_came() -> None:
    table = pd.DataFrame(
        {"subject": ["a", "b", "c"], "step": [20, None, None], "rose": [20, None, 5],
         "state": ["emerged", "not emerged", "transient"], "last": 40, "ci_low": [10.0, None, 0.0],
         "ci_high": [20.0, None, 5.0]}
    ).astype({"step": "Int64", "rose": "Int64"})  # fmt: skip
    shown = onset_tables.edge_onsets(table)
    assert shown["step"].tolist() == [20, "not emerged by 40", "transient"]
    assert shown["between"].tolist() == ["(10, 20]", "", "(0, 5]"]
