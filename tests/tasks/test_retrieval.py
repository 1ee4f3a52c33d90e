"""Multi-hop retrieval: prompts that can be followed by hand, exact answers, chance levels and pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import MultiHopRetrieval, UserError, build
from tasks.retrieval_draws import RetrievalDraws

SHAPES = st.builds(
    MultiHopRetrieval,
    hops=st.integers(1, 4),
    chains=st.integers(1, 4),
    symbols=st.sampled_from(["discrete", "gaussian"]),
    layout=st.sampled_from(["pair", "flat"]),
    order=st.sampled_from(["random", "query_first", "value_first"]),
    target=st.sampled_from(["ic", "final", "mix"]),
    dangling=st.integers(0, 2),
    distractors=st.integers(0, 2),
    width=st.just(3),
    vocab=st.sampled_from([40, 50]),
)


def worked_example(layout):
    """Chains 7>3>9>1 (queried) and 4>8>2>6 in the order (9,1) (4,8) (3,9) (2,6) (7,3) (8,2)."""
    task = MultiHopRetrieval(hops=3, chains=2, vocab=10, layout=layout)
    draws = RetrievalDraws(
        chains=torch.tensor([[[7, 3, 9, 1], [4, 8, 2, 6]]]),
        slots=torch.tensor([[[4, 2, 0], [1, 5, 3]]]),
        stray=torch.zeros(1, 0, 2, dtype=torch.long),
        stray_slots=torch.zeros(1, 0, dtype=torch.long),
        table=torch.tensor([[7, 3, 9, 1, 4, 8, 2, 6]]),
        asked=torch.tensor([2]),
    )
    return task, task._assemble(draws)


def test_worked_example_in_pairs():
    task, batch = worked_example("pair")
    assert batch.inputs[0].tolist() == [[9, 1], [4, 8], [3, 9], [2, 6], [7, 3], [8, 2], [7, 10]]
    assert batch.src[0].tolist() == [4, 2, 0]
    assert batch.targets[0].tolist() == [3, 9, 1]
    assert batch.chain[0].tolist() == [7, 3, 9, 1]
    assert task.labels(batch)[0] == ["9>1", "4>8", "3>9", "2>6", "7>3", "8>2", "7>_"]


def test_worked_example_flat():
    task, batch = worked_example("flat")
    assert task.labels(batch)[0] == ["9", "1", "4", "8", "3", "9", "2", "6", "7", "3", "8", "2", "7"]
    assert batch.inputs[0].tolist() == [9, 1, 4, 8, 3, 9, 2, 6, 7, 3, 8, 2, 7]
    assert batch.src[0].tolist() == [9, 5, 1]


def tokens_as_names(task, batch):
    """(keys, values, query) of each prompt read off the inputs alone; vectors are named by the table row they equal."""
    links, width = task.n_links, task.width
    body = batch.inputs[:, : links * (1 if task.layout == "pair" else 2)]
    query = batch.inputs[:, -1]
    if task.symbols == "discrete":
        body = body.reshape(len(batch), links, 2)
        return body[..., 0], body[..., 1], query[..., 0] if task.layout == "pair" else query
    vectors = body[..., : width * (2 if task.layout == "pair" else 1)].reshape(len(batch), 2 * links, width)
    named = torch.cdist(
        torch.cat([vectors, query[:, None, :width]], 1),
        batch.table,
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    assert (named.min(-1).values == 0).all()
    names = named.argmin(-1)
    return names[:, 0:-1:2], names[:, 1::2], names[:, -1]


@settings(max_examples=60, deadline=None)
@given(task=SHAPES, seed=st.integers(0, 10**6))
def test_following_the_links_of_the_inputs_gives_chain_sources_and_targets(task, seed):
    batch = task.sample(seed, "test", 0, 4)
    assert batch.inputs.shape[1] == task.interface.n_ctx
    keys, values, at = tokens_as_names(task, batch)
    place = (lambda slot: slot) if task.layout == "pair" else (lambda slot: 2 * slot + 1)
    assert torch.equal(batch.chain[:, 0], at)
    for k in range(task.hops):
        hit = keys == at[:, None]
        assert (hit.sum(1) == 1).all()
        slot = hit.int().argmax(1)
        at = values.gather(1, slot[:, None])[:, 0]
        assert torch.equal(batch.src[:, k], place(slot))
        assert torch.equal(batch.chain[:, k + 1], at)
    assert torch.equal(batch.links[:, 0, : task.hops], batch.src)
    assert (
        all(len(set(row)) == task.n_symbols for row in batch.chains.flatten(1).tolist()) or task.distractors
    )
    gaps = batch.links.diff(dim=-1)
    assert task.order != "query_first" or (gaps > 0).all()
    assert task.order != "value_first" or (gaps < 0).all()
    outputs = task.answer(batch)
    assert outputs.shape == (4, task.interface.n_ctx, task.interface.d_out)
    assert (task.loss(outputs, batch) == 0).all()
    assert (task.score(outputs, batch) == 1).all()
    assert task.score(outputs, batch).shape == (4, len(task.output_names))
    assert (task.bayes_risk().value == 0).all()


@settings(max_examples=40, deadline=None)
@given(task=SHAPES, seed=st.integers(0, 10**6))
def test_pairs_differ_exactly_where_they_say(task, seed):
    for kind in task.pair_kinds:
        pair = task.pair(kind, seed, "test", 0, 5)
        differs = (pair.clean.inputs != pair.corrupt.inputs).reshape(5, task.interface.n_ctx, -1).any(-1)
        assert torch.equal(differs, pair.changed)
        assert torch.equal(pair.clean.inputs, task.sample(seed, "test", 0, 5).inputs)
        assert (task.loss(task.answer(pair.corrupt), pair.corrupt) == 0).all()
        if kind == "swap-query":
            assert torch.equal(pair.changed.sum(1), torch.ones(5, dtype=torch.long))
            assert torch.equal(pair.corrupt.chain, pair.clean.chains[:, 1, : task.hops + 1])
        else:
            hop = int(kind[-1])
            assert (pair.changed.sum(1) == 2).all()
            assert pair.changed.gather(1, pair.clean.src[:, hop - 1 : hop]).all()
            assert torch.equal(pair.corrupt.chain[:, :hop], pair.clean.chain[:, :hop])
            assert torch.equal(pair.corrupt.chain[:, hop:], pair.clean.chains[:, 1, hop : task.hops + 1])
            keys, values, at = tokens_as_names(task, pair.corrupt)
            for k in range(task.hops):  # the corrupt prompt, followed by hand
                at = values[keys == at[:, None]]
                assert torch.equal(at, pair.corrupt.chain[:, k + 1])


@pytest.mark.parametrize(
    "extra", [{}, {"distractors": 3}, {"dangling": 1}, {"dangling": 2, "distractors": 1}]
)
@pytest.mark.parametrize("target", ["ic", "final", "mix"])
def test_chance_and_elimination_by_monte_carlo(extra, target):
    """Two guessers that see the multiset of keys and of values, but not which goes with which."""
    task = MultiHopRetrieval(hops=3, chains=3, target=target, **extra)
    batch = task.sample(0, "test", 0, 20_000)
    size = (len(batch), task.vocab)
    keys = torch.zeros(size).scatter(1, batch.inputs[:, : task.n_links, 0], 1.0).bool()
    values = torch.zeros(size).scatter(1, batch.inputs[:, : task.n_links, 1], 1.0).bool()
    gen = torch.Generator().manual_seed(0)
    for level, inner in ((task.chance(), keys | values), (task.elimination(), keys & values)):
        rates = []
        for hop in range(task.hops):
            ends = values & ~keys if not task.dangling else inner
            guess = torch.multinomial((ends if hop == task.hops - 1 else inner).float(), 1, generator=gen)[
                :, 0
            ]
            rates.append((guess == batch.chain[:, hop + 1]).float().mean())
        rates = torch.stack(rates)
        expected = {"ic": rates, "final": rates[-1:], "mix": rates.mean(0, keepdim=True)}[target]
        assert ((level.value - expected).abs() < 4.5 * (0.25 / len(batch)) ** 0.5).all()


def test_one_hop_has_levels_too():
    task = MultiHopRetrieval(hops=1, chains=5)
    assert task.chance().value.tolist() == task.elimination().value.tolist() == pytest.approx([0.2])


def test_default_chance_levels_are_the_published_ones():
    assert MultiHopRetrieval().chance().value.tolist() == pytest.approx([1 / 16, 1 / 16, 1 / 4])


def test_gaussian_loss_unit_and_weights():
    task = MultiHopRetrieval(symbols="gaussian", weights=(1.0, 0.0, 2.0))
    batch = task.sample(0, "test", 0, 4000)
    loss = task.loss(torch.zeros(4000, task.interface.n_ctx, task.interface.d_out), batch).mean(0)
    assert loss.tolist() == pytest.approx([1, 0, 2], abs=0.05)
    discrete = MultiHopRetrieval()
    flat = torch.zeros(8, 13, 96)
    assert discrete.loss(flat, discrete.sample(0, "test", 0, 8)).mean().item() == pytest.approx(
        torch.tensor(32.0).log().item()
    )


def test_mix_asks_every_hop_and_announces_it():
    task = MultiHopRetrieval(target="mix")
    batch = task.sample(0, "test", 0, 3000)
    assert torch.equal(batch.inputs[:, -2, 0], task.vocab + batch.asked)
    assert torch.bincount(batch.asked).min() > 900
    vectors = MultiHopRetrieval(target="mix", symbols="gaussian").sample(0, "test", 0, 50)
    assert torch.equal(vectors.inputs[:, -2, -3:].argmax(1), vectors.asked)
    assert (vectors.inputs[:, :-2, -3:] == 0).all()


def test_training_set_is_finite_and_other_streams_are_fresh():
    task = MultiHopRetrieval(train_set=20)
    steps = [task.sample(5, "train", step, 64).inputs.flatten(1) for step in range(30)]
    assert len({tuple(row) for step in steps for row in step.tolist()}) == 20
    assert not torch.equal(steps[0], steps[1])
    other_seed = {tuple(row) for row in task.sample(6, "train", 0, 64).inputs.flatten(1).tolist()}
    assert other_seed.isdisjoint(tuple(row) for row in steps[0].tolist())
    fresh = task.sample(5, "eval", 0, 500).inputs.flatten(1).tolist()
    assert len({tuple(row) for row in fresh}) == 500
    assert torch.equal(task.pair("swap-query", 5, "train", 0, 64).clean.inputs.flatten(1), steps[0])


def test_relations_point_at_the_tokens_they_name():
    task, batch = worked_example("flat")
    labels = task.labels(batch)[0]
    found = {
        r.name: [(labels[d], labels[s]) for d, s in zip(r.dest[0], r.source[0], strict=True)]
        for r in task.relations(batch)
    }
    assert found["query -> link_2"] == [("7", "9")]
    assert found["link_1 -> link_2"] == [("3", "9")]
    assert found["link_3 -> link_2"] == [("1", "9")]
    assert found["rival link -> next"] == [("8", "2"), ("2", "6")]
    assert ("9", "3") in found["value -> key"]


@pytest.mark.parametrize(
    ("bad", "culprit"),
    [
        ({"hops": 0}, "hops"),
        ({"chains": -1}, "chains"),
        ({"hops": 10**9}, "hops"),
        ({"vocab": 15}, "vocab 15 is too small"),
        ({"chains": 60_000, "hops": 1000, "symbols": "gaussian"}, "links"),
        ({"weights": (1.0,)}, "weights"),
        ({"weights": (1.0, -1.0, 1.0)}, "weights"),
        ({"weights": (0.0, 0.0, 0.0)}, "weights"),
        ({"weights": (1.0, 1.0, 1.0), "target": "final"}, "weights"),
        ({"order": "sorted"}, "order"),
    ],
)
def test_absurd_settings_are_refused_in_one_line(bad, culprit):
    with pytest.raises(UserError, match=culprit) as caught:
        build({"kind": "retrieval", **bad})
    assert "\n" not in str(caught.value)


def test_absurd_batches_and_pairs_are_refused():
    for batch in (0, -1, 10**12):
        with pytest.raises(UserError, match="batch"):
            MultiHopRetrieval().sample(0, "test", 0, batch)
    with pytest.raises(UserError, match="swap-hop-3"):
        MultiHopRetrieval().pair("swap-hop-4", 0, "test", 0, 2)
    with pytest.raises(UserError, match="no pairs"):
        MultiHopRetrieval(chains=1).pair("swap-hop-1", 0, "test", 0, 2)
