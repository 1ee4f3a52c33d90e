"""What a study will take, before it starts: runs by condition, and CPU time measured, estimated, or unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from interp.cli import studies as command
from interp.config.run import configure
from interp.runs.folder import RunFolder
from interp.studies import STUDIES, ahead, plans
from interp.studies.ledger import Ledger, Measured
from tasks.errors import UserError

LEDGER = Ledger("markov-chains", "quick", (0,), cpu_seconds=1500.0)
LAST = Measured(LEDGER, "9.9", "2026-01-02")


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("scale", ["quick", "cpu"])
def test_every_study_says_its_runs_by_condition(study, scale):
    found = plans.plan(study, scale, None)
    assert found.runs == sum(found.conditions.values())
    assert found.runs > 0 or study == "linear-attention", "its rates are searched first at this scale"
    assert all(name and not name.endswith("-0") for name in found.conditions)
    assert (found.seconds is None) == ("estimated from" not in found.basis)


def test_a_measured_cost_is_that_of_the_same_scale(tmp_path):
    RunFolder.create(tmp_path / "usual-0", configure("markov"))
    said = plans.announced("markov-chains", "quick", tmp_path, LAST)
    assert said.startswith("markov-chains at scale quick: 16 runs, 1 of them begun or finished in")
    assert said.endswith(
        "(8 of usual, doubly-stochastic); about 25 CPU minutes (measured 2026-01-02, version 9.9)"
    )
    assert "(measured 2026" not in plans.announced("markov-chains", "cpu", tmp_path, LAST)
    uncounted = replace(LAST, ledger=replace(LEDGER, cpu_seconds=None))
    assert "estimated from" in plans.announced("markov-chains", "quick", tmp_path, uncounted)
    assert Ledger.from_json(LEDGER.to_json()).cpu_seconds == 1500.0


def test_what_is_more_than_runs_grows_with_the_quick_scale_or_is_unknown():
    last = replace(LAST, ledger=replace(LEDGER, study="single-index"))
    factor, why = plans.GROWN["single-index", "cpu"]
    found = plans.plan("single-index", "cpu", last)
    assert found.seconds == factor * 1500.0
    assert why in found.basis
    assert plans.plan("single-index", "cpu", None).seconds is None
    assert (
        plans.plan("single-index", "paper", last).basis == "what it costs has not been measured at this scale"
    )
    assert plans.total([found, plans.plan("single-index", "paper", last)]).endswith(
        "1 studies without an estimate"
    )


def test_an_estimate_goes_with_steps_and_prompts():
    one, long, wide = (
        configure("markov", changes={"train.steps": steps, "train.batch": batch})
        for steps, batch in ((100, 64), (200, 64), (100, 128))
    )
    seconds = [plans.seconds_of([config]) for config in (one, long, wide)]
    assert seconds[1] == pytest.approx(2 * seconds[0])
    assert seconds[0] < seconds[2] < 2 * seconds[0], "a step costs something by itself"
    assert plans.seconds_of([one, long]) == pytest.approx(seconds[0] + seconds[1])


def test_a_plan_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "run_study", lambda *_, **__: pytest.fail("a plan runs nothing"))
    assert command.study("newton", scale="cpu", out=tmp_path / "studies", plan=True) == 0
    assert "69 runs" in capsys.readouterr().out
    assert command.study("all", out=tmp_path / "studies", plan=True) == 0
    assert "in all: " in capsys.readouterr().out
    assert command.study("newton", scale="cpu", plan=True, json=True) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["study"], found["scale"], found["conditions"]["main"]) == ("newton", "cpu", 5)
    assert found["cpu_seconds"] > 3600
    assert not list(tmp_path.iterdir())


def test_seeds_and_device_reach_the_study(monkeypatch):
    asked: list[tuple[object, ...]] = []

    def run_study(name, scale, out, log, workers, device, **others):
        asked.append((name, device, others))
        return Ledger(name, scale, (0,))

    monkeypatch.setattr(command, "run_study", run_study)
    command.study("linear-attention", scale="cpu", seeds=26, json=True)
    command.study("newton", scale="paper", device="cuda", json=True)
    assert asked == [
        ("linear-attention", "cpu", {"seeds": tuple(range(26))}), ("newton", "cuda", {}),
    ]  # fmt: skip
    for name in ("all", "retrieval-prompts"):
        with pytest.raises(UserError, match="--seeds is for one study whose unit is the training seed"):
            command.study(name, seeds=3)
    with pytest.raises(UserError, match="unknown study"):
        command.study("newt", plan=True)


def test_planned_runs_are_trained_on_the_device_one_after_the_other(tmp_path, monkeypatch):
    changes = {"train.steps": 1, "train.batch": 2, "train.eval_batch": 2}
    configs = {f"net-{seed}": configure("markov", seed=seed, changes=changes) for seed in range(2)}
    monkeypatch.setattr(ahead, "configs", lambda study, scale: configs)
    trained: list[tuple[str, str]] = []
    monkeypatch.setattr("interp.train.train", lambda config, out, device: trained.append((out.name, device)))
    said: list[str] = []
    ahead.train_ahead("markov-chains", "quick", tmp_path, 1, said.append, "cuda")
    assert trained == [("net-0", "cuda"), ("net-1", "cuda")]
    assert said == ["markov-chains: 2 of 2 runs to train, on cuda"]
    monkeypatch.setattr(ahead, "configs", lambda study, scale: {})
    with pytest.raises(UserError, match="--device cuda: stacked-heads plans no runs by name"):
        ahead.train_ahead("stacked-heads", "quick", tmp_path, 1, said.append, "cuda")


def test_a_device_that_is_not_here_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="device 'tpu' is not available here"):
        ahead.train_ahead("markov-chains", "quick", tmp_path, 1, print, "tpu")
