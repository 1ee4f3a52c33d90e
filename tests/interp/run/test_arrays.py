"""Runs as an xarray Dataset: every cell is a row of a table, nothing is measured, what is not there is said."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import xarray

import interp
from interp._version import __version__
from interp.config.run import configure
from interp.run import Run, load
from interp.run.grids import cells, grids, labels
from tasks.errors import UserError

SMALL = {
    "train.steps": 8, "train.batch": 8, "train.eval_batch": 8, "train.schedule.log": 0, "train.schedule.every": 4,
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    root = tmp_path_factory.mktemp("arrays")
    found = [
        Run.train(
            configure("retrieval", seed=s, changes={**SMALL, "train.lr": rate}), root / f"lr{rate}-seed{s}"
        )
        for s, rate in ((0, 0.01), (1, 0.01), (0, 0.02))
    ]
    for run in found:
        run.scores()
        run.patch("head_out", by=("layer", "head"), prompts=8)
    found[0].heads([0, 8])
    return found


def test_a_runs_tables_are_grids_with_named_axes(runs) -> None:
    run = runs[0]
    found = run.to_xarray()
    accuracy = found["scores_accuracy"]
    assert accuracy.dims == ("run", "seed", "step", "position")
    table = run.scores().table.query("metric == 'accuracy' and control == 'none'")
    for row in table.itertuples():
        at = {"run": run.name, "seed": 0, "step": row.step, "position": row.position}
        assert float(accuracy.sel(at)) == row.value
        assert float(found["scores_accuracy_ci_low"].sel(at)) == row.ci_low
    head = found["heads_query_link_1"]
    assert head.dims == ("run", "seed", "step", "layer", "head")
    assert head.sel(step=4).isnull().all(), "this checkpoint was not measured"
    assert head.sel(step=8).notnull().all()
    assert "layer" not in found["scores_accuracy_chance"].dims
    assert head.attrs["units"] == "attention"
    assert head.attrs["source"] == "interp heads RUN"
    assert found["step"].attrs["units"] == "steps"
    assert found.attrs["version"] == __version__
    assert run.folder.config_hash in found.attrs["config_hashes"]
    missing = found.attrs["not_measured"]
    assert "roles" in missing
    assert "heads at 1 of 3 checkpoints" in missing
    assert not (run.folder.analysis_path / "roles.parquet").exists(), "nothing is measured"


def test_runs_of_one_condition_share_a_place_and_a_lacking_run_is_nan(runs) -> None:
    found = interp.to_xarray(runs)
    assert found["run"].values.tolist() == ["train.lr 0.01", "train.lr 0.02"]
    assert found["seed"].values.tolist() == [0, 1]
    losses = found["scores_loss"].sel(position="hop 1", step=8)
    assert losses.notnull().values.tolist() == [[True, True], [True, False]]
    assert found["name"].sel(run="train.lr 0.02").values.tolist() == ["lr0.02-seed0", ""]
    assert found["heads_query_link_1"].sel(seed=1).isnull().all()
    twice = interp.to_xarray([runs[0].path, shutil.copytree(runs[0].path, runs[0].path.parent / "copy")])
    assert sorted(twice["run"].values.tolist()) == ["copy", "lr0.01-seed0"]


def test_a_dataset_survives_netcdf(runs, tmp_path) -> None:
    found = interp.to_xarray(runs)
    found.to_netcdf(tmp_path / "runs.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "runs.nc", engine="scipy") as back:
        back.load()
    xarray.testing.assert_allclose(found.drop_vars("name"), back.drop_vars("name"))
    assert back["scores_loss"].attrs == found["scores_loss"].attrs
    assert back.attrs == found.attrs


def test_what_cannot_be_had_is_one_line(runs, tmp_path, monkeypatch) -> None:
    bare = Run.train(configure("retrieval", changes=SMALL), tmp_path / "bare")
    with pytest.raises(UserError, match="nothing has been measured yet"):
        bare.to_xarray()
    with pytest.raises(UserError, match="at least one run"):
        interp.to_xarray([])
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UserError, match=r"pip install 'algoscope\[xarray\]'"):
        load(runs[0].path).to_xarray()


def test_rows_that_no_axis_tells_apart_are_left_out_and_named() -> None:
    shared = {"run": "r", "seed": 0, "step": 4.0, "layer": -1, "head": -1}
    rows = [
        {**shared, "metric": "effect", "position": "3", "value": 0.5, "sender": "a"},
        {**shared, "metric": "effect", "position": "3", "value": 0.7, "sender": "b"},
        {**shared, "metric": "odd", "position": "all", "value": 1.0, "sender": "a"},
        {**shared, "metric": "odd", "position": "all", "value": 2.0, "sender": "a"},
        {**shared, "metric": "effect", "position": "3", "layer": 2, "value": 0.9, "sender": "a"},
    ]
    found, left = grids("edges", pd.DataFrame(rows), {"caption": "c"})
    assert left == ["edges: odd has several rows of one name"]
    assert [(grid.name, grid.axes) for grid in found] == [
        ("edges_effect", ("run", "seed", "step", "prompt_position", "sender")),
        ("edges_effect_by_step_layer_prompt_position", ("run", "seed", "step", "layer", "prompt_position")),
    ]
    held = cells(found[0], labels(found))["value"]
    assert held.shape == (1, 1, 1, 1, 2)
    np.testing.assert_array_equal(held.ravel(), [0.5, 0.7])
