"""What tables conclude: every analysis of this package says something, and says another thing of another table.

Tables are made up by hand: what is planted is named, an untrained net is at chance, an open interval stays open.
"""

from __future__ import annotations

import pandas as pd
import pytest

from interp.analysis import registry
from interp.analysis.base import Analysis
from interp.analysis.conclusion import Sentence, interval, paragraph
from interp.analysis.registry import conclusion_of, entries, register
from interp.analysis.result import Result
from interp.analysis.shipped import DERIVED, SHIPPED

CI = ("value", "ci_low", "ci_high")


def stated(name: str, table: pd.DataFrame) -> str:
    return paragraph(conclusion_of(name, table))


def table(columns: str, *rows: tuple, **same: object) -> pd.DataFrame:
    """Rows of the last checkpoint; `columns` apart by spaces, `value` with its limits behind it."""
    names = [n for c in columns.split() for n in (CI if c == "value" else (c,))]
    shared = {"step": 8.0, "control": "none", "n": 100.0, "note": "", "unit": "share", **same}
    return pd.DataFrame([{**shared, **dict(zip(names, row, strict=True))} for row in rows])


@pytest.mark.parametrize("name", [each.name for each in SHIPPED])
def test_an_analysis_of_this_package_has_a_conclusion(name: str) -> None:
    found = next(each for each in entries() if each.name == name)
    assert found.conclude, f"{name}: name what its table says (`conclude`)"
    assert conclusion_of(name, pd.DataFrame({"step": [None]})) == ()


def test_results_made_of_several_analyses_have_one_too() -> None:
    empty = pd.DataFrame({"step": [float("nan")]})
    assert all(conclusion_of(name, empty) == () for name in DERIVED)


def test_accuracy_is_stated_against_chance() -> None:
    def scores(value: float, low: float, high: float) -> str:
        own = table("position value", ("hop 1", value, low, high), metric="accuracy")
        level = table(
            "position value", ("hop 1", 0.08, None, None), metric="accuracy", control="chance", step=None
        )
        return stated("scores", pd.concat([own, level]))

    assert "accuracy on 100 held-out prompts: hop 1 99.0% [97.0%, 100.0%] (chance 8%)" in scores(
        0.99, 0.97, 1.0
    )
    assert "at chance" in scores(0.09, 0.06, 0.12)
    assert "at chance" not in scores(0.12, 0.09, 0.16)


def test_a_loss_is_stated_against_the_minimum_and_chance() -> None:
    def scores(value: float, high: float) -> str:
        own = table("position value", ("x 1", value, 0.0, high), metric="loss")
        levels = [table("position value", ("x 1", v, None, None), metric="loss", control=c, step=None)
                  for c, v in (("chance", 1.0), ("bayes_risk", 0.25))]  # fmt: skip
        return stated("scores", pd.concat([own, *levels]))

    assert "loss is 0.5, 2.00 times the Bayes risk 0.25; significantly below chance (1)" in scores(0.5, 0.6)
    assert "not significantly below chance" in scores(0.9, 1.1)


def test_attention_is_stated_against_the_untrained_model() -> None:
    def heads(value: float, low: float, high: float) -> str:
        own = table("layer head value", (1, 2, value, low, high), metric="query -> link_1", unit="attention")
        before = table(
            "layer head value", (0, 0, 0.2, 0.1, 0.3), metric="query -> link_1", control="untrained"
        )
        return stated("heads", pd.concat([own, before.assign(step=None)]))

    assert "query -> link 1 by L1H2 (0.90) (untrained model: at most 0.20)" in heads(0.9, 0.85, 0.95)
    assert "no head attends with half of its mass or more" in heads(0.4, 0.35, 0.45)
    assert "no head attends to these positions significantly more" in heads(0.21, 0.15, 0.27)


def test_roles_name_needed_heads_and_report_that_there_are_none() -> None:
    rows = [(0, 1, "needed"), (0, 2, "none"), (1, 0, "idle")]
    assert "L0H1 needed" in stated("roles", table("layer head verdict", *rows))
    assert "1 of 3 heads neither" in stated("roles", table("layer head verdict", *rows))
    none = stated("roles", table("layer head verdict", (0, 0, "none"), (0, 1, "none")))
    assert none == "Step 8: none of 2 heads has a role or an ablation effect of its own."


def verdict(
    kind: str, low: float = 0.021, high: float = 0.032, free: tuple = (0.03, 0.02, 0.04)
) -> pd.DataFrame:
    row = table("value", (0.027, low, high), metric="filter verdict", site="blocks.5.hook_resid_post",
                verdict=kind, families="gd, gd++", algorithm="gd", member="gd(3)")  # fmt: skip
    return row.assign(free_misfit=free[0], free_low=free[1], free_high=free[2])


def test_the_filter_verdict_is_that_of_the_last_layer_with_what_speaks_against_it() -> None:
    found = stated("algorithms", verdict("not a filter"))
    assert found.startswith("Step 8, layer 5: no listed algorithm fits, and no function of the eigenvalues")
    assert "misfit beyond query noise 0.027 [0.021, 0.032]" in found
    assert "a free filter misfits as much, 0.03 [0.02, 0.04]" in found
    assert found.endswith("nearest: gradient descent, GD++.")
    assert "misfits less, 0.001" in stated("algorithms", verdict("unlisted filter", free=(0.001, 0.0, 0.002)))
    none = verdict("none").assign(note="no better than control: untrained")
    assert stated("algorithms", none) == (
        "Step 8, layer 5: no algorithm is identified (no better than control: untrained)."
    )
    rival = verdict("identified").assign(metric="filter misfit above the best", algorithm="newton", value=0.4)
    assert "the nearest rival, Newton's method, misfits by 0.4" in stated(
        "algorithms", pd.concat([verdict("identified"), rival])
    )


def circuit(value: float, low: float, random: float) -> str:
    edge = table("sender receiver value", ("embed", "L0H1.v", 0.5, None, None), metric="edge")
    own = table("value", (value, low, 1.0), metric="faithfulness")
    drawn = table(
        "value", (random, None, None), (random / 2, None, None), metric="faithfulness", control="random"
    )
    return stated("circuit", pd.concat([edge, own, drawn]))


def test_a_circuit_is_stated_with_what_random_ones_carry() -> None:
    assert "circuit of 1 edge through 0 heads: faithfulness 0.93 [0.92, 1.00]" in circuit(0.93, 0.92, 0.6)
    assert "; 2 matched random circuits 0.45 (max 0.60)." in circuit(0.93, 0.92, 0.6)
    close = "more faithful than all 2 matched random circuits, 0.45 (max 0.60); the margin over the best of them is not"
    assert close in circuit(0.93, 0.5, 0.6)
    assert "not more than the best of them" in circuit(0.5, 0.4, 0.6)
    nothing = table("value", (None, None, None), metric="edge", note="no behaviour to explain")
    assert stated("circuit", nothing) == "Step 8: no circuit: no behaviour to explain."


def test_sites_are_tested_together_and_a_larger_one_may_be_left_open() -> None:
    row = "layer head position value"
    sites = [(0, 0, "all", 0.6, 0.5, 0.7), (0, 1, "all", 0.9, -0.3, 2.1), (0, 2, "all", 0.1, 0.001, 0.199)]
    found = stated("patch", table(row, *sites, pair="swap"))
    assert "largest significant normalised effect" in found
    assert "1 of 3 sites have a significant one (Holm, 5%)" in found
    few = stated("patch", table(row, *sites[:1], (0, 1, "all", 0.3, -0.001, 0.6), pair="swap"))
    assert "largest normalised effect" in few
    assert interval(pd.Series({"value": -0.001, "ci_low": -0.004, "ci_high": 0.02})) == "0.00 [0.00, 0.02]"


def test_a_rise_between_two_checkpoints_is_said_to_be_no_more_than_that() -> None:
    rose = {"subject": "hop 1", "position": "hop 1", "metric": "accuracy", "step": 300.0, "before": 0.0,
            "ci_low": 0.0, "ci_high": 300.0, "half": None, "last": 300.0}  # fmt: skip
    assert "There are only two checkpoints, 0 and 300:" in stated("emergence", pd.DataFrame([rose]))
    assert "only two" not in stated("emergence", pd.DataFrame([{**rose, "half": 16.0}]))


def test_onsets_are_in_order_and_what_has_not_emerged_is_named() -> None:
    same = {"metric": "accuracy", "last": 40.0, "position": "hop"}
    rose = [{"subject": "hop 1", "step": 8.0, "ci_low": 4.0, "ci_high": 8.0},
            {"subject": "hop 2", "step": 20.0, "ci_low": 16.0, "ci_high": 20.0}]  # fmt: skip
    late = {"subject": "hop 3", "step": None, "ci_low": None, "ci_high": None}
    found = stated("emergence", pd.DataFrame([{**same, **row} for row in (*rose, late)]))
    assert "hop 1 at 8 [4, 8] < hop 2 at 20 [16, 20]" in found
    assert "Not emerged by step 40: hop 3." in found


@pytest.mark.parametrize(
    ("name", "columns", "planted", "chance", "said_of_chance"),
    [
        ("patch", "layer head position value", (0, 1, "all", 0.6, 0.5, 0.7), (0, 1, "all", 0.1, -0.2, 0.4), "no site"),
        ("ablation", "layer head position value", (0, 1, "x", 0.6, 0.5, 0.7), (0, 1, "x", 0.1, -0.1, 0.2), "no head's"),
        ("edges", "sender receiver value", ("e", "L0H0.q", 0.6, 0.5, 0.7), ("e", "L0H0.q", 0.1, -0.1, 0.2), "0 of 1"),
        ("output-attribution", "component position value", ("L0H0", "x", 2.0, 1.0, 3.0), ("L0H0", "x", 0.1, -1.0, 1.0),
         "no component"),
    ],
)  # fmt: skip
def test_what_intervals_leave_open_stays_open(name, columns, planted, chance, said_of_chance) -> None:
    def one(row: tuple) -> str:
        own = table(columns, row, metric="effect", direction="denoise", pair="swap")
        other = (
            own.assign(control="other targets", value=0.0) if name == "output-attribution" else own.iloc[:0]
        )
        return stated(name, pd.concat([own, other]))

    assert said_of_chance in one(chance)
    assert said_of_chance not in one(planted)


def test_ablated_heads_are_tested_together() -> None:
    borderline = [(0, head, "x", 0.1, 0.01, 0.19) for head in range(8)]
    rows = [(1, 0, "x", 0.5, 0.4, 0.6), *borderline]
    found = stated("ablation", table("layer head position value", *rows, metric="ablation effect"))
    assert "1 of 9 heads have a significant one at some output position (Holm, 5%)" in found
    assert "8 heads" not in found


def test_a_probe_is_compared_with_the_untrained_model() -> None:
    def probe(low: float) -> str:
        shared = {"metric": "accuracy", "site": "blocks.1.hook_resid_post", "readout": None, "target": None}
        own = table("position value", ("hop 1", 0.5, low, 0.6), **shared)
        before = table("position value", ("hop 1", 0.2, 0.1, 0.3), control="untrained", **shared)
        return stated("probe", pd.concat([own, before]))

    assert "held-out accuracy of a linear readout at L1: 0.5 [0.4, 0.6] (untrained model 0.2" in probe(0.4)
    assert "not distinguished from the untrained model's" in probe(0.25)


def test_rejected_chains_and_missing_limits_are_reported() -> None:
    llc = table("value", (None, None, None), metric="local learning coefficient", gamma=1.0, step_size=0.1,
                note="the chains have not mixed")  # fmt: skip
    assert stated("llc", llc) == "No learning coefficient at 1 of 1 checkpoints: the chains have not mixed."
    tail = table("value", (6.0, 5.0, float("inf")), metric="noise q99 / median")
    assert "99% quantile 6 [5, no upper limit at so few draws] times the median" in stated("noise", tail)


def test_a_plug_in_names_its_own_and_every_face_of_a_result_shows_it(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    kind = type("Mine", (Analysis,), {"name": "mine-to-conclude", "__module__": __name__})
    register(caption="Mine.", columns=(), conclude=lambda rows: [Sentence(f"<b>{len(rows)} rows</b>")])(kind)
    found = Result("mine-to-conclude", pd.DataFrame({"step": [8.0], "value": [1.0]}), "Mine.")
    assert [str(sentence) for sentence in found.conclusion] == ["<b>1 rows</b>"]
    assert repr(found).startswith("<b>1 rows</b>\nMine.")
    assert "&lt;b&gt;1 rows" in found._repr_html_()
