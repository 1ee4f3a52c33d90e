"""k-hop induction: targets against a search in strings, relations, pairs, bounds, and models made elsewhere."""

import itertools
import json
import os
from pathlib import Path

import pytest
import torch

import tasks
from tasks.khop import KHop
from tasks.theory.closure import doubling_bound, layers_needed

DATA = os.environ.get("ALGOSCOPE_DATA", "")
MODELS = Path(DATA) / "hop_induction"


def direct(word: str, hops: int) -> list[int]:
    """find^hops of every place of a word by searching strings; -1 where there is none."""
    found = []
    for i in range(len(word)):
        at = i
        for _ in range(hops):
            at = word.rfind(word[at], 0, at) + 1 if at >= 0 and word.rfind(word[at], 0, at) >= 0 else -1
        found.append(at)
    return found


def test_targets_and_finds_are_those_of_a_search_in_strings():
    task = KHop(letters=4, hops=5, length=40)
    batch = task.sample(0, "test", 0, 40)
    names = task.labels(batch)
    assert batch.asked.unique().tolist() == list(range(6))
    for b in range(40):
        word, asked = "".join(names[b][1:]), int(batch.asked[b])
        assert names[b][0] == f"hop {asked}"
        assert int(batch.inputs[b, 0]) == asked
        assert all(x != y for x, y in itertools.pairwise(word))
        for k in range(6):
            places = direct(word, k)
            assert batch.finds[b, k].tolist() == [-1, *(p + 1 if p >= 0 else -1 for p in places)]
        wanted = ["_", *("~" if p < 0 else word[p] for p in direct(word, asked))]
        ids = {**{c: 6 + i for i, c in enumerate("abcd")}, "~": 10, "_": 11}
        assert batch.targets[b].tolist() == [ids[c] for c in wanted]
    assert task.loss(task.answer(batch), batch).max() == 0
    assert task.score(task.answer(batch), batch).max() == 0


def test_never_more_places_without_an_answer_than_promised():
    task = KHop(letters=3, hops=8, length=18)
    batch = task.sample(0, "test", 0, 2000)
    for k in range(9):
        missing = (batch.finds[:, k, 1:] < 0).sum(1)
        assert missing.max() <= task.most_undefined(k) < 18
    with pytest.raises(tasks.UserError, match="length=18 at least"):
        tasks.build({"kind": "khop", "letters": 3, "hops": 8, "length": 17})


def test_chance_and_hop_counts_asked():
    task = KHop(letters=5, hops=3, length=60)
    batch = task.sample(0, "test", 0, 2000)
    guess = torch.randint(4, 9, batch.targets.shape, generator=torch.Generator().manual_seed(0))
    found = task.score(torch.nn.functional.one_hot(guess, 11).float(), batch)
    assert found.mean().item() == pytest.approx(task.chance().value.item(), abs=0.005)
    assert list(task.distributions) == ["hop 0", "hop 1", "hop 2", "hop 3"]
    two = task.distributions["hop 2"]
    assert two.output_names == ("hop 2",)
    same = two.sample(0, "test", 0, 2000)
    assert (same.asked == 2).all()
    assert torch.equal(same.inputs[:, 1:], batch.inputs[:, 1:])
    assert two.interface == task.interface
    with pytest.raises(tasks.UserError, match="not among"):
        task.at(4)
    with pytest.raises(tasks.UserError, match="more than hops"):
        tasks.build({"kind": "khop", "hops": 3, "asked": 4})


def test_relations_lead_to_find_k():
    task = KHop(hops=3, length=30)
    batch = task.sample(0, "test", 0, 5)
    relations = {r.name: r for r in task.relations(batch)}
    assert list(relations) == ["previous token", "hop token", "find^1", "find^2", "find^3"]
    assert relations["hop token"].pairs(0) == [(p, 0) for p in range(1, 31)]
    for b, row in enumerate(task.labels(batch)):
        for k in (1, 2, 3):
            places = direct("".join(row[1:]), k)
            wanted = [(i + 1, p + 1) for i, p in enumerate(places) if p >= 0]
            assert relations[f"find^{k}"].pairs(b) == wanted


def test_pairs_change_what_they_say():
    task = KHop(hops=4, length=40)
    pair = task.pair("hop-token", 0, "test", 0, 300)
    assert (pair.changed.sum(1) == 1).all()
    assert pair.changed[:, 0].all()
    half = task.pair("first-half", 0, "test", 0, 300)
    assert not half.changed[:, 21:].any()
    assert not half.changed[:, 0].any()
    assert half.changed[:, 1:21].float().mean() > 0.6
    bound = task.pair("rebind", 0, "test", 0, 300)
    assert (bound.changed.sum(1) <= 1).all()
    way = bound.clean.finds[:, :, -1]
    for b in range(300):
        asked = int(bound.clean.asked[b])
        open_ = [int(way[b, k]) for k in range(1, asked + 1) if way[b, k] >= 0]
        at = bound.changed[b].nonzero().flatten().tolist()
        assert (at and at[0] in open_) or (not at and not open_)
    for found in (half, bound):
        letters = found.corrupt.inputs[:, 1:]
        assert (letters[:, 1:] != letters[:, :-1]).all()
        assert torch.equal(found.corrupt.finds, task._assemble(letters - 5, found.corrupt.asked).finds)
    last = (bound.clean.targets[:, -1] != bound.corrupt.targets[:, -1]) & bound.changed.any(1)
    assert last.sum() / bound.changed.any(1).sum() > 0.5


def test_depth_bounds():
    assert [doubling_bound(k) for k in (0, 1, 2, 3, 4, 7, 8, 16)] == [1, 2, 3, 3, 4, 4, 5, 6]
    for hops in range(1, 14):
        in_order = layers_needed(hops, "flat", causal=True)
        assert doubling_bound(hops) == in_order, (
            "the closure of flat, causal prompts whose links stand in order"
        )


def test_settings_that_cannot_be():
    with pytest.raises(tasks.UserError, match="too small: these prompts use 23 ids"):
        tasks.build({"kind": "khop", "vocabulary": 22})
    assert KHop(vocabulary=30).interface.d_vocab == KHop(vocabulary=30).interface.d_out == 30


@pytest.mark.skipif(
    not MODELS.is_dir(), reason="k-hop models made elsewhere: set ALGOSCOPE_DATA to their folder"
)
def test_published_models_answer_these_prompts_as_they_were_measured_to():
    """Mean error over prompts within the two measurements' joint error, at hops where the model is neither 0 nor 1."""
    transformers = pytest.importorskip("transformers")
    state = torch.load(MODELS / "width4-depth2" / "model_100000.pt", weights_only=True, map_location="cpu")
    config = transformers.GPT2Config(vocab_size=30, n_positions=100, n_embd=128, n_layer=2, n_head=4)
    model = transformers.GPT2Model(config).eval()
    model.load_state_dict(
        {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}, strict=False
    )
    known = json.loads((MODELS / "reference.json").read_text())["errors"]
    task = KHop(vocabulary=30)
    for hop in (1, 2, 3, 6):
        row = next(r for r in known if (r["depth"], r["hop"]) == (2, hop))
        batch = task.at(hop).sample(0, "test", 0, 100)
        assert task.exists(batch).sum() == row["targets"] / 5, (
            "as many answers exist a prompt as were counted there"
        )
        with torch.no_grad():
            wrong = task.score(model(batch.inputs).last_hidden_state, batch)[:, 0]
        low, high = row["ci_95_prompts"]
        spread = (wrong.var().item() / 100 + ((high - low) / 3.92) ** 2) ** 0.5
        assert abs(wrong.mean().item() - row["error_eval_mode"]) < 4 * spread
