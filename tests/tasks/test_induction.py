"""Repeated random tokens: prompts, losses by copy, pairs and relations against what they say."""

import math

import pytest
import torch

import tasks
from tasks.induction import Induction


@pytest.mark.parametrize("candidates", [0, 12])
def test_prompts_are_a_prefix_and_copies_of_a_word(candidates):
    task = Induction(
        vocabulary=50, length=5, copies=3, prefix=(1, 2), first=3, excluded=(7,), candidates=candidates
    )
    batch = task.sample(0, "test", 0, 200)
    assert (batch.inputs[:, :2] == torch.tensor([1, 2])).all()
    for c in range(3):
        assert torch.equal(batch.inputs[:, 2 + 5 * c : 7 + 5 * c], batch.word)
    assert all(len(set(row)) == 5 for row in batch.word.tolist())
    seen = set(batch.word.flatten().tolist())
    assert seen <= set(task.drawable.tolist())
    assert not seen & {0, 1, 2, 7}
    face = task.interface
    assert len(seen) == (candidates or 46)
    names = torch.tensor(face.outputs) if candidates else torch.arange(50)
    rows = torch.tensor(face.output_positions)
    assert torch.equal(names[batch.targets], batch.inputs[:, rows + 1])
    assert len(rows) == 3 * 4


def test_losses_by_copy_and_levels():
    task = Induction(vocabulary=30, length=6, candidates=0)
    batch = task.sample(0, "test", 0, 300)
    right = task.loss(task.answer(batch), batch)
    assert right[:, 1].max() < 1e-6
    assert right[:, 0].mean().item() == pytest.approx(math.log(30), abs=1e-5)
    assert task.score(task.answer(batch), batch)[:, 1].max() == 0
    seen = torch.zeros(300, 12, 30).scatter(2, batch.inputs[..., None], -1e9).cumsum(1)  # never a token again
    assert torch.allclose(task.loss(seen, batch).mean(0)[0], task.bayes_risk().value[0], atol=1e-5)
    assert task.bayes_risk().value[1] == 0
    noise = torch.randn(300, 12, 30, generator=torch.Generator().manual_seed(0))
    assert task.score(noise, batch).mean().item() == pytest.approx(task.chance().value[0].item(), abs=0.02)


def test_relations_name_earlier_copies_and_what_followed_them():
    task = Induction(vocabulary=40, length=4, copies=3, prefix=(0,), first=1)
    batch = task.sample(0, "test", 0, 3)
    relations = {r.name: r for r in task.relations(batch)}
    tokens = batch.inputs[0].tolist()
    assert relations["previous token"].pairs(0) == [(p, p - 1) for p in range(1, 13)]
    twins = {(p, s) for p in range(1, 13) for s in range(1, p) if tokens[p] == tokens[s]}
    assert set(relations["duplicate token"].pairs(0)) == twins
    assert set(relations["induction"].pairs(0)) == {(p, s + 1) for p, s in twins}


@pytest.mark.parametrize("candidates", [0, 15])
def test_pairs_change_what_they_say(candidates):
    task = Induction(vocabulary=40, length=5, copies=2, prefix=(3,), first=4, candidates=candidates)
    names = task.drawable if candidates else torch.arange(40)
    pair = task.pair("rebind", 0, "test", 0, 100)
    assert (pair.changed.sum(1) == 1).all()
    assert pair.changed[:, 2:6].sum() == 100
    at = pair.changed.int().argmax(1)
    fresh = pair.corrupt.inputs[torch.arange(100), at]
    assert not (fresh[:, None] == pair.clean.word).any()
    row = 4 + (at - 2)  # of the second copy: whose next token followed it in the first
    assert torch.equal(names[pair.corrupt.targets[torch.arange(100), row]], fresh)
    same = pair.clean.targets != pair.corrupt.targets
    assert (same.sum(1) == 2).all()
    other = task.pair("other-copies", 0, "test", 0, 100)
    assert not other.changed[:, 6:].any()
    assert other.changed[:, 1:6].float().mean() > 0.7
    assert torch.equal(other.clean.targets[:, 4:], other.corrupt.targets[:, 4:])
    with pytest.raises(tasks.UserError, match="other-copies"):
        task.pair("nonsense", 0, "test", 0, 4)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"vocabulary": 20}, "20 tokens may be drawn, and a word needs 26"),
        ({"vocabulary": 50, "candidates": 10}, "fewer than the 26"),
        ({"vocabulary": 50, "prefix": (50,)}, "below vocabulary=50"),
        ({"vocabulary": 50, "last": 51}, "beyond the vocabulary"),
    ],
)
def test_settings_that_cannot_be(settings, complaint):
    with pytest.raises(tasks.UserError, match=complaint):
        tasks.build({"kind": "induction", **settings})


def test_words_with_repeats():
    task = Induction(vocabulary=5, length=25, distinct=False, candidates=0)
    batch = task.sample(0, "test", 0, 50)
    assert all(len(set(row)) <= 5 for row in batch.word.tolist())
    assert task.bayes_risk().value[0].item() == pytest.approx(math.log(5))
