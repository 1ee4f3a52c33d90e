"""The first words of a page: what answers each hop, and what it costs to take that away."""

from __future__ import annotations

import pandas as pd
import pytest

from interp.causal.agreement import agreement
from interp.causal.circuits import Circuit
from interp.develop.mechanism import mechanism
from interp.develop.roles import roles
from interp.models import build_model
from interp.models.transformer_config import TransformerConfig
from interp.models.wired import wired_retrieval
from interp.report.words import agreement_said, hops_answered
from tasks.retrieval import MultiHopRetrieval


def rows(hop: str, named: str, direct: float, ahead: float) -> list[dict]:
    """One hop's rows as `mechanism` writes them, at one checkpoint."""
    shared = {"step": 8, "position": hop, "note": ""}
    return [
        {**shared, "metric": "direct", "value": direct, "heads": "L0H1"},
        {**shared, "metric": "ahead", "value": ahead, "heads": "L1H2 L1H3"},
        {**shared, "metric": "circuit", "value": 1.0, "heads": None, "note": named},
    ]


def test_the_cost_is_that_of_the_heads_that_are_named() -> None:
    table = pd.DataFrame(rows("hop 1", "stacked", 0.9, 0.1) + rows("hop 2", "look-ahead", 0.2, 0.7))
    said = hops_answered(table)
    assert "Hop 1 is answered by heads that look from the query straight at the hop's own link (L0H1)" in said
    assert "hop 2 is answered by links that read their successors in an earlier layer (L1H2, L1H3)" in said
    assert said.endswith("Ablating them costs their hop 70% to 90% of what the loss of all heads would.")


@pytest.mark.parametrize(("direct", "ahead"), [(0.25, 0.8), (0.8, 0.25)])
def test_a_hop_answered_both_ways_tells_the_cost_of_either_team(direct: float, ahead: float) -> None:
    said = hops_answered(pd.DataFrame(rows("hop 2", "both", direct, ahead)))
    assert "both by heads on its own link and by links read ahead (L0H1, L1H2, L1H3)" in said
    assert said.endswith(
        "Ablating them, each team by itself, costs their hop 25% to 80% of what the loss of all heads would."
    )


@pytest.mark.parametrize("named", ["other", "not solved"])
def test_where_no_heads_are_named_nothing_is_said_to_cost_anything(named: str) -> None:
    assert "Ablating" not in hops_answered(pd.DataFrame(rows("hop 1", named, 0.9, 0.9)))


def test_only_the_last_checkpoint_speaks() -> None:
    early = pd.DataFrame(rows("hop 1", "not solved", 0.0, 0.0)).assign(step=4)
    said = hops_answered(pd.concat([early, pd.DataFrame(rows("hop 1", "stacked", 0.5, 0.0))]))
    assert said.endswith("costs their hop 50% of what the loss of all heads would.")


def test_a_wired_chain_is_told_with_its_heads_and_their_whole_effect() -> None:
    net = wired_retrieval(2, "chain", decoys=6, seed=2)
    said = hops_answered(mechanism(net.model, net.task, prompts=64).assign(step=0))
    assert said.startswith("Hop 1 and hop 2 are answered by heads that look from the query straight")
    assert all(head in said for head in net.circuit.heads)
    assert not any(head in said for head in net.circuit.decoys)
    low = int(said.split("costs their hop ")[1].split("%")[0])
    assert low >= 90, "there is no other way to an answer in this net"


def test_an_untrained_net_is_said_to_answer_nothing() -> None:
    task = MultiHopRetrieval(hops=2)
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=16, mask="full", positions="none", mlp="none")
    table = mechanism(build_model(config, task.interface, 0).eval(), task, prompts=64).assign(step=0)
    assert hops_answered(table) == "Hop 1 and hop 2 are answered not at all."


def test_agreement_counts_heads_and_names_those_that_say_otherwise() -> None:
    net = wired_retrieval(2, "chain", decoys=6, seed=2, dtype="float32")
    held = roles(net.model, net.task, prompts=64)
    planted = tuple((head, "output") for head in sorted(net.circuit.heads))
    whole = agreement(Circuit(planted, (1.0,) * len(planted)), held).assign(step=4)
    total = len(whole)
    assert agreement_said(whole).startswith(f"Circuit and attention agree on {total} of {total} heads (")
    assert agreement_said(whole).endswith("by chance).")
    less = agreement(Circuit(planted[:1], (1.0,)), held).assign(step=8)
    said = agreement_said(pd.concat([whole, less]))
    assert f"agree on {total - 1} of {total} heads" in said
    assert f"not on {planted[1][0]} (a role, but not in the circuit)" in said
    assert agreement_said(None) == ""
