"""What the view computes: known answers on a hand-constructed net, the same figures as the analyses, nothing lost."""

from __future__ import annotations

import json
import math

import pytest

from interp.explore.session import Session
from tasks import UserError

MARKOV = {"kind": "markov", "symbols": 3, "length": 12}
REGRESSION = {"kind": "regression", "d": 2, "n": 3}


@pytest.fixture(scope="module")
def view(run) -> Session:
    return Session(run)


def answers(view: Session) -> dict[tuple[str, str], tuple[float, float | None]]:
    table = view.tables["answers"]
    return {(r.output, r.symbol): (r.intact, r.changed) for r in table.itertuples()}


def right(view: Session) -> list[str]:
    table = view.tables["answers"]
    return list(table.loc[table["right"], "symbol"])


def test_the_net_answers_and_the_view_says_which_answer_is_right(view) -> None:
    view.ask(step="last", selected=[])
    batch = view.prompts(view.chosen.pair).clean
    wanted = [str(int(symbol)) for symbol in batch.targets[0]]
    assert right(view) == wanted
    assert [answers(view)[name][0] for name in zip(("hop 1", "hop 2"), wanted, strict=True)] == pytest.approx(
        [1, 1], abs=1e-3
    )
    assert view.shown["panes"][0]["effects"] == []


def test_ablating_the_second_head_costs_the_second_hop_alone(view) -> None:
    view.ask(step="last", selected=["L1H0"], replacement="mean per position")
    scores = view.tables["effects"].query("metric == 'accuracy'").set_index("output")
    assert scores.loc["hop 1", "value"] == 0
    assert scores.loc["hop 2", "ci_high"] < -0.5
    assert view.tables["attention"].set_index("head")["change"].to_dict() == {"L0H0": 0, "L1H0": 0}


def test_patching_the_first_head_gives_the_other_prompts_answers_and_moves_later_attention(view) -> None:
    view.ask(step="last", pair="swap-hop-1", selected=["L0H0"], replacement="pair")
    corrupt = [str(int(symbol)) for symbol in view.prompts("swap-hop-1").pair.corrupt.targets[0]]
    for hop, symbol in zip(("hop 1", "hop 2"), corrupt, strict=True):
        intact, changed = answers(view)[hop, symbol]
        assert (intact, changed) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    moved = view.tables["attention"].set_index("head")["change"]
    assert moved["L0H0"] == 0
    assert moved["L1H0"] > 0.1
    shown = view.shown["panes"][0]["attention"]
    assert [(each["head"], each["why"]) for each in shown] == [
        ("L0H0", "selected"),
        ("L1H0", "its attention changed most"),
    ]
    assert shown[1]["before"] != shown[1]["after"]


@pytest.mark.parametrize("replacement", ["pair", "mean per position", "zero"])
def test_an_effect_is_that_of_patching(view, run, replacement) -> None:
    found = run.patch(
        "z", by=("layer", "head"), direction="noise", replacement=replacement, steps="last"
    ).table
    for layer in (0, 1):
        view.ask(step="last", pair="swap-hop-1", selected=[f"L{layer}H0"], replacement=replacement)
        here = view.tables["effects"].query("metric == 'normalised effect'").iloc[0]
        there = found[found["layer"] == layer].iloc[0]
        for name in ("value", "ci_low", "ci_high"):
            assert here[name] == pytest.approx(there[name], abs=1e-4)


def test_an_edge_is_patched_as_by_path_patching(view, run) -> None:
    from interp.causal.paths import patch_paths

    view.ask(step="last", pair="swap-hop-1", selected=["L0H0 -> L1H0.q"], replacement="pair")
    pair = run.task.pair("swap-hop-1", 0, "patch", 0, 64)
    found = patch_paths(run.model("last"), run.task, pair, [(["L0H0"], ["L1H0.q"])], direction="noise").iloc[
        0
    ]
    here = view.tables["effects"].query("metric == 'normalised effect'").iloc[0]
    assert here["value"] == pytest.approx(found["value"], abs=1e-4)
    scores = view.tables["effects"].query("metric == 'accuracy'").set_index("output")["value"]
    assert scores["hop 1"] == 0  # the first answer does not pass through that edge
    assert scores["hop 2"] < -0.5


def test_the_heads_table_is_that_of_the_run_at_every_step(view, run) -> None:
    for step in (0, 1):
        view.ask(step=step, selected=[])
        assert view.tables["heads"].equals(run.heads(steps=step).table)
    assert view.shown["panes"][0]["scores"][0]["cells"].keys() == {"L0H0", "L1H0"}


def test_an_untrained_net_has_no_effect_and_the_view_says_why(view) -> None:
    view.ask(step=0, selected=["L0H0"], replacement="pair")
    row = view.tables["effects"].query("metric == 'normalised effect'").iloc[0]
    assert math.isnan(row["value"])
    assert "do not differ significantly" in row["note"]


def test_a_circuit_is_shown_once_it_is_measured(run) -> None:
    view = Session(run, step=1)
    pane = view.shown["panes"][0]
    if not pane["circuit"]:
        assert pane["circuit_words"] == "no circuit of step 1 is kept: run.circuit(steps=1) searches it"
    found = run.circuit(steps=1).table.query("metric == 'edge'")
    pane = view.ask()["panes"][0]
    assert {(e["sender"], e["receiver"]) for e in pane["circuit"]} == set(
        zip(found["sender"], found["receiver"], strict=True)
    )
    assert ("L0H0", "L1H0.q") in {(e["sender"], e["receiver"]) for e in pane["circuit"]}
    assert pane["circuit_words"] == ""


def test_two_steps_and_two_runs_stand_side_by_side(view, run) -> None:
    view.ask(step=1, selected=["L0H0"], pinned=0)
    assert [pane["step"] for pane in view.shown["panes"]] == [1, 0]
    view.ask(pinned=None)
    both = Session(run, run.without_interventions(), step=0)
    assert [pane["step"] for pane in both.shown["panes"]] == [0, 1]
    both.ask(pinned=0)
    assert both.shown["panes"][0]["answers"] == both.shown["panes"][1]["answers"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"step": 7}, "7"),
        ({"selected": ["L9H0"]}, "the model has 2 layers"),
        ({"selected": ["L0.resid_pre"]}, "select a head"),
        ({"selected": ["L1H0 -> L0H0.q"]}, "no edge"),
        ({"prompt": 64}, "numbered 0 to 63"),
        ({"own": "1>2 3>_"}, "tokens"),
        ({"own": "1>2 <b>x</b> 3>_"}, "write 4 links"),
        ({"pair": "negate"}, "has pairs of kind"),
        ({"replacement": "noise"}, "known are"),
        ({"head": "L5H5"}, "the model has 2 layers"),
        ({"colour": "red"}, "no 'colour'"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_changes_nothing(view, asked, words) -> None:
    view.ask(step=1, selected=["L1H0"], pair="swap-hop-1", replacement="pair")
    before, shown = view.chosen, json.dumps(view.shown)
    with pytest.raises(UserError, match=words) as refused:
        view.ask(**asked)
    assert "\n" not in str(refused.value)
    assert (view.chosen, json.dumps(view.shown)) == (before, shown)
    view.ask()
    assert json.dumps(view.shown) == shown


def test_a_typed_prompt_is_answered_and_patched_from_the_drawn_one(view) -> None:
    view.ask(step=1, selected=[], pair="swap-hop-1", prompt=0)
    drawn = view.shown["text"]
    links = drawn.split()
    view.ask(own=f"{' '.join(links[:-1])} {links[0].split('>')[0]}>_", selected=["L0H0"], replacement="pair")
    assert view.shown["panes"][0]["labels"][-1] == f"{links[0].split('>')[0]}>_"
    batch = view.prompts("swap-hop-1").clean
    changed = {symbol: after for (hop, symbol), (_, after) in answers(view).items() if hop == "hop 1"}
    assert changed[str(int(batch.targets[0, 0]))] == pytest.approx(1, abs=1e-3)
    view.ask(own=drawn, selected=[])
    assert right(view) == [str(int(symbol)) for symbol in batch.targets[0]]


def test_other_tasks_are_shown_as_far_as_they_go(untrained) -> None:
    markov = Session(untrained(MARKOV), prompts=8)
    with pytest.raises(UserError, match="4 tokens and the drawn one 12"):
        markov.ask(own="ABCA", selected=["L0H1"])
    table = markov.ask(own="ABCA", selected=["L0H1"], replacement="mean per position")["panes"][0]
    assert table["labels"] == list("ABCA")
    assert sum(row["best"] for row in table["answers"]) == pytest.approx(1)
    regression = Session(untrained(REGRESSION), prompts=8)
    shown = regression.ask(selected=["L1H0"], replacement="zero")
    assert [row["output"] for row in shown["panes"][0]["answers"]] == ["x 1", "x 2", "x 3", "x 4"]
    first = shown["panes"][0]["answers"]
    again = regression.ask(own=shown["text"])["panes"][0]["answers"]
    assert [row["changed"] for row in again] == pytest.approx([row["changed"] for row in first], abs=1e-2)
    assert again[-1]["best"] == pytest.approx(first[-1]["best"], abs=1e-2)


def test_models_without_heads_and_other_tasks_are_refused_in_one_line(untrained, run) -> None:
    with pytest.raises(UserError, match="has none"):
        Session(untrained(REGRESSION, {"kind": "lstm", "n_layers": 1, "d_model": 8}))
    with pytest.raises(UserError, match="another task"):
        Session(run, untrained(MARKOV))
