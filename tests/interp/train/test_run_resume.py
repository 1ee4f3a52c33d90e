"""A run that is cut off anywhere ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from interp._version import BITS
from interp.config.run import RunConfig, parse_config
from interp.runs.folder import RunFolder
from interp.runs.verify import verify
from interp.train.loop import Diverged, Interrupted, resume, train
from tasks.errors import UserError

KILLS = 12 if os.environ.get("ALGOSCOPE_FULL") == "1" else 4

RETRIEVAL = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 8},
    "model": {
        "kind": "transformer",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 8,
        "mlp": "none",
        "mask": "full",
    },
}
REGRESSION = {
    "task": {"kind": "regression", "d": 2, "n": 3},
    "model": {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 8},
}


def config(base: dict, seed: int = 3, **changes) -> RunConfig:
    usual = {
        "steps": 40,
        "batch": 8,
        "lr": 0.003,
        "eval_batch": 16,
        "log_every": 3,
        "save_every": 7,
        "schedule": {"log": 5, "every": 10},
    }
    return parse_config({**base, "seed": seed, "train": {**usual, **changes}})


def contents(path: Path) -> dict[str, bytes]:
    """Every file that a run promises to write the same way twice."""
    skipped = {"timing.jsonl", ".lock"}
    files = (f for f in path.rglob("*") if f.is_file() and f.name not in skipped)
    return {str(f.relative_to(path)): f.read_bytes() for f in files}


def until_metrics_hold(file: Path, size: int) -> None:
    for _ in range(60_000):
        if file.exists() and file.stat().st_size >= size:
            return
        time.sleep(0.001)
    raise AssertionError(f"{file} never grew to {size} bytes")


ZYGOTE = """
import json, os, signal, sys
from interp.config.run import parse_config
from interp.train import train
for line in iter(sys.stdin.readline, ""):
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        calls, real = [0], os.fsync
        def fsync(descriptor):
            calls[0] += 1
            if calls[0] == job["die_at_sync"]:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)
        os.fsync = fsync
        train(parse_config(job["settings"]), job["out"])
        os._exit(0)
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def zygote(forked):
    """A process with everything imported that forks one trainer a line, so that a kill can come at any moment."""
    process = forked.start(ZYGOTE, piped=True)

    def run(settings: dict, out: Path, *, die_at_sync: int = 0, kill_at_size: int | None = None) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        job = {"settings": settings, "out": str(out), "die_at_sync": die_at_sync}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        pid = int(process.stdout.readline())
        if kill_at_size is not None:
            until_metrics_hold(out / "metrics.jsonl", kill_at_size)
            os.kill(pid, signal.SIGKILL)
        process.stdin.write("its number is free to be used again\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield run
    process.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[RunConfig, dict[str, bytes], int]:
    """Settings, files and number of forced writes of a run that nobody disturbs."""
    settings = config(REGRESSION, optimiser="muon", clip=1.0, warmup=5, decay="cosine")
    path = tmp_path_factory.mktemp("whole") / "run"
    syncs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", syncs.append)
        train(settings, path)
    return settings, contents(path), len(syncs)


@pytest.mark.parametrize("attempt", range(KILLS))
def test_killed_at_a_write_and_resumed_is_bit_equal(zygote, whole, tmp_path, attempt):
    settings, expected, syncs = whole
    moment = random.Random(attempt).randrange(1, syncs + 1)
    assert zygote(settings.settings, tmp_path / "run", die_at_sync=moment) == -signal.SIGKILL
    if (tmp_path / "run" / "config.json").exists():
        assert verify(tmp_path / "run").ok
    train(settings, tmp_path / "run")
    assert contents(tmp_path / "run") == expected


def test_killed_at_random_times_again_and_again(zygote, whole, tmp_path):
    settings, expected, _ = whole
    size = len(expected["metrics.jsonl"])
    rng = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        code = zygote(settings.settings, tmp_path / "run", kill_at_size=rng.randrange(size // 2))
        killed += code == -signal.SIGKILL
        if (tmp_path / "run" / "config.json").exists():
            assert verify(tmp_path / "run").problem is None
    assert killed > 0
    train(settings, tmp_path / "run")
    assert contents(tmp_path / "run") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_stopped_by_a_signal_says_how_to_go_on(tmp_path, number, optimiser):
    settings = config(RETRIEVAL, optimiser=optimiser, momentum=0.9)
    train(settings, tmp_path / "whole")

    def stop(step: int, loss: float) -> None:
        if step == 12:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="interp resume") as caught:
        train(settings, tmp_path / "run", progress=stop)
    assert caught.value.step == 13
    assert signal.getsignal(number) is before
    found = verify(tmp_path / "run")
    assert found.ok
    assert found.state == "unfinished"
    assert "interp resume" in str(found)
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_run_begun_under_the_first_version_of_training_ends_as_it_would_have(tmp_path):
    settings = config(REGRESSION, optimiser="muon")
    for name in ("whole", "cut"):
        RunFolder.create(tmp_path / name, settings, bits=1)
    assert "bits" not in json.loads((tmp_path / "whole/config.json").read_text())
    resume(tmp_path / "whole")

    def stop(step: int, loss: float) -> None:
        if step == 20:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        resume(tmp_path / "cut", progress=stop)
    resume(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    now = train(settings, tmp_path / "now")
    assert RunFolder.open(now.path).head.bits == BITS > 1
    assert now.weights_hash(40) != RunFolder.open(tmp_path / "whole").weights_hash(40)


def test_a_run_of_a_newer_version_of_training_is_read_and_not_resumed(tmp_path):
    folder = RunFolder.create(tmp_path / "run", config(RETRIEVAL), bits=BITS + 1)
    assert RunFolder.open(folder.path).head.bits == BITS + 1
    with pytest.raises(UserError, match="newer than this one's"):
        resume(folder.path)


def test_resume_without_a_saved_state_starts_at_step_0(tmp_path):
    settings = config(RETRIEVAL, save_every=1000)
    train(settings, tmp_path / "whole")
    RunFolder.create(tmp_path / "run", settings)
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_finished_run_is_left_alone(tmp_path):
    settings = config(RETRIEVAL)
    train(settings, tmp_path / "run")
    stamps = {f: f.stat().st_mtime_ns for f in (tmp_path / "run").rglob("*.safetensors")}
    calls = []
    resume(tmp_path / "run", progress=lambda step, loss: calls.append(step))
    assert calls == []
    assert stamps == {f: f.stat().st_mtime_ns for f in (tmp_path / "run").rglob("*.safetensors")}


def test_same_settings_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(config(RETRIEVAL, seed=seed), tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert RunFolder.open(tmp_path / "a").weights_hash(40) != RunFolder.open(tmp_path / "c").weights_hash(40)


def test_seeds_of_initialisation_and_data_are_apart(tmp_path):
    base = config(RETRIEVAL).settings
    hashes = {}
    for name, seeds in {"plain": {}, "init": {"init_seed": 9}, "data": {"data_seed": 9}}.items():
        run = train(parse_config({**base, **seeds}), tmp_path / name)
        hashes[name] = [run.weights_hash(0), run.weights_hash(40)]
    assert hashes["init"][0] != hashes["plain"][0]
    assert hashes["data"][0] == hashes["plain"][0]
    assert hashes["data"][1] != hashes["plain"][1]


def test_a_second_trainer_is_refused(tmp_path):
    settings = config(RETRIEVAL)
    folder = RunFolder.create(tmp_path / "run", settings)
    with folder.lock(), pytest.raises(UserError, match="another process is training"):
        train(settings, tmp_path / "run")
    train(settings, tmp_path / "run")
    assert verify(tmp_path / "run").state == "finished"


@pytest.mark.parametrize(("lr", "bound"), [(1e3, 10.0), (1e25, 0.0)])
def test_divergence_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path, lr, bound):
    settings = config(REGRESSION, optimiser="sgd", lr=lr, max_loss=bound, schedule={"every": 1})
    with pytest.raises(Diverged) as caught:
        train(settings, tmp_path / "run")
    step = caught.value.step
    run = RunFolder.open(tmp_path / "run")
    assert f"at step {step}" in str(caught.value)
    assert run.diverged == step > 0
    assert run.steps == tuple(range(step))
    assert all(bool(w.isfinite().all()) for w in run.weights(step - 1).values())
    assert not run.finished
    assert verify(tmp_path / "run").state == "diverged"
    before = contents(tmp_path / "run")
    with pytest.raises(Diverged, match=f"at step {step}"):
        resume(tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear to someone")
    with pytest.raises(UserError, match="holds other files"):
        train(config(RETRIEVAL), tmp_path)
    train(config(RETRIEVAL), tmp_path / "run")
    with pytest.raises(UserError, match="another run"):
        train(config(RETRIEVAL, seed=4), tmp_path / "run")


def test_weights_really_follow_the_settings(tmp_path):
    """Training lowers the loss, in float64 too, and logs what it measured."""
    double = {
        "task": {"kind": "regression", "d": 1, "n": 3},
        "model": {**REGRESSION["model"], "dtype": "float64"},
    }
    long = {"steps": 150, "batch": 32, "lr": 0.01, "eval_batch": 256, "schedule": {"explicit": (7,)}}
    run = train(config(double, **long), tmp_path / "run")
    assert run.steps == (0, 7, 150)
    assert {str(w.dtype) for w in run.weights(7).values()} == {"torch.float64"}
    table = run.metrics().query("split == 'eval' and metric == 'loss'")
    mean = table.groupby("step")["value"].mean()
    assert mean.loc[150] < 0.9 * mean.loc[0]
    assert table["value"].notna().all()
    assert set(table["position"]) == set(run.config.task.output_names)
