"""Pairs of heads: cancelling and redundant ones are found, planted ones and an untrained net have none."""

from __future__ import annotations

import torch

from interp.calibration.illusion_nets import backup_heads, cancelling_heads, needed_heads
from interp.config.model_transformer import TransformerConfig
from interp.heads.cancel import cancels, stands_in
from interp.heads.roles import roles
from interp.models import build_model
from probes.stats import Interval
from tasks.retrieval import MultiHopRetrieval

torch.set_num_threads(1)


def effect(value: float) -> Interval:
    return Interval(value, value - 0.02, value + 0.02, 64, "")


def test_the_rules():
    assert cancels(effect(0.8), effect(0.7), effect(0.05))
    assert not cancels(effect(0.8), effect(0.7), effect(0.8)), "two steps of one chain"
    assert not cancels(effect(3.0), effect(3.0), effect(1.0)), "worse alone than together, but needed"
    assert not cancels(effect(0.01), effect(0.8), effect(0.01))
    assert stands_in(effect(0.01), effect(0.02), effect(0.6))
    assert not stands_in(effect(0.04), effect(0.04), effect(0.08)), "two small effects that add up"
    assert not stands_in(effect(0.3), effect(0.01), effect(0.6))


def test_pairs_name_each_other_and_planted_heads_have_no_partner():
    for build in (backup_heads, cancelling_heads):
        net = build(1)
        table = roles(net.model, net.task, prompts=96)
        table.index = [f"L{row.layer}H{row.head}" for row in table.itertuples()]
        assert (table.loc[list(net.heads), "verdict"] == net.verdict).all()
        if net.verdict == "cancels":
            assert list(table.loc[list(net.heads), "partner"]) == list(net.heads)[::-1]
        assert (table.drop(index=list(net.heads))["partner"] == "").all()
    net = needed_heads(2)
    assert (roles(net.model, net.task, prompts=96)["partner"] == "").all()


def test_an_untrained_net_has_no_pairs():
    task = MultiHopRetrieval(hops=2)
    config = TransformerConfig(n_layers=2, n_heads=4, d_model=32, mask="full", positions="none", mlp="none")
    for seed in range(2):
        table = roles(build_model(config, task.interface, seed).eval(), task, prompts=96, seed=seed)
        assert not table["verdict"].isin(("cancels", "redundant")).any()
