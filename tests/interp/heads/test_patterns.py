"""Scores of planted heads: pairing and similarity in regression, previous-token and induction heads in tokens."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr

from interp.config.model_transformer import TransformerConfig
from interp.heads.patterns import (
    RegressionHeads,
    TokenHeads,
    label_gain,
    repeat_scores,
    repeated_tokens,
    spearman,
)
from interp.models import build_model
from interp.models.constructed import constructed_induction, constructed_retrieval
from tasks import UserError
from tasks.regression import InContextRegression


def test_rank_correlation_is_scipys_with_ties() -> None:
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randint(0, 4, (6, 9), generator=gen).double(), torch.randn(6, 9, generator=gen).double()
    expected = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert spearman(a, b).tolist() == pytest.approx(expected)
    assert spearman(torch.ones(1, 4), torch.arange(4.0)[None]).tolist() == [0]


def test_induction_pair_is_found_and_decoys_score_low() -> None:
    net = constructed_induction(chains=6, distractors=10)
    table = TokenHeads().accumulator(net.model, net.task, None).table()
    place = {role: tuple(int(p) for p in head[1:].split("H")) for head, role in net.circuit.roles.items()}
    score = table.set_index(["metric", "layer", "head"])["value"]
    assert score["previous token"].idxmax() == place["previous token"]
    assert score["previous token"][place["previous token"]] == pytest.approx(1, abs=1e-6)
    assert score["prefix matching"].idxmax() == place["induction"]
    assert score["prefix matching"][place["induction"]] > 0.99
    assert score["copying"][place["induction"]] == pytest.approx(1, abs=1e-6)
    others = [v for key, v in score["prefix matching"].items() if key != place["induction"]]
    assert max(others) < 0.5


def test_repeats_are_scored_where_they_repeat() -> None:
    net = constructed_induction(chains=6)
    tokens = repeated_tokens(net.task, 5)
    half = tokens.shape[1] // 2
    assert torch.equal(tokens[:, :half], tokens[:, half:])
    pattern = torch.zeros(5, 1, 3, 2 * half, 2 * half)
    for row in range(half, 2 * half):
        pattern[:, 0, 0, row, row - half] = 1
        pattern[:, 0, 1, row, row - half + 1] = 1
    pattern[:, 0, 2] = torch.diag(torch.ones(2 * half - 1), -1)
    found = repeat_scores(pattern)
    assert found["duplicate token"][:, 0].mean(0).tolist() == [1, 0, 0]
    assert found["prefix matching"][0, 0, 1] == 1
    assert found["prefix matching"][0, 0, 0] == 0
    assert found["previous token"][0, 0, 2] == 1


def _regression_table(pattern_of):
    task = InContextRegression(d=3, n=8)
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0).eval()
    accumulator = RegressionHeads().accumulator(model, task, None)
    batch = task.sample(0, "x", 0, 200)
    accumulator.add(0, batch, torch.zeros(200, 1, 1), {"blocks.0.attn.hook_pattern": pattern_of(batch)})
    return accumulator.table().set_index(["metric", "head"])["value"]


def test_similarity_and_recency_of_planted_attention() -> None:
    def planted(batch):
        pattern = torch.zeros(200, 2, 17, 17)
        pattern[:, 0, -1, 0:16:2] = torch.einsum("bnd,bd->bn", batch.x[:, :8], batch.x[:, 8]).softmax(-1)
        pattern[:, 1, -1, 1:16:2] = torch.arange(8.0).softmax(0)
        return pattern

    value = _regression_table(planted)
    assert value["rank correlation, x", 0] == pytest.approx(1)
    assert value["recency, y", 1] == pytest.approx(1)
    assert abs(value["recency, x", 0]) < 0.1
    assert abs(value["rank correlation, y", 1]) < 0.1


def test_label_gain_is_the_derivative_of_a_norm_free_layer() -> None:
    task = InContextRegression(d=3, n=4, layout="merged")
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=12, layer_norm="none", mlp="none", biases=False)
    model = build_model(config, task.interface, 0).eval()
    batch = task.sample(0, "x", 0, 1)
    pattern = torch.zeros(1, 2, 5, 5)
    pattern[0, 1, -1, 2] = 1.0
    hook = [("blocks.0.attn.hook_pattern", lambda activation, hook: pattern)]
    more = batch.inputs.clone()
    more[0, 2, -1] += 1
    with torch.no_grad():
        change = model.run_with_hooks(more, fwd_hooks=hook) - model.run_with_hooks(
            batch.inputs, fwd_hooks=hook
        )
    assert float(change[0, -1, 0]) == pytest.approx(float(label_gain(model, task)[0, 1]), rel=1e-4)


def test_other_tasks_are_refused() -> None:
    net = constructed_retrieval(2)
    with pytest.raises(UserError, match="regression task"):
        RegressionHeads().accumulator(net.model, net.task, None)
    with pytest.raises(UserError, match="single tokens"):
        TokenHeads().accumulator(net.model, net.task, None)
