"""Sweeps against a scheduler started by hand: killed workers, unfit workers, full disks, stops."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import interp
from interp.runs.folder import RunFolder
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan
from interp.sweep.results import load_sweep
from tasks import UserError
from tests.forked import Forked, Process

SMALL = {
    "train.steps": 30, "train.batch": 16, "train.eval_batch": 16, "train.save_every": 5,
    "train.schedule": {"log": 0, "every": 15, "explicit": []},
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 16,
}  # fmt: skip
REAL = str(Path(interp.__file__).parent)


def _plan(**changes) -> SweepPlan:
    return SweepPlan(
        **{"config": "retrieval", "set": SMALL, "seeds": (0, 1), "analyses": ("scores", "heads"), **changes}
    )


DASK = "import runpy, sys; runpy.run_module('distributed.cli.' + sys.argv.pop(1), run_name='__main__')"


class Cluster:
    """A scheduler and its workers as processes of their own, as a user would start them in another terminal."""

    def __init__(self, folder: Path, forked: Forked):
        self.folder, self.file, self.forked = folder, folder / "scheduler.json", forked
        self.processes: list[subprocess.Popen | Process] = []
        self._start("dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
        until = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < until, "the scheduler did not start"
            time.sleep(0.05)

    def worker(self, *options: str, **environment: str) -> subprocess.Popen | Process:
        common = ("--no-nanny", "--no-dashboard", "--local-directory", str(self.folder))
        return self._start(
            "dask_worker", "--scheduler-file", str(self.file), *common, *options, **environment
        )

    def _start(self, module: str, *options: str, **environment: str) -> subprocess.Popen | Process:
        """With an environment of its own a Python of its own, which has imported nothing."""
        one = {"OMP_NUM_THREADS": "1"}
        if environment:
            process: subprocess.Popen | Process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options],
                cwd=self.folder,  # python -m puts the current folder first, before a sham package on the path
                env={**os.environ, **one, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        else:
            process = self.forked.start(DASK, module, *options, cwd=self.folder, env=one)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, forked) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"), forked)
    found.worker("--nthreads", "1")
    yield found
    found.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory, forked) -> Iterator[Cluster]:
    """A scheduler without a worker."""
    found = Cluster(tmp_path_factory.mktemp("bare"), forked)
    yield found
    found.close()


@contextlib.contextmanager
def _a_worker(cluster: Cluster, *options: str, **environment: str) -> Iterator[None]:
    worker = cluster.worker(*options, **environment)
    try:
        yield
    finally:
        worker.kill()
        worker.wait(30)


def _tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "analysis").iterdir())}


def _kill_a_trainer(out: Path, victims: list[subprocess.Popen | Process], stopped: threading.Event) -> None:
    """Kill -9 the process that is training under `out` after its state was saved, known by the lock it holds."""
    while not stopped.wait(0.02):
        for state in out.glob("seed=*/resume/state.safetensors"):
            lock = state.parent.parent / ".lock"
            for victim in victims:
                if _has_open(victim.pid, lock):
                    victim.kill()
                    return


def _has_open(pid: int, path: Path) -> bool:
    try:
        return any(os.readlink(fd) == str(path) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_a_killed_worker_changes_no_byte(cluster: Cluster, tmp_path) -> None:
    calm, killed = tmp_path / "calm" / "s", (tmp_path / "killed" / "s").resolve()
    assert not run_sweep(_plan(), calm, scheduler=str(cluster.file)).failures
    cluster.worker("--nthreads", "1")
    before = [process for process in cluster.processes[1:] if process.poll() is None]
    stopped = threading.Event()
    killer = threading.Thread(target=_kill_a_trainer, args=(killed, before, stopped))
    killer.start()
    disturbed = run_sweep(_plan(), killed, scheduler=str(cluster.file))
    stopped.set()
    killer.join()
    assert sum(process.poll() is not None for process in before) == 1, "a worker was killed"
    assert not disturbed.failures
    assert _tables(calm) == _tables(killed)


def test_a_longer_sweep_goes_on_and_a_finished_one_starts_nothing(cluster: Cluster, tmp_path) -> None:
    out = tmp_path / "s"
    run_sweep(_plan(seeds=(0,)), out, scheduler=str(cluster.file))
    first = (out / "seed=0" / "checkpoints" / "00000030.safetensors").stat().st_mtime_ns
    seen = []
    found = run_sweep(
        _plan(), out, scheduler=str(cluster.file), progress=lambda done, *rest: seen.append(done)
    )
    assert seen[-1] == 2, "the cell that was done is counted"
    assert (out / "seed=0" / "checkpoints" / "00000030.safetensors").stat().st_mtime_ns == first
    assert set(found.table("scores")["seed"]) == {0, 1}
    tables = _tables(out)
    again = run_sweep(_plan(), out, scheduler="tcp://127.0.0.1:9")  # nobody there, and nobody needed
    assert not again.failures
    assert _tables(out) == tables
    averaged = load_sweep(out).over_seeds("scores")
    losses = averaged[(averaged["control"] == "none") & (averaged["metric"] == "loss")]
    assert (losses["n"] == 2).all()
    assert (losses["ci_low"] < losses["value"]).all()
    assert set(losses["method"]) == {"range"}
    with pytest.raises(UserError, match="another sweep"):
        run_sweep(_plan(seeds=(0,)), out)
    assert _tables(out) == tables


def test_failures_are_collected_and_the_rest_goes_on(cluster: Cluster, tmp_path) -> None:
    plan = _plan(seeds=(0,), grid={"train.max_loss": (10.0, 0.01)})
    found = run_sweep(plan, tmp_path / "s", scheduler=str(cluster.file))
    assert list(found.failures) == ["max_loss=0.01,seed=0"]
    assert "diverged at step" in found.failures["max_loss=0.01,seed=0"]
    assert set(found.table("scores")["train.max_loss"]) == {10.0}
    assert json.loads((tmp_path / "s" / "failures.json").read_text()) == found.failures


def test_a_disk_that_is_full_for_one_run(cluster: Cluster, tmp_path) -> None:
    """The run's checkpoints go to a device that is always full; the other run is done."""
    out = tmp_path / "s"
    run_sweep(_plan(seeds=(0,)), out, scheduler=str(cluster.file))
    broken = RunFolder.create(out / "seed=1", _config(1))
    (broken.path / "timing.jsonl").symlink_to("/dev/full")
    found = run_sweep(_plan(seeds=(0, 1, 2)), out, scheduler=str(cluster.file))
    assert list(found.failures) == ["seed=1"]
    assert "No space left on device" in found.failures["seed=1"]
    assert "\n" not in found.failures["seed=1"]
    assert set(found.table("scores")["seed"]) == {0, 2}
    (broken.path / "timing.jsonl").unlink()
    mended = run_sweep(_plan(seeds=(0, 1, 2)), out, scheduler=str(cluster.file))
    assert not mended.failures
    assert set(mended.table("heads")["seed"]) == {0, 1, 2}


def _config(seed: int):
    from interp.sweep.plan import cells

    return cells(_plan(seeds=(seed,)))[0].config


def test_a_scheduler_without_a_worker(bare: Cluster, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("interp.sweep.cluster.ANSWER_SECONDS", 1)
    with pytest.raises(UserError, match="no worker after 1 s"):
        run_sweep(_plan(), tmp_path / "s", scheduler=str(bare.file))
    assert not (tmp_path / "s").exists()


SHAMS = {
    "cannot import this package .*install it there": "raise ImportError('no package of this name')",
    "has version 9.9, this is .*make them equal": (
        "import sys, types; sys.modules['interp._version'] = types.SimpleNamespace(__version__='9.9'); "
        f"__path__ = [{REAL!r}]"
    ),
}


@pytest.mark.parametrize(("said", "package"), SHAMS.items())
def test_workers_without_the_package_or_with_another_version(bare, said, package, tmp_path) -> None:
    sham = tmp_path / "sham" / "interp"
    sham.mkdir(parents=True)
    (sham / "__init__.py").write_text(package)
    unfit = _a_worker(bare, "--nthreads", "1", PYTHONPATH=str(sham.parent))
    with unfit, pytest.raises(UserError, match=said) as raised:
        run_sweep(_plan(), tmp_path / "s", scheduler=str(bare.file))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "s").exists()


def test_a_worker_that_takes_several_tasks_at_a_time(bare: Cluster, tmp_path) -> None:
    with (
        _a_worker(bare, "--nthreads", "3"),
        pytest.raises(UserError, match="3 tasks at a time: start it with"),
    ):
        run_sweep(_plan(), tmp_path / "s", scheduler=str(bare.file))
    assert not (tmp_path / "s").exists()
