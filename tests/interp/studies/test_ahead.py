"""Planned runs of a study are trained side by side before its rows ask for them, and are those that rows train."""

from __future__ import annotations

import pytest

from interp.cli import studies
from interp.config.run import configure
from interp.run import load
from interp.studies import STUDIES, ahead, cost
from interp.studies.linear_nets import trained
from tasks.errors import UserError

# another cluster on the machine may hold dask's usual dashboard port
pytestmark = pytest.mark.filterwarnings("ignore:Port 8787 is already in use")
TRAIN_BY_THEMSELVES = {"stacked-heads", "retrieval-prompts"}  # a sweep a condition; models that are no runs


@pytest.mark.parametrize("scale", ["quick", "cpu"])
@pytest.mark.parametrize("study", STUDIES)
def test_what_is_trained_ahead_is_what_is_planned(study, scale):
    planned, configs = cost.planned(study, scale), ahead.configs(study, scale)
    assert all(planned[name] == config.hash for name, config in configs.items())
    missing = [name for name, value in planned.items() if cost.SETTINGS.match(value) and name not in configs]
    assert not missing or study in TRAIN_BY_THEMSELVES


def test_two_runs_are_trained_on_workers_bit_by_bit_and_only_once(tmp_path, monkeypatch):
    changes = {"train.steps": 6, "train.batch": 8, "train.save_every": 6, "train.schedule.every": 3}
    configs = {f"net-{seed}": configure("markov", seed=seed, changes=changes) for seed in range(2)}
    monkeypatch.setattr(ahead, "configs", lambda study, scale: configs)
    said: list[str] = []
    ahead.train_ahead("markov-chains", "quick", tmp_path / "ahead", 2, said.append)
    assert said == ["markov-chains: 2 of 2 runs to train, on 2 processes"]
    for name, config in configs.items():
        found, alone = load(tmp_path / "ahead" / name), trained(config, tmp_path / "alone", name)
        assert found.steps == alone.steps
        assert [found.weights_hash(step) for step in found.steps] == [
            alone.weights_hash(step) for step in alone.steps
        ]
    ahead.train_ahead("markov-chains", "quick", tmp_path / "ahead", 2, said.append)
    assert len(said) == 1, "nothing is left to train"


def test_one_worker_trains_nothing_ahead_and_none_is_refused(tmp_path):
    ahead.train_ahead("one-step-gd", "quick", tmp_path, 1, print)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="--workers 0: at least one"):
        ahead.train_ahead("one-step-gd", "quick", tmp_path, 0, print)


def test_every_core_is_counted_also_where_a_process_is_not_bound_to_some(monkeypatch):
    assert studies._cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert studies._cores() == 1
