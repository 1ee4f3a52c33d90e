"""Devices and compilation: results of a GPU beside those of the CPU, and what analysis sees of a compiled training."""

from __future__ import annotations

import pytest
import torch

from interp.config.run import configure
from interp.run import load
from interp.train import train

SMALL = (
    *(
        "train.steps=6",
        "train.batch=16",
        "train.eval_batch=16",
        "train.schedule.log=0",
        "train.schedule.every=3",
    ),
    *("model.n_layers=1", "model.n_heads=2", "model.d_model=16", "model.dtype=float64"),
)
TOLERANCE = 1e-8  # float64, six steps: rounding only


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: GPU results are not compared")
def test_a_gpu_s_run_is_the_cpu_s_within_rounding(tmp_path) -> None:
    config = configure("retrieval", overrides=SMALL)
    train(config, tmp_path / "cpu")
    train(config, tmp_path / "gpu", device="cuda")
    mine, theirs = load(tmp_path / "cpu"), load(tmp_path / "gpu")
    for step in mine.steps:
        other = theirs.folder.weights(step)
        for name, value in mine.folder.weights(step).items():
            assert (value - other[name]).abs().max() < TOLERANCE, (step, name)
    scores = [run.scores().table["value"].to_numpy(dtype=float) for run in (mine, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=TOLERANCE, nan_ok=True)


# In a process of its own: the type checks of the tests cannot be traced by torch's compiler.
COMPILED = """
import functools, sys, torch
torch.compile = functools.partial(torch.compile, backend="eager")  # the backend that needs no C++ compiler
from interp.config.run import configure
from interp.train import train
train(configure("retrieval", overrides=sys.argv[2:]), sys.argv[1])
from torch._dynamo.utils import counters
print(counters["stats"]["calls_captured"])
"""


def test_analysis_never_sees_that_training_was_compiled(forked, tmp_path, monkeypatch) -> None:
    """Same weights under the same names, plain models, hooks that act."""
    done = forked(COMPILED, str(tmp_path / "compiled"), *SMALL, "train.compile=true")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "training was compiled"
    monkeypatch.setattr(torch, "compile", None)  # whoever compiles now fails
    train(configure("retrieval", overrides=SMALL), tmp_path / "plain")
    plain, other = load(tmp_path / "plain"), load(tmp_path / "compiled")
    weights = other.folder.weights(6)
    assert set(weights) == set(plain.folder.weights(6)), "no name was changed by compiling"
    for name, value in plain.folder.weights(6).items():
        assert (value - weights[name]).abs().max() < TOLERANCE
    model = other.model("last")
    inputs = other.task.sample(0, "eval", 0, 4).inputs
    changed = model.run_with_hooks(inputs, fwd_hooks=[("blocks.0.hook_resid_post", _zero)])
    assert (changed - model(inputs)).abs().max() > 0.01
    assert len(other.scores("last").table)


def _zero(activation, hook):
    return torch.zeros_like(activation)
