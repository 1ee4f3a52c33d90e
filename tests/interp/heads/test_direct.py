"""Direct attribution: sums are exact, the planted component is found, an untrained model's components say nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import interp
from interp.config.model_transformer import TransformerConfig
from interp.heads.direct import output_attribution, score_attribution
from interp.models.build import build_model
from interp.models.constructed import constructed_induction, constructed_retrieval
from tasks import InContextRegression, UserError


@pytest.fixture(scope="module")
def planted():
    return constructed_retrieval(2, variant="chain", dtype="float32")


def test_the_planted_head_writes_the_answer_and_no_untrained_one_does(planted):
    net, batch = planted, planted.task.sample(0, "test", 0, 64)
    role = {name: head for head, name in net.circuit.roles.items()}
    table = output_attribution(net.model, net.task, batch, "hop 2")
    own = table[table["control"] == "none"].set_index("component")["value"]
    other = table[table["control"] == "other targets"].set_index("component")["value"]
    assert own.idxmax() == role["query -> link_2"]
    assert own.max() > 5 * other.abs().max()
    outputs = net.model(batch.inputs)[:, -1, net.task.vocab :].detach()  # those of the second of two hops
    right = outputs.gather(1, batch.targets[:, 1:2])[:, 0] - outputs.mean(1)
    assert own.sum() == pytest.approx(float(right.mean()), rel=1e-4)
    below = table[table["control"] == "none"].set_index("component").loc[role["query -> link_2"]]
    assert 0 < below["ci_low"] <= below["value"] <= below["ci_high"]
    fresh = build_model(TransformerConfig(n_layers=2, n_heads=2, d_model=16), net.task.interface, 0).eval()
    found = output_attribution(fresh, net.task, batch, "hop 2").pivot(
        index="component", columns="control", values="value"
    )
    assert found["none"].max() < own.max() / 20


def test_components_of_a_perfect_real_valued_answer_sum_to_one():
    task = InContextRegression(d=2, n=4)
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0).eval()
    batch = task.sample(0, "test", 0, 16)
    place = list(task.interface.output_positions)
    mine = dataclasses.replace(batch, targets=model(batch.inputs)[:, place, 0].detach())
    table = output_attribution(model, task, mine, task.output_names[-1])
    assert table[table["control"] == "none"]["value"].sum() == pytest.approx(1, abs=1e-4)
    assert abs(table[table["control"] == "other targets"]["value"].sum() - 1) > 0.01


def test_the_key_is_the_planted_one_and_stands_out_from_random_columns(planted):
    net, batch = planted, planted.task.sample(0, "test", 0, 16)
    role = {name: head for head, name in net.circuit.roles.items()}
    table = score_attribution(net.model, net.task, batch, role["query -> link_2"], "query -> link_2", 0)
    own, drawn = (table[table["control"] == control] for control in ("none", "random column"))
    best = own.nlargest(1, "value").iloc[0]
    assert (best["query"], best["key"]) == (role["query -> link_1"], "embed")
    assert own["value"].sum() > 2 * drawn["value"].sum()


def test_pairs_that_do_not_count_are_left_out():
    net = constructed_induction()
    batch = net.task.sample(0, "test", 0, 8)
    for relation in net.task.relations(batch):
        table = score_attribution(net.model, net.task, batch, "L0H0", relation.name, 0)
        count = relation.dest.numel() if relation.valid is None else int(relation.valid.sum())
        assert set(table["n"]) == {count}


def test_methods_of_a_run_and_what_they_refuse(tmp_path):
    settings = {
        "task": {"kind": "retrieval", "hops": 2, "vocab": 16},
        "model": {"kind": "transformer", "n_layers": 1, "n_heads": 2, "d_model": 8},
        "train": {"steps": 1, "batch": 4, "lr": 1e-3, "eval_batch": 8},
    }
    run = interp.Run.train(settings, tmp_path / "run")
    found = run.output_attribution(prompts=8).table
    assert set(found["position"]) == {"hop 2"}
    assert {"embed", "L0H0", "L0H1", "bias"} <= set(found["component"])
    relation = run.task.relations(run.task.sample(0, "x", 0, 2))[0].name
    assert {"query", "key", "value", "control"} <= set(run.qk_attribution("L0H1", relation, prompts=4).table)
    named = run.output_attribution("hop 2", prompts=8).table
    assert named["value"].tolist() == found["value"].tolist()
    assert found["step"].unique().tolist() == [1]
    assert found["ci_low"].isna().all()  # no interval from fewer than 32 prompts
    enough = run.measure("output-attribution", steps="all").table
    assert sorted(enough["step"].unique()) == [0, 1]
    assert (enough["ci_low"] <= enough["value"]).all()
    with pytest.raises(UserError, match="hop 9"):
        run.output_attribution("hop 9")
    with pytest.raises(UserError, match="no such"):
        run.qk_attribution("L0H0", "no such")
    with pytest.raises(UserError, match="must be 2 or more"):
        run.output_attribution(prompts=1)
    with pytest.raises(UserError, match="kind 'transformer'"):
        output_attribution(torch.nn.Linear(1, 1), run.task, run.task.sample(0, "x", 0, 2), "hop 1")
