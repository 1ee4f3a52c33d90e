"""A user's own metric, pair, target, relation and score: what they find, what they refuse, and what is kept of them."""

from __future__ import annotations

import json
import shutil
import sys

import pandas as pd
import pytest
import torch

import interp
from interp.analysis.own import name_of
from interp.analysis.registry import build
from interp.cli import run as cli
from interp.run import Run
from tasks import UserError
from tasks.base import Pair

BY = ("layer", "head")


def _values(result):
    return result.table.sort_values(["layer", "head"])["value"].tolist()


def test_an_own_metric_and_pair_that_are_the_tasks_give_the_tasks_numbers(run, asked):
    usual = run.patch("z", by=BY, prompts=32)
    own = run.patch("z", by=BY, prompts=32, metric=asked.loss)
    assert _values(own) == pytest.approx(_values(usual), abs=1e-6)
    assert own.table["metric"].unique().tolist() == ["questions:loss"]
    pair = run.task.pair(run.task.pair_kinds[0], 0, "patch", 0, 32)
    assert _values(run.patch("z", by=BY, pair=(pair.clean, pair.corrupt))) == _values(usual)
    assert _values(run.patch("z", by=BY, pair=pair)) == _values(usual)


def test_a_pair_by_a_function_restores_through_the_heads_that_carry_it(run, asked):
    one = run.patch("z", by=BY, prompts=32, pair=asked.rolled, metric=asked.loss)
    both = run.patch("z", by=BY, prompts=32, pair=asked.both, metric=asked.loss)
    assert _values(one) == _values(both)
    assert _values(one)[1] == pytest.approx(1, abs=1e-4)  # the head that answers
    assert 0.1 < _values(one)[0] < 0.9  # the one before it carries the key alone


def test_the_circuit_of_an_own_metric_and_pair_is_what_was_planted(run, net, asked):
    found = run.circuit(metric=asked.loss, pair=asked.rolled).table
    edges = found[found["metric"] == "edge"]
    assert set(zip(edges["sender"], edges["receiver"], strict=True)) == net.circuit.edges
    fixed = run.task.sample(0, "own", 0, 96)
    pair = Pair("own", fixed, fixed.select(torch.arange(96).roll(1)), torch.ones_like(fixed.inputs).bool())
    again = run.circuit(pair=pair).table
    assert set(again[again["metric"] == "edge"]["receiver"]) == set(edges["receiver"])
    assert again[again["metric"] == "faithfulness"]["n"].unique().tolist() == [32]
    with pytest.raises(UserError, match=r"has 40 prompts: .* give 96"):
        run.circuit(pair=(fixed.select(slice(0, 40)), fixed.select(slice(40, 80))))


def test_tokens_at_many_positions_are_decoded_where_they_lie_and_not_before(run, asked):
    table = run.probe(target=asked.tokens).table.set_index(["site", "target", "position", "control"])["value"]
    embed, first = "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"
    assert table[embed, "tokens 0", "all", "none"] == 1
    assert table[embed, "tokens 1", "all", "none"] < 0.15  # the token before is another word
    assert table[first, "tokens 1", "all", "none"] == 1  # the planted previous-token head has brought it
    assert table[first, "tokens 1", "all", "untrained"] < 0.6
    assert table[first, "tokens 1", "all", "shuffled"] < 0.15
    assert table[first, "tokens 1", "all", "chance"] < 0.15
    assert "0" not in table.index.get_level_values("position")  # no token stands before the first


def test_numbers_at_some_positions_are_read_by_ridge(run, asked):
    table = run.probe(target=asked.parity).table
    r2 = table[(table["metric"] == "r2") & (table["position"] == "8")].set_index(["site", "control"])["value"]
    assert r2["blocks.0.hook_resid_pre", "none"] > 0.999
    assert r2["blocks.0.hook_resid_pre", "shuffled"] < 0.05


def test_an_own_relation_is_scored_with_its_chance_level(run, asked):
    table = run.heads(relation=asked.previous).table
    own = table[table["control"] == "none"].set_index("layer")["value"]
    uniform = table[table["control"] == "uniform"]["value"].item()
    assert own[0] == pytest.approx(1, abs=1e-4)  # the planted previous-token head
    assert abs(own[1] - uniform) < 0.05  # the other one is none
    assert uniform == pytest.approx(sum(1 / (row + 1) for row in range(1, 9)) / 8, abs=1e-3)


def test_an_own_score_is_counted_or_averaged_and_the_untrained_models_stands_beside(run, asked):
    table = run.scores(score=asked.right).table
    own, untrained = (table[table["control"] == c].iloc[0] for c in ("none", "untrained"))
    assert (own["value"], own["unit"]) == (1, "share of prompts")
    assert 0.99 < own["ci_low"] < 1
    assert untrained["value"] < 0.3
    losses = run.scores(score=asked.confidence).table
    assert losses[losses["control"] == "none"]["unit"].item() == "own score"


WRONG = {
    ("patch", "metric", "wide"): r"metric questions:wide: expected \[16\].*got \[16, 12\] \(float32\)",
    ("patch", "metric", "whole"): r"expected \[16\] \(a real number a prompt\), got \[16\] \(int64",
    ("patch", "metric", "mixing"): "depend on that prompt alone",
    ("patch", "metric", "elsewhere"): r"looks at positions other than \[8\]",
    ("patch", "metric", "failing"): r"fails on \[16, 9, 12\].*IndexError",
    ("patch", "pair", "too_short"): r"expected corrupt prompts \[16, 9\] as the clean ones, got \[16, 8\]",
    ("patch", "pair", "unknown_tokens"): "expected tokens from 0 to 11, got 1",
    ("patch", "pair", "nothing"): "expected the corrupt inputs or .* got None",
    ("heads", "relation", "beyond"): r"below 9.*got 2 of \(\[256, 8\] \(int64, 2 to 9\)",
    ("heads", "relation", "nothing"): "expected .*dest, source.* got None",
    ("probe", "target", "per_prompt"): r"expected \[256, 9, k\] or \[256, 1, k\], got \[256\]",
    ("probe", "target", "ragged"): "a target in some prompts and none in others",
    ("scores", "score", "wide"): r"expected \[256\] or \[256, 1\], got \[256, 12\]",
}


@pytest.mark.parametrize("what", WRONG, ids=lambda what: "-".join(what))
def test_what_gives_another_shape_is_refused_in_one_line(run, asked, what):
    method, option, name = what
    more = {"prompts": 16, "by": BY} if method == "patch" else {}
    with pytest.raises(UserError, match=WRONG[what]) as refused:
        getattr(run, method)(**{option: getattr(asked, name)}, **more)
    assert "\n" not in str(refused.value)


def test_a_metric_without_a_gradient_is_refused_by_an_estimate_alone(run, asked):
    with pytest.raises(UserError, match="has no gradient"):
        run.circuit(metric=asked.right, pair=asked.rolled, method="EAP", prompts=32)
    with pytest.raises(UserError, match="must be a function of a batch"):
        build("own-score", score="questions:right")  # text is imported for a command line alone


EDITED = "def half(outputs, batch):\n    return outputs[:, -1].amax(-1) * {}\n"


def test_an_edited_score_is_measured_again_and_one_without_a_file_each_time(run, tmp_path, monkeypatch):
    import importlib

    place = tmp_path / "run"
    shutil.copytree(run.path, place, ignore=shutil.ignore_patterns("analysis"))
    (tmp_path / "edited_score.py").write_text(EDITED.format("0.5"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import edited_score

    first = interp.load(place).scores(score=edited_score.half).table
    kept = sorted(f.name for f in (place / "analysis").glob("own-score-*.parquet"))
    assert len(kept) == 1
    (tmp_path / "edited_score.py").write_text(EDITED.format("0.25 * 1.0"))
    again = interp.load(place).scores(score=importlib.reload(edited_score).half).table
    pd.testing.assert_series_equal(first["value"], 2 * again["value"])
    assert sorted(f.name for f in (place / "analysis").glob("own-score-*.parquet")) == kept
    typed: dict = {}
    exec(compile(EDITED.format("0.5").replace("half", "typed"), "<stdin>", "exec"), typed)  # noqa: S102
    typed["typed"].__module__ = "__main__"
    with pytest.warns(UserWarning, match="measured again each time, not kept"):
        interp.load(place).scores(score=typed["typed"])
    assert sorted(f.name for f in (place / "analysis").glob("own-score-*.parquet")) == kept


def test_names_of_callables_say_where_they_are(asked):
    from functools import partial

    assert name_of(partial(asked.loss, None)) == name_of(asked.loss) == "questions:loss"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("patch", "--by", "layer", "head", "--metric", "questions:loss", "--pair", "questions:rolled"),
            "effect",
        ),
        (("heads", "--relation", "questions:previous"), "L0H0 1.00"),
        (("probe", "--target", "questions:parity"), "r2 of a linear readout of parity"),
        (("scores", "--score", "questions:right"), "right by checkpoint"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_the_command_line_takes_them_by_name(run, asked, capsys, words, told):
    command, *rest = words
    assert cli([command, str(run.path), *rest]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scores", "--score", "nowhere_at_all:f"), "cannot be imported"),
        (("scores", "--score", "questions:nope"), "questions has no 'nope'"),
        (("scores", "--score", "questions"), "write module:function"),
        (("scores", "--score", "questions:PAIR"), "PAIR is no function"),
        (("patch", "--metric", "lss"), "unknown metric 'lss'"),
        (("heads", "--relation", "questions:beyond"), "below 9"),
    ],
    ids=lambda words: words[-1] if isinstance(words, tuple) else "",
)
def test_what_the_command_line_cannot_take_is_one_line_and_two(run, asked, capsys, words, told):
    command, *rest = words
    assert cli([command, str(run.path), *rest]) == 2
    err = capsys.readouterr().err.strip()
    assert told in " ".join(err.split())


def test_a_table_that_names_a_function_imports_nothing(run, asked):
    run.scores(score=asked.right)
    sys.modules.pop("questions", None)
    Run(run.folder).scores()
    assert "questions" not in sys.modules
    assert json.dumps(name_of(asked.right)) == '"questions:right"'
    sys.modules["questions"] = asked
