"""Runs that are killed, run out of disk, meet a read-only one, are trained twice at once, or see a clock go backwards.

After each: `verify` finds nothing wrong, the fault was one clear line where there was anybody left to say it, and going
on gives the bytes of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.faults import Trials, assert_sound, contents, private_mounts, row

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
KILLS = {"train": 100 if FULL else 6, "report": 50 if FULL else 3, "sweep": 50 if FULL else 2}
DISKS = 50 if FULL else 4
SETTINGS = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mlp": "none", "mask": "full"},
    "train": {
        "steps": 12, "batch": 4, "lr": 0.01, "eval_batch": 8, "optimiser": "muon",
        "save_every": 4, "log_every": 3, "schedule": {"every": 6},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def trials(forked) -> Iterator[Trials]:
    found = Trials(forked, private_mounts())
    found("warm", settings=SETTINGS, report=True)
    yield found
    found.process.close()


@pytest.fixture
def disk(trials, tmp_path) -> Path:
    """A folder to mount on."""
    if not trials.private:
        pytest.skip("no private user namespace with mounts here (unshare -Urm)")
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture(scope="module")
def calm(trials, tmp_path_factory) -> tuple[Path, int, int]:
    """A run with its report that nobody disturbed, and the calls that training and report take."""
    run = tmp_path_factory.mktemp("calm") / "run"
    trained = trials("train", settings=SETTINGS, out=run, die_at=0)
    assert trained["code"] == 0, trained
    bare = shutil.copytree(run, run.parent / "bare" / "run")
    reported = trials("report", out=run, die_at=0)
    assert reported["code"] == 0, reported
    assert_sound(trials, bare)
    return run, trained["calls"], reported["calls"]


def test_kill_9_at_any_moment_of_training(trials, calm, tmp_path, record_property):
    whole, calls, _ = calm
    expected, rng, before = contents(whole.parent / "bare" / "run"), random.Random(1), 0
    for attempt in range(KILLS["train"]):
        run = tmp_path / str(attempt) / "run"
        found = trials("train", settings=SETTINGS, out=run, die_at=rng.randrange(1, calls))
        assert found["code"] == -signal.SIGKILL
        before += not (run / "config.json").exists()
        if (run / "config.json").exists():
            assert_sound(trials, run)
        assert trials("train", settings=SETTINGS, out=run)["code"] == 0
        assert contents(run) == expected
        assert_sound(trials, run)
    row(
        record_property,
        "kill -9 in train",
        KILLS["train"],
        "all bit-equal",
        f"{before} before there was a run",
    )


def test_kill_9_at_any_moment_of_a_report(trials, calm, tmp_path, record_property):
    whole, _, calls = calm
    expected, rng = contents(whole), random.Random(2)
    for attempt in range(KILLS["report"]):
        run = shutil.copytree(whole.parent / "bare" / "run", tmp_path / str(attempt) / "run")
        assert trials("report", out=run, die_at=rng.randrange(1, calls))["code"] == -signal.SIGKILL
        assert_sound(trials, run)
        assert trials("report", out=run)["code"] == 0
        assert {k: v for k, v in contents(run).items() if ".writing-" not in k} == expected
        assert_sound(trials, run)
    row(record_property, "kill -9 in report", KILLS["report"], "all bit-equal")


PLAN = {
    "config": "retrieval", "seeds": [0, 1], "analyses": ["scores"],
    "set": {
        "train.steps": 30, "train.batch": 16, "train.eval_batch": 16, "train.save_every": 5,
        "train.schedule": {"log": 0, "every": 15, "explicit": []},
        "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 16,
    },
}  # fmt: skip


def test_kill_9_at_any_moment_of_a_sweep(trials, tmp_path, record_property):
    """The sweep, its scheduler and its workers all at once, when a random number of bytes has been written."""
    calm, rng, killed, begun = tmp_path / "calm" / "s", random.Random(3), 0, 0
    assert trials("sweep", plan=PLAN, out=calm)["code"] == 0
    expected = contents(calm)
    total = sum(len(data) for name, data in expected.items() if name.startswith("seed="))
    for attempt in range(KILLS["sweep"]):
        out = tmp_path / str(attempt) / "s"
        found = trials("sweep", plan=PLAN, out=out, dies_with=rng.randrange(total))
        assert found["code"] in (0, -signal.SIGKILL), found
        killed += found["code"] != 0
        for run in out.glob("seed=*"):
            if (run / "config.json").exists():
                begun += 1
                assert_sound(trials, run)
        assert trials("sweep", plan=PLAN, out=out)["code"] == 0
        assert contents(out) == expected
    assert killed > 0
    row(
        record_property,
        "kill -9 of a sweep and its workers",
        KILLS["sweep"],
        "all bit-equal",
        f"{killed} mid-way; {begun} runs begun",
    )


def test_a_full_disk(trials, calm, disk, tmp_path, record_property):
    whole = calm[0]
    expected, rng, refused = contents(whole.parent / "bare" / "run"), random.Random(4), 0
    trials("mount", path=disk, options="size=64m")
    assert trials("train", settings=SETTINGS, out=disk / "run")["code"] == 0
    used = trials("used", path=disk)["value"]
    for attempt in range(DISKS):
        place = tmp_path / f"disk-{attempt}"
        place.mkdir()
        size = rng.randrange(4096, used, 4096)
        assert trials("mount", path=place, options=f"size={size}")["code"] == 0
        found = trials("train", settings=SETTINGS, out=place / "run")
        if found["code"]:
            refused += 1
            assert found["error"].startswith("UserError: ")
            assert "No space left on device" in found["error"]
            assert "\n" not in found["error"]
            if trials("verify", out=place / "run")["code"] == 0:
                assert_sound(trials, place / "run")
        trials("mount", path=place, options="remount,size=64m")
        assert trials("train", settings=SETTINGS, out=place / "run")["code"] == 0
        trials("copy", out=place / "run", to=tmp_path / "out" / str(attempt))
        assert contents(tmp_path / "out" / str(attempt)) == expected
    assert refused > 0
    row(record_property, "disk full in train", DISKS, "all bit-equal", f"{refused} ran out of space")


def test_a_report_on_a_full_disk(trials, calm, disk, tmp_path, record_property):
    """The run's own files fit, its tables or its page do not."""
    whole, rng, refused = calm[0], random.Random(5), 0
    need = sum(-(-f.stat().st_size // 4096) * 4096 for f in whole.rglob("*") if f.is_file())
    bare = sum(-(-f.stat().st_size // 4096) * 4096 for f in (whole.parent / "bare").rglob("*") if f.is_file())
    count = DISKS if FULL else 2
    for attempt in range(count):
        place = tmp_path / f"disk-{attempt}"
        place.mkdir()
        trials("mount", path=place, options=f"size={rng.randrange(bare + 65536, need, 4096)}")
        assert trials("copy", out=whole.parent / "bare" / "run", to=place / "run")["code"] == 0
        found = trials("report", out=place / "run")
        if found["code"]:
            refused += 1
            assert found["error"].startswith("UserError: ")
            assert "No space left on device" in found["error"]
        assert_sound(trials, place / "run")
        trials("mount", path=place, options="remount,size=64m")
        assert trials("report", out=place / "run")["code"] == 0
        trials("copy", out=place / "run", to=tmp_path / "out" / str(attempt))
        assert contents(tmp_path / "out" / str(attempt), place / "run") == contents(whole)
    assert refused > 0
    row(record_property, "disk full in report", count, "all bit-equal", f"{refused} ran out of space")


def test_a_read_only_disk(trials, calm, disk, tmp_path, record_property):
    bare = calm[0].parent / "bare" / "run"
    trials("mount", path=disk, options="size=64m")
    trials("copy", out=bare, to=disk / "run")
    trials("mount", path=disk, options="remount,ro")
    jobs = {
        "train": {"settings": SETTINGS, "out": disk / "new"},
        "resume": {"settings": SETTINGS, "out": disk / "run"},
        "report": {"out": disk / "run"},
    }
    for name, job in jobs.items():
        found = trials("train" if name == "resume" else name, **job)
        assert found["code"] == 1, name
        assert found["error"].startswith("UserError: "), name
        assert "Read-only file system" in found["error"]
        assert "\n" not in found["error"]
    assert (
        trials("scores", out=disk / "run")["code"] == 0
    )  # a table that cannot be kept is handed back all the same
    assert assert_sound(trials, disk / "run") == "finished"
    trials("mount", path=disk, options="remount,rw")
    assert trials("report", out=disk / "run")["code"] == 0
    trials("copy", out=disk / "run", to=tmp_path / "out")
    assert contents(tmp_path / "out", disk / "run") == contents(calm[0])
    row(
        record_property,
        "read-only mount (train, resume, report, table)",
        len(jobs),
        "one line each, sound after",
    )


def test_two_processes_on_one_run(trials, calm, tmp_path, record_property):
    """The lock is the kernel's: it goes with its holder, however that one ends."""
    bare = calm[0].parent / "bare" / "run"
    run = tmp_path / "run"
    assert trials("train", settings=SETTINGS, out=run, die_at=calm[1] * 2 // 3)["code"] == -signal.SIGKILL
    holder = trials("hold", out=run, sign=tmp_path / "held", background=True)["pid"]
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    found = trials("train", settings=SETTINGS, out=run)
    assert found["code"] == 1
    assert "another process is training this run" in found["error"]
    assert_sound(trials, run)
    os.kill(holder, signal.SIGKILL)
    for _ in range(6000):
        found = trials("train", settings=SETTINGS, out=run)
        if found["code"] == 0:
            break
        time.sleep(0.01)
    assert contents(run) == contents(bare)
    row(record_property, "two processes on one run", 1, "second refused; free when the first is killed")


@pytest.mark.parametrize("seconds", [1.0, 86_400.0 * 400])
def test_a_clock_that_runs_backwards(trials, calm, tmp_path, seconds, record_property):
    whole, calls, _ = calm
    run, rng = tmp_path / "run", random.Random(6)
    job = {"settings": SETTINGS, "out": run, "clock": seconds}
    assert trials("train", **job, die_at=calls // 2)["code"] == -signal.SIGKILL
    for file in run.rglob("*"):
        os.utime(file, (rng.randrange(1, 2**31), rng.randrange(1, 2**31)))
    assert_sound(trials, run)
    assert trials("train", **job)["code"] == 0
    assert trials("report", out=run, clock=seconds)["code"] == 0
    for file in run.rglob("*"):
        os.utime(file, (rng.randrange(1, 2**31), rng.randrange(1, 2**31)))
    assert trials("report", out=run, clock=seconds)["code"] == 0
    assert contents(run) == contents(whole)
    row(record_property, f"clock back by {seconds:g} s at every look, file times at random", 1, "bit-equal")
