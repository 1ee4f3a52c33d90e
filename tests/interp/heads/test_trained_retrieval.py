"""What training brings, at small size: the hops come in order, the circuit is found, one layer is not enough.

ALGOSCOPE_FULL=1 trains three seeds instead of one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interp.emergence import curriculum
from interp.emergence.instruments import instrument_onsets
from interp.heads.chain import ChainMatrix
from interp.heads.mechanism import Mechanism, identified_circuit
from interp.heads.transplant import transplant_table
from interp.readouts.reach import reach
from interp.run import Run

SEEDS = (1, 0, 2) if os.environ.get("ALGOSCOPE_FULL") else (1,)
HOPS = ("hop 1", "hop 2", "hop 3")
SHAPE = {
    "task.vocab": 12, "model.d_model": 32, "train.batch": 64, "train.lr": 4e-3, "train.eval_batch": 128,
    "train.schedule.log": 0, "train.schedule.every": 40, "train.save_every": 10_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    """Three hops, three layers, every hop in the target."""
    out: Path = tmp_path_factory.mktemp("retrieval")
    changes = {**SHAPE, "task.chains": 3}
    return [Run.train("retrieval", out / f"s{s}", seed=s, steps=640, changes=changes) for s in SEEDS]


def _accuracy(run: Run) -> list[float]:
    table = run.scores("last").table
    return table[(table["metric"] == "accuracy") & (table["control"] == "none")]["value"].tolist()


def test_hops_are_learned_in_the_order_of_the_chain(runs) -> None:
    found = curriculum.events({run.name: run.emergence().table for run in runs})
    shares = curriculum.order(found, HOPS).set_index("metric")["value"]
    assert shares["strictly in order"] == 1
    assert shares["kendall tau"] == 1
    assert min(_accuracy(run)[2] for run in runs) > 0.95


def test_the_trained_circuit_is_look_ahead_and_its_heads_are_found(runs) -> None:
    for run in runs:
        chain = run.tables([ChainMatrix()], "last")["chain"]
        own = chain[(chain["control"] == "none") & (chain["metric"].isin(["attention", "look-ahead 1"]))]
        best = own.groupby(["metric", "chain", "row", "column"])["value"].max()
        assert best["look-ahead 1", "all", "", ""] > 0.8
        assert best["attention", "queried", "query", "link_1"] > 0.9
        assert best["attention", "queried", "query", "link_2"] > 0.9
        ends = [run.steps[0], run.steps[-1]]
        named = identified_circuit(run.tables([Mechanism()], ends)["mechanism"]).set_index("step")
        assert named["hop 3"].iloc[-1] == "look-ahead"
        assert named["hop 1"].iloc[-1] == "stacked"
        assert named["circuit"].iloc[0] == "not solved"


def test_no_symbol_is_readable_before_information_could_have_come(runs) -> None:
    for run in runs:
        table = reach(run.probe("last").table, run.task)
        assert not table["too_early"].any()
        assert table.loc[table["depth"] == 3, "readable"].all()


def test_late_heads_help_a_checkpoint_that_lacks_them_and_no_other(runs) -> None:
    run = runs[0]
    onsets = run.emergence().table.set_index("subject")["step"]
    before = max(step for step in run.steps if step < onsets["hop 1"])
    table = transplant_table(run, [before, 600], prompts=128)
    gain = table[table["control"] == "none"].set_index(["step", "team", "position"])["value"]
    assert gain[before, "every head", "hop 1"] > 0.3
    assert gain[before, "query -> link_2", "hop 2"] < 0.3
    assert abs(gain[600, "every head", "hop 3"]) < 0.1
    untrained = table[(table["control"] == "untrained") & (table["step"] == 600)]
    assert untrained.set_index(["team", "position"])["value"]["every head", "hop 1"] < -0.5


def test_edges_and_readouts_are_dated_and_no_edge_before_there_is_a_behaviour(runs) -> None:
    run = runs[0]
    steps = ",".join(map(str, run.steps[::8]))
    edges = instrument_onsets(run, "edges", steps)
    came = edges["step"].dropna()
    assert len(came) > 0
    assert (came > run.steps[0]).all()
    held = instrument_onsets(run, "readouts").set_index("subject")["step"]
    last = next(name for name in held.index if name.startswith("hop 1 at") and name.endswith("2"))
    assert held[last] < held[last.replace("hop 1", "hop 3")]


def test_one_layer_answers_one_hop_and_guesses_the_second(tmp_path) -> None:
    changes = {**SHAPE, "task.hops": 2, "model.n_layers": 1, "model.n_heads": 2}
    first, second = _accuracy(Run.train("retrieval", tmp_path / "run", seed=1, steps=400, changes=changes))
    assert first > 0.99
    assert 0.15 <= second <= 0.35
