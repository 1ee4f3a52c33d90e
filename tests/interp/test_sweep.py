"""Sweeps: the plan's arithmetic, and tables that do not depend on workers, deaths or the order of arrival."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan, cells, parse_seeds, read_plan
from interp.sweep.results import load_sweep
from tasks import UserError

SMALL = {
    "train.steps": 30, "train.batch": 16, "train.eval_batch": 16, "train.save_every": 5,
    "train.schedule": {"log": 0, "every": 15, "explicit": []},
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 16,
}  # fmt: skip


def _plan(**changes) -> SweepPlan:
    return SweepPlan(
        **{"config": "retrieval", "set": SMALL, "seeds": (0, 1), "analyses": ("scores", "heads"), **changes}
    )


def test_cells_are_grid_times_zip_times_seeds() -> None:
    plan = _plan(grid={"train.lr": (1e-3, 2e-3)}, zip={"task.hops": (2, 3), "task.chains": (4, 3)})
    found = cells(plan)
    assert len(found) == plan.size == 8
    assert [c.varied["train.lr"] for c in found] == [1e-3] * 4 + [2e-3] * 4
    assert {(c.config.task.hops, c.config.task.chains) for c in found} == {(2, 4), (3, 3)}
    assert len({c.name for c in found}) == 8
    assert found[0].name == "lr=0.001,hops=2,chains=4,seed=0"


def test_seeds() -> None:
    assert parse_seeds("0:3") == (0, 1, 2)
    assert parse_seeds("4,2") == (4, 2)
    with pytest.raises(UserError, match="write 0:8"):
        parse_seeds("a few")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": {"train.lr": ()}}, "no cell"),
        ({"seeds": ()}, "no cell"),
        (
            {"grid": {"train.lr": tuple(range(1, 2000)), "train.warmup": tuple(range(1, 2000))}},
            "over the limit",
        ),
        ({"zip": {"train.lr": (1.0,), "train.batch": (1, 2)}}, "one length"),
        ({"seeds": (1, 1)}, "listed twice"),
        ({"grid": {"train.batch": (8, 16)}}, "two places"),
    ],
)
def test_plans_that_are_refused(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        _plan(**changes)


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(UserError, match="same run"):
        cells(_plan(grid={"train.lr": (0.001, 0.0010)}))


def test_a_toml_plan_and_its_errors(tmp_path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('config = "retrieval"\nseeds = "0:2"\n[grid]\n"train.lr" = [1e-3, 2e-3]\n')
    assert read_plan(str(path), {"seeds": (5,)}).size == 2
    path.write_text("seeds = [0]")
    with pytest.raises(UserError, match="names no base run"):
        read_plan(str(path), {})
    path.write_text('config = "retrieval"\nsedes = "0:2"')
    with pytest.raises(UserError, match="sedes"):
        read_plan(str(path), {})


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "analysis").iterdir())}


def _kill_a_worker_when_runs_have_begun(out: Path, stopped: threading.Event) -> None:
    """Kill -9 one process that is training under `out`, found by the lock it holds."""
    me = os.getpid()
    while not stopped.wait(0.05):
        for run in out.glob("seed=*/resume/state.safetensors"):
            lock = run.parent.parent / ".lock"
            for process in Path("/proc").iterdir():
                if process.name.isdecimal() and int(process.name) != me and _has_open(process, lock):
                    os.kill(int(process.name), signal.SIGKILL)
                    return


def _has_open(process: Path, lock: Path) -> bool:
    try:
        return any(os.readlink(fd) == str(lock) for fd in (process / "fd").iterdir())
    except OSError:
        return False


def test_a_killed_worker_changes_no_byte(tmp_path) -> None:
    plan = _plan()
    calm = run_sweep(plan, tmp_path / "calm" / "s", workers=1)
    assert not calm.failures
    stopped = threading.Event()
    out = tmp_path / "killed" / "s"
    killer = threading.Thread(target=_kill_a_worker_when_runs_have_begun, args=(out.resolve(), stopped))
    killer.start()
    disturbed = run_sweep(plan, out, workers=2)
    stopped.set()
    killer.join()
    assert not disturbed.failures
    assert _bytes(tmp_path / "calm" / "s") == _bytes(out)

    began = time.monotonic()
    again = run_sweep(plan, out, workers=1)
    assert not again.failures
    assert _bytes(out) == _bytes(tmp_path / "calm" / "s"), f"second run took {time.monotonic() - began:.1f} s"

    table = load_sweep(out).over_seeds("scores")
    measured = table[(table["control"] == "none") & (table["metric"] == "loss")]
    assert (measured["n"] == 2).all()
    assert (measured["ci_low"] < measured["value"]).all()
    assert len(load_sweep(out).runs) == 2
    with pytest.raises(UserError, match="another sweep"):
        run_sweep(_plan(seeds=(3,)), out)


def test_failures_are_collected_and_the_rest_goes_on(tmp_path) -> None:
    plan = _plan(seeds=(0,), grid={"train.max_loss": (10.0, 0.01)})
    found = run_sweep(plan, tmp_path / "s", workers=1)
    assert list(found.failures) == ["max_loss=0.01,seed=0"]
    assert "diverged at step" in found.failures["max_loss=0.01,seed=0"]
    assert set(found.table("scores")["train.max_loss"]) == {10.0}
    assert json.loads((tmp_path / "s" / "failures.json").read_text()) == found.failures


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("interp.sweep.engine.ANSWER_SECONDS", 1)
    with pytest.raises(UserError, match="does not answer"):
        run_sweep(_plan(), tmp_path / "s", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "s").exists()


def test_another_version_s_runs_are_left_alone(tmp_path, monkeypatch) -> None:
    from interp.train.runs import RunFolder

    plan = _plan(seeds=(0,))
    RunFolder.create(tmp_path / "s" / cells(plan)[0].name, cells(plan)[0].config)
    (tmp_path / "s" / "sweep.json").write_text(
        json.dumps({"version": "x", "plan": json.loads(plan.model_dump_json())})
    )
    monkeypatch.setattr("interp.sweep.engine.__version__", "9.9")
    with pytest.raises(UserError, match="version"):
        run_sweep(plan, tmp_path / "s", workers=1)
