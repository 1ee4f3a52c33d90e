"""Streaming analyses: cached by weights and settings, sharing forward passes, unharmed by interruption."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import pytest

from interp.analysis.base import Accumulator, Analysis
from interp.config.run import configure
from interp.emergence.scores import Scores
from interp.heads.heads import HeadScores
from interp.io.tables import read_table
from interp.readouts.readouts import Readouts
from interp.run import Run, load
from interp.train import train
from tasks import Task, UserError

SMALL = (
    *(
        "train.steps=12",
        "train.batch=16",
        "train.schedule.log=0",
        "train.schedule.every=4",
        "train.eval_batch=16",
    ),
    *("model.n_layers=2", "model.n_heads=2", "model.d_model=16", "train.save_every=4"),
)


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "retrieval"
    train(configure("retrieval", overrides=SMALL), path)
    return load(path)


@pytest.fixture(scope="module")
def regression(tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "regression"
    train(configure("regression", overrides=[*SMALL, "train.warmup=2"]), path)
    return load(path)


class Counter(Analysis):
    """Counts how often it is shown a chunk."""

    name: ClassVar[str] = "counter"
    seen: ClassVar[list[int]] = []
    chunks: int = 2

    def hooks(self, model: Any) -> list[str]:
        return []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> CountingAccumulator:
        return CountingAccumulator()


class CountingAccumulator:
    def add(self, chunk: int, batch: Any, outputs: Any, cache: Any) -> None:
        Counter.seen.append(chunk)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"metric": ["chunks"], "control": ["none"], "value": [float(len(Counter.seen))]})


def test_a_second_call_measures_nothing(retrieval: Run) -> None:
    Counter.seen.clear()
    first = retrieval.tables([Counter()], [0, 4])["counter"]
    assert Counter.seen == [0, 1, 0, 1]
    again = retrieval.tables([Counter()], [0, 4])["counter"]
    assert Counter.seen == [0, 1, 0, 1]
    pd.testing.assert_frame_equal(first, again)
    retrieval.tables([Counter()], "all")
    assert len(Counter.seen) == 2 * len(retrieval.steps), "only the steps that were new"


def test_other_settings_have_a_table_of_their_own(retrieval: Run) -> None:
    Counter.seen.clear()
    retrieval.tables([Counter(chunks=3)], "last")
    assert Counter.seen == [0, 1, 2]
    retrieval.tables([Counter()], "last")
    retrieval.tables([Counter(chunks=3)], "last")
    assert len(Counter.seen) <= 5


def test_order_of_calls_leaves_no_trace(tmp_path) -> None:
    files = []
    for order in ([[12], [0], "all"], ["all"]):
        path = tmp_path / f"run{len(files)}" / "same"
        train(configure("retrieval", overrides=SMALL), path)
        run = load(path)
        for steps in order:
            run.tables([Scores(), HeadScores()], steps)
        files.append([run.folder.table_path(name).read_bytes() for name in ("scores", "heads")])
    assert files[0] == files[1]


def test_an_interrupted_analysis_keeps_what_it_measured(retrieval: Run) -> None:
    class Stops(Counter):
        name: ClassVar[str] = "stops"

    def stop(label: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrieval.tables([Stops()], "all", stop)
    found = read_table(retrieval.folder.table_path("stops"))
    assert found is not None
    assert sorted(found[1].checkpoints) == list(retrieval.steps[:2])


def test_a_damaged_table_is_refused(retrieval: Run) -> None:
    retrieval.tables([Scores()], "last")
    path = retrieval.folder.table_path("scores")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="not a readable table"):
            retrieval.scores()
        path.write_bytes(b"PAR1 something else")
        with pytest.raises(UserError, match="not a readable table"):
            retrieval.scores()
    finally:
        path.write_bytes(whole)


def test_every_step_of_a_page_of_analyses(retrieval: Run) -> None:
    tables = retrieval.tables([Scores(), HeadScores(), Readouts()])
    for table in tables.values():
        assert list(table["step"].dropna().unique()) == list(retrieval.steps)
    heads = tables["heads"]
    assert set(heads["control"]) == {"none", "untrained", "uniform"}
    uniform = heads[heads["control"] == "uniform"]["value"]
    assert uniform.to_numpy() == pytest.approx(1 / retrieval.task.interface.n_ctx)


def test_untrained_net_scores_no_head_and_reads_no_symbol(retrieval: Run) -> None:
    heads = retrieval.heads([0]).table
    measured = heads[heads["control"] == "none"]
    assert (measured["value"] < 0.3).all()
    probe = retrieval.probe([0]).table
    own = probe[(probe["control"] == "none") & (probe["position"] != "hop 1")]
    assert (own["ci_low"] < 0.1).all()


def test_readout_of_a_regression_run_has_its_controls(regression: Run) -> None:
    table = regression.probe("last").table
    assert {"none", "untrained", "shuffled", "zero"} == set(table["control"].unique())
    zero = table[(table["control"] == "zero") & (table["metric"] == "mse") & (table["position"] == "all")]
    assert zero["value"].to_numpy() == pytest.approx(1.0, abs=0.1), "errors count in label variances"
    sites = list(dict.fromkeys(table["site"]))
    assert sites == ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


def test_steps_are_parsed_and_refused(retrieval: Run) -> None:
    assert retrieval.resolve("0,4") == (0, 4)
    assert retrieval.resolve([4, 0, 4]) == (0, 4)
    assert retrieval.resolve("last") == (12,)
    with pytest.raises(UserError, match="nearest is 4"):
        retrieval.resolve(5)
    with pytest.raises(UserError, match="give 'all'"):
        retrieval.resolve("first")
    with pytest.raises(UserError, match="no step"):
        retrieval.resolve([])


def test_a_run_without_a_checkpoint_says_so(retrieval: Run, tmp_path) -> None:
    (tmp_path / "config.json").write_bytes((retrieval.path / "config.json").read_bytes())
    with pytest.raises(UserError, match="no checkpoint yet"):
        load(tmp_path).scores()


def test_the_twin_is_another_initialisation(retrieval: Run) -> None:
    untrained, model = retrieval.untrained_model(), retrieval.model(0)
    assert any((a != b).any() for a, b in zip(untrained.parameters(), model.parameters(), strict=True))
    assert not model.training
    assert not untrained.training
