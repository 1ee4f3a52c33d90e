"""The single-index task: laws of tokens and labels, its levels, pairs, encodings and refusals."""

from __future__ import annotations

import math

import pytest
import torch

from tasks import UserError, build, settings_of
from tasks.single_index import SingleIndex, encoding


def test_tokens_and_fields_have_their_law():
    task = SingleIndex(d=50, length=3, link="z1*z2", teacher="random", teacher_seed=4)
    batch = task.sample(0, "test", 0, 20_000)
    assert batch.inputs.shape == (20_000, 3, 50)
    assert batch.targets.shape == (20_000, 1, 1)
    assert batch.inputs.var().item() == pytest.approx(1 / 50, rel=0.01)
    assert task.direction.norm().item() == pytest.approx(math.sqrt(50), rel=1e-6)
    torch.testing.assert_close(torch.cov(batch.fields.T), torch.eye(3), atol=0.05, rtol=0)
    torch.testing.assert_close(batch.targets[:, 0, 0], batch.fields[:, 0] * batch.fields[:, 1])


def test_same_arguments_same_prompts_and_settings_go_round():
    task = SingleIndex(d=8, length=2, link={"omega": 0.5, "a": 0.9})  # type: ignore[arg-type]
    again = build(settings_of(task))
    assert again == task
    one, two = task.sample(1, "train", 5, 3), again.sample(1, "train", 5, 3)
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, task.sample(1, "train", 6, 3).inputs)
    torch.testing.assert_close(one.targets.view(3, 2, 2).sum(-1), torch.ones(3, 2))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_answer_floor_and_chance_are_what_losses_show(noise):
    task = SingleIndex(d=20, length=2, link="sum(He2(z))/sqrt(2*L)", noise=noise)
    batch = task.sample(0, "test", 0, 40_000)
    reached = task.loss(task.answer(batch), batch)
    assert reached.mean().item() == pytest.approx(task.bayes_risk().value.item(), rel=0.03, abs=1e-9)
    blind = task.loss(torch.zeros(40_000, 2, 1), batch)
    assert blind.mean().item() == pytest.approx(task.chance().value.item(), rel=0.05)
    assert task.chance().value.item() == pytest.approx(1 + noise**2, rel=1e-5)


def test_chance_of_many_tokens_is_sampled_and_says_so():
    level = SingleIndex(d=20, length=9, link="sum(z)/sqrt(L)").chance()
    assert "Monte Carlo" in level.source
    assert level.se.item() > 0
    assert abs(level.value.item() - 1) < 5 * level.se.item()


def test_pairs_differ_in_the_last_token_only():
    pair = SingleIndex(d=6, length=3, link="z3 + z1", noise=0.1).pair("last-token", 0, "test", 0, 4)
    differs = (pair.clean.inputs != pair.corrupt.inputs).any(-1)
    assert torch.equal(differs, pair.changed)
    moved = (pair.corrupt.fields - pair.clean.fields)[:, 2]
    torch.testing.assert_close((pair.corrupt.targets - pair.clean.targets)[:, 0, 0], moved)
    with pytest.raises(UserError, match="last-token"):
        SingleIndex().pair("first", 0, "test", 0, 4)


def test_overlaps_and_encodings_on_the_sphere():
    task = SingleIndex(d=9, length=4)
    w = torch.zeros(2, 9)
    w[0, 0], w[1, 1] = 3.0, 3.0
    torch.testing.assert_close(task.overlaps(w), torch.tensor([1.0, 0.0]))
    table = encoding("opposite", 4, 9)
    torch.testing.assert_close(table @ w[1], torch.tensor([1.0, -1.0, 1.0, -1.0]))
    assert not encoding("none", 4, 9).any()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"link": "z7"}, "z1 ... z2"),
        ({"link": {"omega": 2.0}}, "omega"),
        ({"link": {"omega": 0.5}, "length": 3}, "length 2"),
        ({"d": 1}, "d:"),
        ({"noise": -1.0}, "noise"),
        ({"teacher": "sphere"}, "teacher"),
    ],
)
def test_bad_settings_are_one_line(settings, says):
    with pytest.raises(UserError, match=says) as error:
        build({"kind": "single-index", **settings})
    assert "\n" not in str(error.value)


def test_the_encoding_can_be_put_inside_the_target():
    settings = {"link": {"omega": 0.4, "inside": True}, "d": 8}
    task = SingleIndex.model_validate(settings)
    batch = task.sample(0, "x", 0, 16)
    t = 0.6 * batch.fields + 0.4 * torch.tensor([1.0, -1.0])
    expected = (t[:, :, None] * t[:, None, :]).softmax(-1).reshape(16, 1, 4)
    torch.testing.assert_close(batch.targets, expected, rtol=1e-4, atol=1e-5)
