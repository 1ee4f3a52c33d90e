"""Sinks: every logged line once, whatever was broken off; a failing one costs nothing but itself; no part of a run."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from interp.cli import run as cli
from interp.config.run import RunConfig, configure
from interp.runs import sinks
from interp.runs.folder import RunFolder
from interp.runs.handing import SinkFailed, Training, values_of
from interp.runs.recorder import Recorder
from interp.runs.sink_tensorboard import TensorBoard
from interp.runs.sinks import sinks_of
from interp.runs.verify import verify
from interp.train.loop import resume, train
from tasks.errors import UserError

SMALL = {
    "train.steps": 8, "train.batch": 8, "train.eval_batch": 8, "train.log_every": 1, "train.save_every": 4,
    "train.schedule.log": 0, "train.schedule.every": 4, "model.n_layers": 1, "model.n_heads": 1, "model.d_model": 8,
}  # fmt: skip


class Kept:
    """A sink of one's own."""

    def __init__(self) -> None:
        self.training: Training | None = None
        self.points: list[tuple[int, dict]] = []
        self.states: list[str] = []

    def start(self, training: Training) -> None:
        self.training, self.points = training, []

    def record(self, step: int, values) -> None:
        self.points.append((step, dict(values)))

    def end(self, state: str) -> None:
        self.states.append(state)


class Failing(Kept):
    def record(self, step: int, values) -> None:
        raise OSError("no space\nleft")


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return configure("retrieval", changes=SMALL)


@pytest.fixture(scope="module")
def plain(config, tmp_path_factory) -> RunFolder:
    return train(config, tmp_path_factory.mktemp("sinks") / "plain")


def logged(folder: RunFolder) -> list[tuple[int, dict]]:
    task = folder.config.task
    return [(r["step"], values_of(r, task.output_names, task.score_name)) for r in folder.records()]


def same(one: Path, other: Path) -> None:
    for file in (
        "config.json",
        "metrics.jsonl",
        "resume/state.safetensors",
        "checkpoints/00000008.safetensors",
    ):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def test_a_sink_has_every_logged_value_and_leaves_no_trace_in_the_run(config, plain, tmp_path) -> None:
    sink = Kept()
    folder = train(config, tmp_path / "run", sinks=[sink])
    same(folder.path, plain.path)
    assert sink.training is not None
    assert (sink.training.name, sink.training.since) == ("run", 0)
    assert sink.training.hash == plain.config_hash
    assert sink.training.settings["train"]["steps"] == 8
    assert [step for step, _ in sink.points] == list(range(9))
    first = sink.points[0][1]
    assert {"train/loss", "train/lr", "eval/loss/hop 1", "eval/accuracy/hop 3"} <= set(first)
    assert sink.points == logged(plain)
    assert sink.states == ["finished"]


def test_a_resumed_run_is_handed_over_whole_and_once(config, plain, tmp_path) -> None:
    def stop(step: int, loss: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    sink = Kept()
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", sinks=[sink], progress=stop)
    assert sink.states == ["interrupted"]
    assert [step for step, _ in sink.points] == list(range(7))
    folder = resume(tmp_path / "run", sinks=[sink])
    assert sink.training is not None
    assert sink.training.since == 5, "the last state to resume from is that of step 4"
    assert sink.points == logged(plain)
    same(folder.path, plain.path)
    late = Kept()
    resume(tmp_path / "run", sinks=[late])
    assert late.points == sink.points, "a finished run is handed over, too"


def test_a_sink_that_raises_is_left_out_and_the_training_is_whole(config, plain, tmp_path) -> None:
    bad, good = Failing(), Kept()
    with pytest.warns(SinkFailed, match=r"sink Failing failed in record \(OSError: no space left\)") as said:
        folder = train(config, tmp_path / "run", sinks=[bad, good])
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert bad.states == []
    assert good.points == logged(plain)
    assert verify(folder.path).ok
    same(folder.path, plain.path)


def test_what_is_no_sink_or_not_installed_is_one_line_before_training(
    config, tmp_path, monkeypatch, capsys
) -> None:
    with pytest.raises(UserError, match=r"unknown sink 'tensorbord': did you mean 'tensorboard'\?"):
        train(config, tmp_path / "run", sinks=["tensorbord"])
    with pytest.raises(UserError, match="needs the methods start, record and end"):
        train(config, tmp_path / "run", sinks=[object()])  # type: ignore[list-item]
    for package, extra in (("tensorboardX", "tensorboard"), ("trackio", "trackio")):
        monkeypatch.setitem(sys.modules, package, None)
        assert cli(["train", "retrieval", "--out", str(tmp_path / "run"), "--sink", extra]) == 2
        assert f"pip install 'algoscope[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_sinks_are_registered_by_modules_that_a_variable_names(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sinks, "_SINKS", dict(sinks._SINKS))
    lines = ["from interp.runs.sinks import register", "from tests.interp.runs.test_sinks import Kept"]
    (tmp_path / "my_sinks.py").write_text("\n".join([*lines, "register('mine')(Kept)"]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ALGOSCOPE_SINKS", "my_sinks")
    (found,) = sinks_of("mine")
    assert type(found).__name__ == "Kept"
    with pytest.raises(UserError, match="sink 'mine' is taken by"):
        sinks.register("mine")(Failing)


def test_a_loop_of_ones_own_hands_over_its_metrics(tmp_path) -> None:
    sink = Kept()
    recorder = Recorder(tmp_path / "run", {"lr": 1}, [0, 4], log_every=2, sinks=[sink])
    for step in range(5):
        recorder.record(step, {"w": torch.ones(1)}, loss=step, gain=float("nan") if step == 2 else 1.5)
    recorder.close()
    assert [(step, values.get("train/gain")) for step, values in sink.points] == [
        (0, 1.5),
        (2, None),
        (4, 1.5),
    ]
    assert [values["train/loss"] for _, values in sink.points] == [0, 2, 4]
    assert sink.states == ["finished"]


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What the event files of a folder hold."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_tensorboard_has_each_point_once_although_training_was_broken_off(
    config, plain, tmp_path, capsys
) -> None:
    def stop(step: int, loss: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", sinks=["tensorboard"], progress=stop)
    assert cli(["resume", str(tmp_path / "run"), "--sink", "tensorboard"]) == 0
    found = scalars(tmp_path / "run" / "tensorboard")
    losses = {step: value for tag, step, value in found if tag == "train/loss"}
    assert [step for tag, step, _ in found if tag == "train/loss"] == list(range(9))
    assert losses[8] == pytest.approx(plain.records()[-1]["loss"], rel=1e-6)
    assert {"eval/accuracy/hop_1", "eval/loss/hop_3"} <= {tag for tag, _, _ in found}
    assert verify(tmp_path / "run").ok


def test_event_files_of_others_in_a_folder_of_ones_own_stay(tmp_path) -> None:
    """A folder that several runs and other programs share: each start replaces its own file alone."""
    foreign = tmp_path / "events.out.tfevents.1.elsewhere"
    foreign.write_bytes(b"")
    sink = TensorBoard(tmp_path)
    runs = [Training("one", tmp_path, "a" * 64, {}), Training("two", tmp_path, "b" * 64, {})]
    for value, training in enumerate([*runs, runs[0]]):
        sink.start(training)
        sink.record(3, {"train/loss": float(value)})
        sink.end("finished")
    assert foreign.exists()
    assert sorted(scalars(tmp_path)) == [("train/loss", 3, 1.0), ("train/loss", 3, 2.0)]


class Tracked:
    """What the sink uses of trackio, without its database."""

    def __init__(self, name: str, config: dict, kept: list):
        self.name, self.config, self.kept = name, config, kept
        self.steps: list[int] = []
        kept.append(self)

    def log(self, values: dict, step: int) -> None:
        assert "train/loss" in values
        self.steps.append(step)

    def finish(self) -> None:
        print("uploading")

    def delete(self) -> None:
        self.kept.remove(self)


def test_trackio_replaces_its_own_run_and_no_other_of_that_name(
    config, tmp_path, monkeypatch, capsys
) -> None:
    kept: list[Tracked] = []

    def runs(project: str) -> list[Tracked]:
        if not kept:
            raise ValueError("no such project")
        return kept

    def init(project: str, name: str, config: dict, **how: bool) -> Tracked:
        assert (project, config["task.kind"]) == ("algoscope", "retrieval")
        return Tracked(name, config, kept)

    stand_in = SimpleNamespace(Api=lambda: SimpleNamespace(runs=runs), init=init)
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    train(config, tmp_path / "run", sinks=["trackio"])
    other = Tracked("run", {"settings_hash": "of another run"}, kept)
    resume(tmp_path / "run", sinks=["trackio"])
    assert [run.steps for run in kept] == [[], list(range(9))]
    assert kept[0] is other
    assert capsys.readouterr().out == "", "what it prints goes to standard error"
