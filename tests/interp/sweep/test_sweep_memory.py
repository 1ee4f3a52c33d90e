"""Analyses over many checkpoints: what is held in memory does not grow with their number."""

from __future__ import annotations

import gc
import weakref

import torch

from interp.config.run import configure
from interp.emergence.scores import Scores
from interp.heads.heads import HeadScores
from interp.readouts.readouts import Readouts
from interp.run import Run, load
from interp.train import train


def test_tensors_alive_do_not_grow_with_checkpoints(tmp_path, monkeypatch) -> None:
    """Counted after every checkpoint: tensors that Python still holds, and the models among them; what was there before
    is set aside, where the garbage collector does not look."""
    changes = {
        "train.steps": 12, "train.batch": 8, "train.eval_batch": 8, "model.n_layers": 1, "model.n_heads": 2,
        "model.d_model": 8, "train.schedule": {"log": 0, "every": 1, "explicit": []},
    }  # fmt: skip
    train(configure("retrieval", changes=changes), tmp_path / "r")
    run, alive, held, models = load(tmp_path / "r"), [], [], weakref.WeakSet()
    original = Run.model

    def model(self, step="last", into=None):
        found = original(self, step, into)
        models.add(found)
        return found

    monkeypatch.setattr(Run, "model", model)

    def count(*state: object) -> None:
        gc.collect()
        held.append(len(models))
        alive.append(sum(t.numel() for t in gc.get_objects() if issubclass(type(t), torch.Tensor)))

    gc.collect()
    gc.freeze()
    run.tables([Scores(chunks=1), HeadScores(chunks=1), Readouts()], "all", count)
    assert len(alive) == len(run.steps) == 13
    assert max(alive[2:]) <= alive[1] * 1.01
    assert max(held) == 1, "one model is filled again and again"
