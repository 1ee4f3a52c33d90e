"""Grafts bring back what a missing head did and nothing else; reach tells what could be known from what is."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.heads.transplant import role_teams, transplant, transplant_table
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from interp.readouts.reach import first_readable, reach
from interp.run import Run
from tasks import UserError
from tasks.retrieval import MultiHopRetrieval


def _seats(net, role: str) -> list[tuple[int, int]]:
    return [tuple(int(p) for p in h[1:].split("H")) for h, r in net.circuit.roles.items() if r == role]


def _right(model, task) -> list[float]:
    batch = task.sample(0, "graft test", 0, 64)
    with torch.no_grad():
        return task.score(model(batch.inputs), batch).mean(0).tolist()


def test_a_grafted_head_brings_back_its_hop_and_no_other() -> None:
    net = constructed_retrieval(3, "chain")
    host = copy.deepcopy(net.model)
    (second,), (third,) = _seats(net, "query -> link_2"), _seats(net, "query -> link_3")
    with torch.no_grad():
        for layer, head in (second, third):
            host.typed_blocks()[layer].attn.W_O[head].zero_()
    assert _right(host, net.task)[1] < 0.5
    transplant(host, net.model, [third])
    assert _right(host, net.task)[2] < 0.5, "hop 3 needs hop 2"
    transplant(host, net.model, [second])
    assert _right(host, net.task) == [1.0, 1.0, 1.0]


def test_biases_come_along() -> None:
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=8, biases=True, mask="full", positions="none")
    task = MultiHopRetrieval(hops=1, chains=2, vocab=8)
    host, source_model = (build_model(config, task.interface, seed) for seed in (0, 1))
    with torch.no_grad():
        source_model.typed_blocks()[0].attn.b_Q[1] = 3.0
    transplant(host, source_model, [(0, 1)])
    attn = host.typed_blocks()[0].attn
    assert attn.b_Q.tolist() == [[0.0] * 4, [3.0] * 4]
    assert torch.equal(attn.W_O[1], source_model.typed_blocks()[0].attn.W_O[1])
    assert not torch.equal(attn.W_O[0], source_model.typed_blocks()[0].attn.W_O[0])


def test_models_that_differ_and_heads_that_are_not_there_are_refused() -> None:
    two, three = constructed_retrieval(2), constructed_retrieval(3)
    with pytest.raises(UserError, match="settings differ"):
        transplant(two.model, three.model, [(0, 0)])
    with pytest.raises(UserError, match="no head L7H0"):
        transplant(two.model, two.model, [(7, 0)])


def test_teams_are_the_held_roles_and_every_head() -> None:
    net = constructed_retrieval(3, "merge", distractors=4)
    teams = role_teams(net.model, net.task, prompts=64)
    assert set(_seats(net, "link_k -> link_k+1")) <= set(teams["link_k -> link_k+1"])
    assert len(teams["every head"]) == 2 * net.model.cfg.n_heads


def test_grafts_over_a_run(tmp_path) -> None:
    shape = {"task.hops": 1, "task.chains": 2, "task.vocab": 8, "model.n_layers": 1, "model.n_heads": 2,
             "model.d_model": 16, "train.batch": 8, "train.eval_batch": 8, "train.schedule.every": 2}  # fmt: skip
    run = Run.train("retrieval", tmp_path / "run", steps=6, changes=shape)
    teams = {"nobody": [], "every head": [(0, 0), (0, 1)]}
    table = transplant_table(run, "all", teams=teams, prompts=32)
    assert set(table["step"]) == {step for step in run.steps if step < 6}
    assert set(table["control"]) == {"none", "untrained"}
    assert (table.loc[table["team"] == "nobody", "value"] == 0).all()
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()
    with pytest.raises(UserError, match="before step 0"):
        transplant_table(run, [0], source_model=0, teams=teams)


def _probe(first: dict[str, int]) -> pd.DataFrame:
    """Accuracy 1 from a depth on, for each hop; 0.1 before."""
    sites = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(3))]
    rows = [
        {"step": 10, "site": site, "position": read, "value": 1.0 if depth >= at else 0.1}
        for read, at in first.items()
        for depth, site in enumerate(sites)
    ]
    return pd.DataFrame(rows).assign(metric="accuracy", control="none")


def test_reach_tells_early_from_late() -> None:
    task = MultiHopRetrieval(hops=3)
    lawful = reach(_probe({"hop 1": 1, "hop 2": 2, "hop 3": 3}), task)
    assert not lawful["too_early"].any()
    said = first_readable(lawful).set_index("position")
    assert said["earliest"].tolist() == [1, 2, 2]
    assert said["late"].tolist() == [0, 0, 1]
    early = reach(_probe({"hop 1": 1, "hop 2": 1, "hop 3": 9}), task)
    assert early.loc[early["too_early"], ["position", "depth"]].to_numpy().tolist() == [["hop 2", 1]]
    assert first_readable(early).set_index("position")["first"].isna().tolist() == [False, False, True]


def test_reach_needs_discrete_symbols_and_a_read_a_hop() -> None:
    for task in (MultiHopRetrieval(symbols="gaussian"), MultiHopRetrieval(target="mix")):
        with pytest.raises(UserError, match="reach"):
            reach(_probe({"hop 1": 1}), task)
