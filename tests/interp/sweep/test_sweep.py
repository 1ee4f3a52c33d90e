"""Sweeps: the plan's arithmetic, and tables that do not depend on workers, deaths or the order of arrival."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

import pytest

from interp.presets import preset_text
from interp.runs.folder import RunFolder
from interp.sweep.cluster import ctrl_c
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan, cells, parse_seeds, read_plan
from tasks import UserError
from tests.forked import COMMAND

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


def test_a_run_s_file_is_a_base_once_it_is_said_what_varies(tmp_path, monkeypatch) -> None:
    path = tmp_path / "run.toml"
    path.write_text(preset_text("retrieval"))
    with pytest.raises(UserError, match=r"one run's settings, not a sweep's; name what varies \(--seeds 0:8"):
        read_plan(str(path), {})
    plan = read_plan(str(path), {"seeds": (0, 1)})
    path.unlink()  # the plan does not need the file again
    assert [cell.config.hash for cell in cells(plan)] == [c.config.hash for c in cells(_plan(set={}))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[grid]\n"train.lr" = 1e-3', "train.lr must be a list"),
        ("[grid.train]\nlr = [1e-3]", 'dotted key in quotes, such as "train.lr"'),
        ("[grid]\nseed = [1, 2]", "write seeds as seeds"),
        ('seeds = "0:1000000000000"', "more than 10,000"),
        ('[set]\n"train.lr" = 1e-3\n[grid]\n"train.lr" = [1.0]', "two places"),
    ],
)
def test_toml_plans_that_are_refused_in_one_line(tmp_path, text, said) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(f'config = "retrieval"\n{text}\n')
    with pytest.raises(UserError, match=said) as raised:
        read_plan(str(path), {})
    assert "\n" not in str(raised.value)


def test_names_stay_apart_when_they_are_cut_or_cleaned() -> None:
    long = {"train.schedule.explicit": tuple([*range(40), last] for last in (100, 101))}
    odd = {"train.betas": ([0.9, 0.99], (0.9, 0.95))}
    for grid in (long, odd):
        found = cells(SweepPlan(config="retrieval", grid=grid, seeds=(0, 1)))
        assert len({cell.name for cell in found}) == 4
        assert all(len(cell.name) <= 120 and "/" not in cell.name and "[" not in cell.name for cell in found)
        stored = SweepPlan.model_validate_json(SweepPlan(config="retrieval", grid=grid).model_dump_json())
        assert cells(stored)[0].name == found[0].name, "a plan read back finds its runs"


def _is_gone(group: int) -> bool:
    """Whether every process of a group ends within two minutes."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


def test_ctrl_c_ends_the_workers_and_the_next_call_goes_on(forked, tmp_path) -> None:
    """The whole process group is told to stop, as a terminal does it, while a run trains."""
    out = tmp_path / "s"
    settings = [f"--set={key}={value}" for key, value in SMALL.items() if key != "train.schedule"]
    steps = ["--set=train.schedule={log=0,every=50}", "--set=train.steps=100000"]
    words = ["sweep", "retrieval", *settings, *steps, "--workers", "1", "--out", str(out)]
    end, writer = os.pipe()
    with os.fdopen(writer, "w") as into:
        sweep = forked.start(COMMAND, *words, streams=(None, None, into), new_session=True)
    errors = os.fdopen(end)
    try:
        state = out / "seed=0" / "resume" / "state.safetensors"
        until = time.monotonic() + 450
        while not state.exists():
            assert sweep.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        os.killpg(sweep.pid, signal.SIGINT)
        said = errors.read()
        assert sweep.wait(60) == 130
        assert said.strip() == f"interp: stopped; resume with the same command ({out})"
        assert _is_gone(sweep.pid), "the workers have ended"
    finally:
        errors.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(sweep.pid, signal.SIGKILL)
    run = RunFolder.open(out / "seed=0")
    kept = run.resume_state()
    assert kept is not None
    assert kept[1]["step"] >= 5
    with run.lock():
        pass  # nobody trains it any more


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("interp.sweep.cluster.ANSWER_SECONDS", 1)
    with pytest.raises(UserError, match="does not answer"):
        run_sweep(_plan(), tmp_path / "s", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "s").exists()


def test_another_version_s_runs_are_left_alone(tmp_path, monkeypatch) -> None:
    plan = _plan(seeds=(0,))
    RunFolder.create(tmp_path / "s" / cells(plan)[0].name, cells(plan)[0].config)
    (tmp_path / "s" / "sweep.json").write_text(
        json.dumps({"version": "x", "plan": json.loads(plan.model_dump_json())})
    )
    monkeypatch.setattr("interp.sweep.engine.__version__", "9.9")
    with pytest.raises(UserError, match="version"):
        run_sweep(plan, tmp_path / "s", workers=1)


def test_an_interrupt_that_python_dropped_is_raised_at_the_next_look(monkeypatch) -> None:
    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)  # what a finaliser raises goes nowhere

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: dropped.append(found.exc_type))
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c() as ask:
        ask()
        dropping = Dropping()
        del dropping
        assert dropped == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            ask()
    assert signal.getsignal(signal.SIGINT) is before
