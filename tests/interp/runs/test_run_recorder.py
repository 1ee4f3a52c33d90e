"""Recordings of other people's loops, lists of runs, exports, and the optimisers' division of labour."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from interp.config.run import configure, parse_config
from interp.models import build_model
from interp.models.weights import load_weights
from interp.runs.folder import RunFolder
from interp.runs.listing import export_checkpoint, list_runs
from interp.runs.recorder import Recorder
from interp.runs.verify import verify
from interp.train.loop import resume, train
from interp.train.muon import StackedMuon
from interp.train.optimisers import Optimisers
from tasks.errors import UserError

SETTINGS = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mask": "full"},
    "train": {"steps": 10, "batch": 4, "lr": 0.01, "eval_batch": 8, "schedule": {"every": 5}},
}


def record(path, upto: int = 10, start: int = 0) -> None:
    model = torch.nn.Linear(2, 2)
    torch.nn.init.ones_(model.weight)
    recorder = Recorder(path, {"anything": [1, "two"]}, [0, 5, 10], start=start, log_every=2)
    for step in range(start, upto + 1):
        recorder.record(step, model, loss=1 / (step + 1), gain=math.nan if step == 4 else 2.0)
    recorder.close()


def test_a_recording_is_a_run_folder(tmp_path):
    record(tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.steps == (0, 5, 10)
    assert run.finished
    assert verify(tmp_path / "run").state == "finished"
    table = run.metrics()
    assert table.query("metric == 'loss'")["step"].tolist() == [0, 2, 4, 5, 6, 8, 10]
    assert table.query("metric == 'gain'")["value"].isna().sum() == 1
    assert run.weights(5)["weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(UserError, match="a recording whose settings are not those of a run"):
        _ = run.config
    with pytest.raises(UserError, match="continue with that loop"):
        resume(tmp_path / "run")


def test_a_recording_goes_on_only_when_told_where(tmp_path):
    record(tmp_path / "run", upto=7)
    assert verify(tmp_path / "run").state == "unfinished"
    with pytest.raises(UserError, match="start=7"):
        record(tmp_path / "run")
    record(tmp_path / "run", start=5)
    steps = RunFolder.open(tmp_path / "run").metrics().query("metric == 'loss'")["step"]
    assert steps.tolist() == [0, 2, 4, 5, 6, 8, 10]
    assert verify(tmp_path / "run").state == "finished"


def test_steps_out_of_order_or_passed_over_are_refused(tmp_path):
    recorder = Recorder(tmp_path / "run", {}, [0, 5])
    recorder.record(0, {"w": torch.zeros(1)})
    for step in (0, 6):
        with pytest.raises(UserError, match="was handed over where"):
            recorder.record(step, {"w": torch.zeros(1)})
    other = Recorder(tmp_path / "other", {}, [0, 5, 9])
    other.record(0, {"w": torch.zeros(1)})
    with pytest.raises(UserError, match="5 of the schedule was due"):
        other.record(9, {"w": torch.zeros(1)})


@pytest.mark.parametrize("schedule", [[], [5, 5], [3, 2], [-1, 4]])
def test_bad_schedules_are_refused(tmp_path, schedule):
    with pytest.raises(UserError, match="Recorder"):
        Recorder(tmp_path / "run", {}, schedule)


def test_a_recording_with_settings_of_ours_can_be_analysed(tmp_path):
    config = parse_config(SETTINGS)
    model = build_model(config.model, config.task.interface, 0)
    recorder = Recorder(tmp_path / "run", config)
    for step in range(11):
        recorder.record(step, model, loss=1.0)
    run = RunFolder.open(tmp_path / "run")
    assert run.config == config
    load_weights(build_model(config.model, config.task.interface, 1), run.weights(10), "run")


def test_weights_of_another_model_are_one_line():
    config = parse_config(SETTINGS)
    model = build_model(config.model, config.task.interface, 0)
    weights = model.state_dict()
    name = next(iter(weights))
    with pytest.raises(UserError, match="is missing"):
        load_weights(model, {k: v for k, v in weights.items() if k != name}, "x")
    with pytest.raises(UserError, match="unknown to this model"):
        load_weights(model, {**weights, "extra": torch.zeros(1)}, "x")
    with pytest.raises(UserError, match="not as in this model"):
        load_weights(model, {**weights, name: weights[name].double()}, "x")


def test_list_and_export(tmp_path):
    run = train(parse_config(SETTINGS), tmp_path / "runs/good")
    RunFolder.create(tmp_path / "runs/new", parse_config({**SETTINGS, "seed": 1}))
    (tmp_path / "runs/bad").mkdir()
    (tmp_path / "runs/bad/config.json").write_text("{")
    record(tmp_path / "runs/recorded")
    table = list_runs(tmp_path / "runs").set_index("run")
    assert table.loc["good", "state"] == "finished"
    assert table.loc["new", "state"] == "unfinished"
    assert str(table.loc["bad", "state"]).startswith("damaged: ")
    assert table.loc["recorded", "task"] == "recorded"
    assert list_runs(tmp_path / "runs/good")["run"].tolist() == ["good"]
    (tmp_path / "none").mkdir()
    assert list_runs(tmp_path / "none").empty
    with pytest.raises(UserError, match="no such folder"):
        list_runs(tmp_path / "nowhere")

    weights, settings = export_checkpoint(run, 10, tmp_path / "out")
    plain = load_file(weights)
    assert {k: v.tolist() for k, v in plain.items()} == {k: v.tolist() for k, v in run.weights(10).items()}
    assert json.loads(settings.read_text())["train"]["steps"] == 10
    with pytest.raises(UserError, match="exists"):
        export_checkpoint(run, 10, tmp_path / "out")
    with pytest.raises(UserError, match="no checkpoint at step 7; the nearest is"):
        export_checkpoint(run, 7, tmp_path / "out2")


def test_muon_takes_the_matrices_of_blocks_and_nothing_else():
    config = configure("regression")
    model = build_model(config.model, config.task.interface, 0)
    parts = Optimisers(model, config.train)._parts
    names = {id(p): n for n, p in model.named_parameters()}
    muon = {names[id(p)] for g in parts[0].param_groups for p in g["params"]}
    rest = {names[id(p)] for g in parts[1].param_groups for p in g["params"]}
    assert isinstance(parts[0], StackedMuon)
    assert muon | rest == set(names.values())
    assert not muon & rest
    assert muon == {n for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    assert sum("w_q" in n or "w_k" in n or "w_v" in n for n in muon) == 3 * config.model.n_layers


def test_muon_without_matrices_is_refused():
    with pytest.raises(UserError, match='use "adamw"'):
        Optimisers(torch.nn.Linear(2, 2), configure("regression").train)
