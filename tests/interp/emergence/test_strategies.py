"""Stages of strategies: onset, hand-over, transience; silent where none leads; and the table of a real run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from interp.cli.show import shortened
from interp.cli.strategies import distances, show_distances, steps_named, weights
from interp.config.model_transformer import TransformerConfig
from interp.emergence.strategies import sentences, stages
from interp.models.build import build_model
from interp.readouts.strategies import Strategies, candidates, require
from tasks import InContextRegression, MultiHopRetrieval, UserError
from tasks.markov import MarkovChains


def table(*weights: dict[str, float], distribution: str = "own", left: float = 0.02) -> pd.DataFrame:
    """One checkpoint every 100 steps; intervals of +-.05."""
    rows = []
    for i, at in enumerate(weights):
        fixed = {"distribution": distribution, "step": 100 * i, "n": 256}
        rows += [
            {
                **fixed,
                "metric": "weight",
                "strategy": name,
                "value": w,
                "ci_low": w - 0.05,
                "ci_high": w + 0.05,
            }
            for name, w in at.items()
        ]
        rows.append({**fixed, "metric": "unexplained", "strategy": "", "value": 0.02})
        rows.append({**fixed, "metric": "residual", "strategy": "", "value": left, "ci_high": left})
    return pd.DataFrame(rows)


def test_a_hand_over_is_dated_and_the_first_strategy_called_transient():
    early, middle, late = {"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 0.5}, {"a": 0.05, "b": 0.95}
    uneven = {"a": 0.8, "b": 0.2}
    found = stages(table(middle, early, early, middle, late, late))
    assert found["strategy"].tolist() == ["a", "b"]
    assert found["state"].tolist() == ["transient", "sustained"]
    assert found["step"].tolist() == [100, 400]
    assert found["ci_low"].tolist() == [0, 300]
    assert found["lost"].tolist()[0] == 300
    (sentence,) = sentences(table(middle, uneven, early, middle, late, late))
    assert (
        "Outputs follow a from step 100 (onset between 0 and 100) until step 300 (transient; mean weight there 0.85 "
        "against 0.15 of b)"
    ) in sentence
    assert (
        "then b from step 400 (onset between 300 and 400; weight 0.95 against 0.05 of a at the last step)"
        in sentence
    )
    assert "2.0% of the outputs remain unexplained" in sentence


def test_the_rival_of_a_past_stage_is_that_of_the_whole_stage():
    first, second, other = (
        {"a": 0.8, "b": 0.16, "c": 0.04},
        {"a": 0.9, "b": 0.02, "c": 0.08},
        {"a": 0.4, "b": 0.3, "c": 0.3},
    )
    (sentence,) = sentences(table(first, second, other))
    assert "(transient; mean weight there 0.85 against 0.09 of b)" in sentence


def test_a_single_checkpoint_is_no_onset():
    (sentence,) = sentences(table({"a": 0.05, "b": 0.95}))
    assert sentence.startswith("At step 0 outputs follow b (weight 0.95 against 0.05 of a); 2.0% of")
    assert sentences(table({"a": 0.5, "b": 0.5}))[0].startswith("No strategy leads at step 0 (")


def test_the_terminal_prints_every_checkpoint_and_never_leaves_out_one_that_is_named():
    courses = [{"a": 0.9, "b": 0.1}] * 17 + [{"a": 0.1, "b": 0.9}] * 23
    whole = table(*courses)
    shown = weights(whole)
    assert len(shown) == 40
    assert list(shown.columns) == ["step", "a", "b", "unexplained", "residual"]
    named = steps_named(whole)["own"]
    assert set(named) == {0, 1600, 1700}
    kept, cut = shortened(shown, 12, named)
    assert set(named) <= set(kept["step"])
    assert len(kept) + cut == 40
    assert len(kept) <= 12


def test_no_strategy_leads_where_none_has_more_than_half():
    assert stages(table({"a": 0.52, "b": 0.48})).empty
    assert sentences(table({"a": 0.52, "b": 0.48}))[0].startswith("No strategy leads")


def test_limits_are_shared_among_the_checkpoints():
    """A weight of .57 +- .05 leads where it is the only one, and not as one of forty."""
    near = {"a": 0.57, "b": 0.43}
    assert stages(table(near))["strategy"].tolist() == ["a"]
    assert stages(table(*[near] * 40)).empty


def test_without_a_leader_one_is_seen_in_few_runs():
    """Weights of one half with noise of a standard error of .025, 20 checkpoints a run."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(20):
        halves = [{"a": 0.5 + e, "b": 0.5 - e} for e in rng.normal(0, 0.05 / 1.96, 20)]
        found += not stages(table(*halves)).empty
    assert found <= 3, "5% of 20, and twice the standard deviation of that count"


def test_outputs_that_are_none_of_the_strategies_have_no_leader_whatever_the_weights():
    assert stages(table({"a": 0.9, "b": 0.1}, left=0.8)).empty
    assert sentences(table({"a": 0.9, "b": 0.1}, left=0.8))[0].startswith("No strategy leads")
    task = MarkovChains(length=32)
    batch = task.sample(0, "test", 0, 128)
    known = task.strategies(batch)
    stubborn = known["bigram"].flip(-1).roll(7, 1) * 3  # sure of itself, and none of them
    rows = pd.DataFrame(Strategies(prompts=128, draws=100)._rows(task, batch, known, stubborn, "own"))
    assert stages(rows.assign(step=0)).empty


def test_outputs_made_of_two_strategies_get_their_weights():
    task = MarkovChains(length=32)
    batch = task.sample(0, "test", 0, 128)
    known = task.strategies(batch)
    mixed = (0.7 * known["unigram"].exp() + 0.3 * known["bigram"].exp()).log()
    rows = pd.DataFrame(Strategies(prompts=128, draws=100)._rows(task, batch, known, mixed, "own"))
    weight = rows[rows["metric"] == "weight"].set_index("strategy")["value"]
    assert weight["unigram"] == pytest.approx(0.7, abs=1e-6)
    assert weight["bigram"] == pytest.approx(0.3, abs=1e-6)
    assert rows.loc[rows["metric"] == "unexplained", "value"].item() < 1e-9
    exact = pd.DataFrame(Strategies(prompts=128, draws=100)._rows(task, batch, known, known["bigram"], "own"))
    apart = exact[(exact["metric"] == "distance") & (exact["strategy"] == "bigram")]["value"]
    assert apart.abs().max() < 1e-9


def test_a_pool_has_two_distributions_and_the_simple_predictors_are_weighed_too():
    task = InContextRegression(d=2, n=4, noise=0.5, pool=4)
    known = candidates(task, task.sample(0, "test", 0, 8))
    assert list(known) == ["zero", "label mean", "one GD step", "ridge", "dMMSE"]
    model = build_model(TransformerConfig(n_layers=1, n_heads=1, d_model=4), task.interface, 0)
    with torch.no_grad():
        for weight in (model.W_U, model.b_U):
            weight.zero_()
    rows = Strategies(prompts=64, draws=100).measure(model, task)
    assert set(rows["distribution"]) == {"pool tasks", "fresh tasks"}
    weight = rows[(rows["metric"] == "weight") & (rows["distribution"] == "fresh tasks")]
    assert weight.set_index("strategy")["value"]["zero"] == pytest.approx(1)


def test_a_task_without_two_predictors_is_refused():

    with pytest.raises(UserError, match="fewer than two predictors"):
        require(MultiHopRetrieval())


def test_distances_stand_beside_the_loss_of_each_predictor(capsys):
    task = MarkovChains(length=12)
    model = build_model(TransformerConfig(n_layers=1, n_heads=1, d_model=4), task.interface, 0)
    analysis = Strategies(prompts=32, draws=100)
    levels = analysis.constants(model, task, None)
    table = pd.concat([analysis.measure(model, task).assign(step=0), levels], ignore_index=True)
    found = distances(table)
    assert found.columns.tolist() == ["step", "uniform", "unigram", "bigram", "trigram"]
    assert (found.drop(columns="step") > 0).all(axis=None)
    show_distances(table)
    said = capsys.readouterr()
    risks = levels.groupby("strategy")["value"].mean()
    assert f"bigram {risks['bigram']:.4g}" in said.out + said.err
