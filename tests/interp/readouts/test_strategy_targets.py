"""Closed-form predictors as targets of readouts: found where they were planted and nowhere else, by their names."""

from __future__ import annotations

import pytest
import torch

from interp.analysis.own import name_of, short_name
from interp.readouts.strategy_targets import strategy_target
from interp.readouts.target_readouts import TargetReadouts
from interp.run import Run
from tasks import InContextRegression, MultiHopRetrieval, UserError
from tasks.markov import MarkovChains


class Planted:
    """A stand-in for a model of two blocks."""

    class config:
        n_layers = 2


def test_the_predictor_of_a_pool_is_found_where_it_was_planted():
    task = InContextRegression(d=3, n=8, noise=0.5, pool=4)

    analysis = TargetReadouts(targets=("dMMSE",), chunks=3, validation_chunks=1, test_chunks=1)
    accumulator = analysis.accumulator(Planted(), task, None)
    for chunk in range(analysis.chunks):
        batch = task.sample(0, "analysis", chunk, 256).double()
        held = task.strategies(batch)["dMMSE"] @ torch.ones(1, 4).double()
        noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(chunk)).double()
        cache = dict(zip(analysis.hooks(Planted()), (noise, held + 0.01 * noise, noise), strict=True))
        accumulator.add(chunk, batch, torch.zeros(256, task.interface.n_ctx, 1), cache)
    table = accumulator.table()
    found = table[(table["metric"] == "r2") & (table["control"] == "none") & (table["position"] == "all")]
    found = found.set_index("site")["value"]
    assert found["blocks.0.hook_resid_post"] > 0.95
    assert found["blocks.1.hook_resid_post"] < 0.1
    with pytest.raises(UserError, match="a pool of tasks with noisy labels"):
        analysis.accumulator(Planted(), InContextRegression(d=3, n=8), None)


def test_a_predictor_of_another_task_is_a_target_by_its_name(tmp_path):
    task = MarkovChains(length=12)
    batch = task.sample(0, "test", 0, 8)
    target = strategy_target(task, ("bigram",))
    torch.testing.assert_close(target(batch), task.strategies(batch)["bigram"].exp())
    assert (name_of(target), short_name(target)) == (
        "interp.readouts.strategy_targets:StrategyTarget.bigram", "bigram",
    )  # fmt: skip
    for names, words in ((("w",), "no target 'w'"), (("unigram", "bigram"), "one at a time")):
        with pytest.raises(UserError, match=words):
            strategy_target(task, names)
    with pytest.raises(UserError, match="targets of regression runs"):
        strategy_target(MultiHopRetrieval(), ("w",))
    small = {"model.d_model": 8, "task.length": 12, "train.batch": 4, "train.eval_batch": 4}
    run = Run.train("markov", tmp_path / "run", steps=1, changes=small)
    table = run.probe("last", targets=("unigram",)).table
    assert {"unigram 0", "unigram 1", "unigram 2"} <= set(table["target"])
    assert set(table["control"]) >= {"none", "untrained"}
