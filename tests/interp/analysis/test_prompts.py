"""How many prompts scores and heads take: the first of the shared ones, a table of their own, few of large models."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

import interp
from interp.analysis.prompted import FEWER
from interp.cli import run as cli
from interp.emergence.draws import CurveDraws
from interp.emergence.scores import Scores
from interp.heads.heads import HeadScores
from interp.heads.statistics import HeadStatistics
from tasks import UserError, from_tensors
from tests.external.adopting import theirs

INDUCTION = {"kind": "induction", "vocabulary": 13, "length": 5, "candidates": 0}
SHAPES = {"a million": (4, 128), "85 million": (12, 768)}


@pytest.fixture(scope="module")
def run():
    return interp.adopt(theirs.drawn(theirs.KINDS["Llama"]()), task=INDUCTION, quiet=True)


def counts(result):
    return set(result.table.query("control == 'none'")["n"])


def test_scores_are_of_the_first_shared_prompts(run):
    found = run.scores(prompts=10)
    assert counts(found) == {10}
    batch = run.task.sample(run.config.data_seed, "analysis", 0, 256).select(torch.arange(10))
    with torch.no_grad():
        loss = run.task.loss(run.model()(batch.inputs), batch).mean(0)
    own = found.table.query("metric == 'loss' and control == 'none'")["value"]
    assert own.to_numpy() == pytest.approx(loss.numpy(), abs=1e-5)
    assert counts(run.scores(prompts=300)) == {300}
    assert counts(run.scores()) == {1024}


def test_heads_and_statistics_take_as_many_and_other_views_refuse(run):
    for result in (run.heads(prompts=12), run.heads(view="statistics", prompts=12)):
        assert counts(result) == {12}
        assert "untrained" in set(result.table["control"])
    assert set(run.heads(view="patterns", prompts=12).table["n"].dropna()) == {12}
    with pytest.raises(UserError, match="'composition' takes no number of prompts"):
        run.heads(view="composition", prompts=12)
    with pytest.raises(UserError, match="prompts: must be 2 or more"):
        run.scores(prompts=1)


def test_the_number_is_part_of_the_key_where_it_is_given():
    for kind in (Scores, HeadScores, HeadStatistics):
        assert kind(prompts=12).key != kind(prompts=13).key != kind().key
        assert kind().table_name == kind.name != kind(prompts=12).table_name
    together = run_of("a million")
    assert Scores().of(together) == Scores()


def run_of(size):
    layers, width = SHAPES[size]
    return SimpleNamespace(model=SimpleNamespace(n_layers=layers, d_model=width))


@pytest.mark.parametrize("kind", [Scores, HeadScores, CurveDraws])
def test_large_models_take_fewer_unless_a_number_is_given(kind):
    assert kind().of(run_of("85 million")).prompts == FEWER
    assert kind(prompts=100).of(run_of("85 million")).prompts == 100
    assert kind().of(run_of("a million")).prompts is None


def test_prompts_that_are_given_are_taken_chunk_after_chunk():
    inputs = torch.arange(640).reshape(64, 10) % 13
    task = from_tensors(inputs, inputs.roll(-1, 1))
    run = interp.adopt(theirs.drawn(theirs.KINDS["Llama"]()), task=task, quiet=True)
    assert counts(run.scores(prompts=20)) == {20}
    assert counts(run.scores(prompts=1000)) == {64}  # all there are


def test_the_commands_take_the_number_too(tmp_path, capsys):
    out = tmp_path / "run"
    interp.adopt(theirs.drawn(theirs.KINDS["Llama"]()), task=INDUCTION, quiet=True, out=out)
    for words in (["scores"], ["heads"], ["heads", "--view", "statistics"]):
        assert cli([words[0], str(out), *words[1:], "--prompts", "9", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert {row["n"] for row in rows if row["control"] == "none"} == {9}
    assert cli(["scores", str(out), "--prompts", "1"]) == 2
