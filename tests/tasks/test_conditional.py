"""Conditional retrieval: the DAG can be followed in the inputs, and neither key of a joint fact decides alone."""

import pytest
import torch

from tasks import ConditionalRetrieval, UserError, build

PARENTS = [((0,), (1,), (0, 2)), ((0,), (0, 1), (1, 2), (2,)), ((0,),)]


def facts_of(task, batch, b):
    """{(key, key or None): value} of one prompt, read off its inputs."""
    if task.symbols == "discrete":
        rows = batch.inputs[b, :-1].reshape(-1, 3).tolist()
        return {(k, None if j == task.vocab else j): v for k, j, v in rows}
    slots = batch.inputs[b, :-1].reshape(-1, 3, task.width)

    def name(vector):
        same = (batch.table[b] == vector).all(-1)
        return int(same.int().argmax()) if same.any() else None

    return {(name(k), name(j)): name(v) for k, j, v in slots}


@pytest.mark.parametrize("parents", PARENTS)
@pytest.mark.parametrize("symbols", ["discrete", "gaussian"])
@pytest.mark.parametrize("target", ["ic", "final"])
def test_the_dag_can_be_followed_in_clean_and_corrupt_prompts(parents, symbols, target):
    task = ConditionalRetrieval(parents=parents, symbols=symbols, target=target, chains=3)
    twins = [(kind, task.pair(kind, 1, "test", 0, 6)) for kind in task.pair_kinds]
    for kind, pair in twins:
        differs = (pair.clean.inputs != pair.corrupt.inputs).reshape(6, task.interface.n_ctx, -1).any(-1)
        assert torch.equal(differs, pair.changed)
        assert (pair.changed.sum(1) == (1 if kind == "swap-query" else 2)).all()
    for batch in [task.sample(0, "test", 0, 6), *(pair.corrupt for _, pair in twins)]:
        assert (task.loss(task.answer(batch), batch) == 0).all()
        assert (task.score(task.answer(batch), batch) == 1).all()
        for b in range(6):
            facts = facts_of(task, batch, b)
            assert len(facts) == task.n_facts
            found = [batch.chain[b, 0].item()]
            for keys in parents:
                second = found[keys[1]] if len(keys) == 2 else None
                found.append(facts[found[keys[0]], second])
            assert found == batch.chain[b].tolist()


def test_each_key_of_a_joint_fact_fits_two_facts():
    task = ConditionalRetrieval()
    batch = task.sample(0, "test", 0, 10)
    for b in range(10):
        facts, chain = facts_of(task, batch, b), batch.chain[b].tolist()
        assert sum(k == chain[0] and j is not None for k, j in facts) == 2
        assert sum(j == chain[2] for _, j in facts) == 2


def test_sources_hold_the_values_and_labels_say_so():
    discrete = ConditionalRetrieval()
    batch = discrete.sample(0, "test", 0, 8)
    assert torch.equal(batch.inputs.gather(1, batch.src), batch.chain[:, 1:])
    gaussian = ConditionalRetrieval(symbols="gaussian")
    pair = gaussian.pair("swap-query", 0, "test", 0, 4)
    for batch in (pair.clean, pair.corrupt):
        labels = gaussian.labels(batch)
        for b in range(4):
            s = batch.chain[b].tolist()
            said = [labels[b][p] for p in batch.src[b]]
            assert said == [f"{s[0]}>{s[1]}", f"{s[1]}>{s[2]}", f"{s[0]},{s[2]}>{s[3]}"]


@pytest.mark.parametrize("parents", PARENTS)
def test_chance_by_monte_carlo(parents):
    task = ConditionalRetrieval(parents=parents, chains=3)
    batch = task.sample(0, "test", 0, 10_000)
    rows = batch.inputs[:, :-1].unflatten(1, (-1, 3))
    blank = torch.zeros(10_000, task.vocab + 1)
    keys = blank.scatter(1, rows[..., :2].flatten(1), 1.0).bool()
    values = blank.scatter(1, rows[..., 2], 1.0).bool()
    everything = keys | values
    everything[:, task.vocab] = False
    gen = torch.Generator().manual_seed(0)
    for k in range(1, task.hops + 1):
        pool = values & ~keys if k in task.ends else everything
        guess = torch.multinomial(pool.float(), 1, generator=gen)[:, 0]
        rate = (guess == batch.chain[:, k]).float().mean()
        assert abs(task.chance().value[k - 1] - rate) < 4.5 * 0.5 / 100


@pytest.mark.parametrize(
    ("bad", "culprit"),
    [
        ({"parents": ((1,),)}, "parents of hop 1"),
        ({"parents": ((0,), (0, 0))}, "parents of hop 2"),
        ({"parents": ((0,), (0,))}, "same parents"),
        ({"parents": ((0,), (0, 1), (1, 0))}, "same parents"),
        ({"parents": ()}, "at least one hop"),
        ({"chains": 1}, "chains"),
        ({"vocab": 10}, "vocab 10 is too small"),
    ],
)
def test_absurd_settings_are_refused_in_one_line(bad, culprit):
    with pytest.raises(UserError, match=culprit) as caught:
        build({"kind": "conditional-retrieval", **bad})
    assert "\n" not in str(caught.value)
