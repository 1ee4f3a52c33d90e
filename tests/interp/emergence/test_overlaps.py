"""Overlaps as emergence scores: read off known weights, dated in a run, reported, silent where nothing grows."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

from interp.cli import run as command
from interp.config.model_single_index import IndexNetworkConfig, TiedAttentionConfig
from interp.config.run import RunConfig, configure
from interp.emergence.overlaps import Overlaps, overlaps
from interp.models.build import build_model
from interp.report.collect import collect
from interp.run import Run
from interp.train.spherical import warn_of_unstable_rate
from tasks.errors import UserError
from tasks.single_index import SingleIndex
from tasks.theory.escape import UnstableRate

FOUND = {
    "task.d": 16,
    "model.start": 0.35,
    "train.steps": 300,
    "train.save_every": 300,
    "train.eval_batch": 32,
}


def test_overlaps_of_known_weights():
    task = SingleIndex(d=9, length=2, link="z1*z2")
    model = build_model(IndexNetworkConfig(tied=False), task.interface, 0)
    with torch.no_grad():
        model.w.zero_()
        model.w[0, 0], model.w[0, 4] = -1.8, 2.4
        model.w[1, 5] = 3.0
    found = overlaps(model, task)
    assert found == pytest.approx({"m": 0.6 / 2**0.5, "m 1": 0.6, "m 2": 0.0}, abs=1e-6)
    eq18 = SingleIndex.model_validate({"d": 9, "link": {"omega": 0.5}})
    attention = build_model(TiedAttentionConfig(positional="opposite"), eq18.interface, 0)
    with torch.no_grad():
        attention.w.zero_()
        attention.w[0, 0], attention.w[0, 1] = 1.8, -2.4
    assert overlaps(attention, eq18) == pytest.approx({"m": 0.6, "e": 0.8}, abs=1e-6)


def test_a_run_that_finds_its_direction_is_dated_and_reported(tmp_path, capsys):
    run = Run.train("single-index", tmp_path / "run", changes=FOUND)
    curve = run.tables([Overlaps()])["overlaps"].set_index("step")["value"]
    assert curve[0] == pytest.approx(0.35, abs=1e-5)
    assert command(["emergence", str(run.path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    (row,) = [row for row in rows if row["metric"] == "overlap"]
    first = int(curve.index[(curve >= 0.5) & (curve[::-1].cummin()[::-1] >= 0.5)][0])
    assert (row["state"], row["subject"]) == ("emerged", "m")
    assert row["before"] < first <= row["step"] + 50
    page = collect(run)
    assert {"m", "label"} <= set(page.emergence["subject"])
    assert "overlap" in set(page.scores["metric"])
    assert page.probes is None


def test_a_run_that_stays_at_its_start_has_no_onset(tmp_path):
    still = FOUND | {"model.start": 0.05, "train.lr": 1e-6, "train.steps": 100}
    run = Run.train("single-index", tmp_path / "run", changes=still)
    found = run.emergence().table
    assert found[found["metric"] == "overlap"]["state"].tolist() == ["not emerged"]


def test_other_models_are_refused(tmp_path):
    changes = {"train.steps": 1, "train.batch": 2, "train.eval_batch": 2}
    run = Run.train("regression", tmp_path / "run", changes=changes)
    with pytest.raises(UserError, match="single-index"):
        run.tables([Overlaps()])
    single = Run.train("single-index", tmp_path / "single", changes=FOUND | {"train.steps": 1})
    with pytest.raises(UserError, match="no residual stream"):
        single.probe()


def _config(**changes) -> RunConfig:
    return configure("single-index", changes=changes)


def test_a_rate_beyond_the_bound_is_warned_about_with_the_bound(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bound = warn_of_unstable_rate(_config())
    assert bound == pytest.approx(0.244, abs=0.01)
    with pytest.warns(UnstableRate, match="exceeds the stability bound 0.244"):
        warn_of_unstable_rate(_config(**{"train.lr": 0.6}))
    with pytest.warns(UnstableRate, match="bound 0.244"):
        Run.train("single-index", tmp_path / "run", changes=FOUND | {"train.lr": 0.6, "train.steps": 2})
    attention = {
        "task": {"kind": "single-index", "d": 50, "link": {"omega": 0.5}},
        "model": {"kind": "tied-attention", "positional": "opposite"},
        "train": {"steps": 1, "batch": 1, "optimiser": "spherical", "lr": 50.0},
    }
    with pytest.warns(UnstableRate, match="learning rate 50"):
        warn_of_unstable_rate(configure(attention))


def test_no_bound_is_made_up():
    flat = _config(**{"task.link": "He6(z1)*He2(z2)", "train.lr": 9.0})
    assert warn_of_unstable_rate(flat) is None
    assert warn_of_unstable_rate(configure("regression")) is None
