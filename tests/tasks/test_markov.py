"""Markov chains: the closed forms against direct loops, the draws against their laws, relations, pairs, levels."""

import math

import pytest
import torch

import tasks
from tasks.markov import STRATEGIES, MarkovChains
from tasks.markov_draws import stationary, transition_matrices
from tasks.risk import risk


def direct(prompt: list[int], context: int, symbols: int, a: float) -> list[list[float]]:
    """The posterior mean by counting, one position at a time."""
    rows = []
    for t in range(len(prompt)):
        counts = [0] * symbols
        state = prompt[t - context + 1 : t + 1]
        for s in range(context, t + 1):
            if t + 1 >= context and prompt[s - context : s] == state:
                counts[prompt[s]] += 1
        rows.append([(c + a) / (sum(counts) + symbols * a) for c in counts])
    return rows


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("symbols", "concentration"), [(2, 1.0), (4, 0.3)])
def test_closed_forms_equal_a_direct_loop(order, symbols, concentration):
    task = MarkovChains(symbols=symbols, order=order, length=17, concentration=concentration)
    batch = task.sample(0, "test", 0, 6)
    found = task.strategies(batch)
    for context, name in enumerate(STRATEGIES[1:]):
        wanted = [direct(row, context, symbols, concentration) for row in batch.inputs.tolist()]
        assert (found[name].exp() - torch.tensor(wanted, dtype=torch.float64)).abs().max() < 1e-10
    assert torch.equal(task.answer(batch), found["bigram" if order == 1 else "trigram"])
    assert (found["uniform"].exp() - 1 / symbols).abs().max() < 1e-12


def test_long_prompts_are_answered_in_chunks_alike(monkeypatch):
    task = MarkovChains(length=20)
    batch = task.sample(0, "test", 0, 7)
    whole = task.answer(batch)
    monkeypatch.setattr("tasks.markov_answers.HELD", 2 * 400)
    assert torch.equal(task.answer(batch), whole)


@pytest.mark.parametrize("order", [1, 2])
def test_symbols_follow_the_prompts_own_matrix(order):
    task = MarkovChains(symbols=3, order=order, length=4000)
    batch = task.sample(1, "test", 0, 4)
    text = torch.cat([batch.inputs, batch.targets[:, -1:]], dim=1)
    for prompt in range(4):
        state = text[prompt, order - 1 : -1]
        if order == 2:
            state = text[prompt, :-2] * 3 + state
        follow = text[prompt, order:]
        for s in range(task.states):
            seen = follow[state == s]
            share = torch.bincount(seen, minlength=3) / max(1, len(seen))
            error = (share - batch.transitions[prompt, s]).abs().max()
            assert error < 4.5 * 0.5 / max(1, len(seen)) ** 0.5


@pytest.mark.parametrize("order", [1, 2])
def test_chains_start_in_their_stationary_distribution(order):
    gen = torch.Generator().manual_seed(0)
    matrix = transition_matrices(gen, 5, 3**order, 3, 1.0)
    pi = stationary(matrix, order)
    assert (pi.sum(1) - 1).abs().max() < 1e-12
    rows = torch.zeros(5, 3**order, 3**order, dtype=torch.float64)
    for state in range(3**order):
        for symbol in range(3):
            rows[:, state, (state * 3 + symbol) % 3**order] = matrix[:, state, symbol]
    assert (torch.einsum("bs,bsr->br", pi, rows) - pi).abs().max() < 1e-12


def test_rows_are_dirichlet_and_doubly_stochastic_columns_sum_to_one():
    flat = transition_matrices(torch.Generator().manual_seed(0), 20000, 1, 4, 1.0)[:, 0, 0]
    assert flat.mean().item() == pytest.approx(1 / 4, abs=0.01)
    assert flat.var().item() == pytest.approx(3 / (16 * 5), rel=0.05)
    peaked = transition_matrices(torch.Generator().manual_seed(0), 20000, 1, 4, 9.0)[:, 0, 0]
    assert peaked.var().item() == pytest.approx(3 / (16 * 37), rel=0.05)
    task = MarkovChains(chains="doubly stochastic", length=2000)
    batch = task.sample(0, "test", 0, 50)
    assert (batch.transitions.sum(1) - 1).abs().max() < 1e-5
    assert (batch.transitions.sum(2) - 1).abs().max() < 1e-5
    shares = torch.nn.functional.one_hot(batch.inputs, 3).double().mean((0, 1))
    assert (shares - 1 / 3).abs().max() < 0.02
    with pytest.raises(tasks.UserError, match="doubly stochastic"):
        task.answer(batch)
    with pytest.raises(tasks.UserError, match="order"):
        tasks.build({"kind": "markov", "chains": "doubly stochastic", "order": 2})


def test_the_bigram_answer_is_best_and_risks_fall_with_the_context():
    task = MarkovChains()
    risks = {name: risk(task, name) for name in STRATEGIES}
    second = {name: level.value[1].item() for name, level in risks.items()}
    assert second["uniform"] == pytest.approx(math.log(3))
    assert second["uniform"] > second["unigram"] > second["trigram"] > second["bigram"]
    floor = task.bayes_risk()
    fresh = task.sample(9, "other", 0, 4000)
    loss = task.loss(task.answer(fresh), fresh)
    assert ((loss.mean(0) - floor.value).abs() < 4 * (floor.se**2 + loss.var(0) / 4000).sqrt()).all()
    assert task.chance().value.tolist() == pytest.approx([math.log(3)] * 2)
    of_two = MarkovChains(order=2)
    assert risk(of_two, "trigram").value[1] < risk(of_two, "bigram").value[1]
    with pytest.raises(tasks.UserError, match="fourgram"):
        risk(task, "fourgram")


def test_on_doubly_stochastic_chains_counting_symbols_tells_nothing():
    task = MarkovChains(chains="doubly stochastic")
    assert risk(task, "unigram").value[1] > math.log(3)
    assert risk(task, "bigram").value[1] < math.log(3) - 0.05


def test_distances_are_kl_divergences():
    task = MarkovChains(symbols=4, length=10)
    batch = task.sample(0, "test", 0, 3)
    found = task.strategies(batch)
    outputs = torch.randn(3, 10, 4, generator=torch.Generator().manual_seed(0))
    p, q = found["bigram"].exp(), outputs.double().softmax(-1)
    direct_sum = [
        [
            sum((p[b, t] * (p[b, t] / q[b, t]).log()).sum() for t in half) / 5
            for half in (range(5), range(5, 10))
        ]
        for b in range(3)
    ]
    assert (task.distance(outputs, found["bigram"], batch) - torch.tensor(direct_sum)).abs().max() < 1e-10
    assert task.distance(found["bigram"], found["bigram"], batch).abs().max() < 1e-12
    assert (
        task.distance(outputs + 3, outputs, batch).abs() < 1e-6
    ).all()  # a shift of all logits is no change


@pytest.mark.parametrize("order", [1, 2])
def test_relations_are_those_of_a_direct_loop(order):
    task = MarkovChains(order=order, length=12)
    batch = task.sample(0, "test", 0, 4)
    relations = {r.name: r for r in task.relations(batch)}
    assert relations["previous token"].pairs(0) == [(t, t - 1) for t in range(1, 12)]
    names = {"follows the same symbol": 1, "follows the same pair": 2}
    assert set(relations) - {"previous token"} == set(list(names)[:order])
    for name in list(names)[:order]:
        c = names[name]
        for prompt, row in enumerate(batch.inputs.tolist()):
            wanted = [
                (t, s)
                for t in range(12)
                for s in range(c, t + 1)
                if t + 1 >= c and row[s - c : s] == row[t - c + 1 : t + 1]
            ]
            assert relations[name].pairs(prompt) == wanted


def test_pairs_change_what_they_say():
    task = MarkovChains(symbols=4, length=40)
    pair = task.pair("replace-transition", 0, "test", 0, 200)
    assert (pair.changed.sum(1) == 1).all()
    at = pair.changed.int().argmax(1)
    clean, last = pair.clean.inputs, pair.clean.inputs[:, -1]
    before = clean[torch.arange(200), at - 1]
    occurs = (clean[:, :-2] == last[:, None]).any(1)
    assert (before == last)[occurs].all()
    assert torch.equal(pair.corrupt.inputs[:, 1:], pair.corrupt.targets[:, :-1])

    swap = task.pair("swap-row", 0, "test", 0, 200)
    clean, corrupt = (task.strategies(b)["bigram"][:, -1].exp() for b in (swap.clean, swap.corrupt))
    assert torch.equal(swap.clean.inputs[:, -1], swap.corrupt.inputs[:, -1])
    assert (clean.sort(1).values - corrupt.sort(1).values).abs().max() < 1e-12  # the row's counts, permuted
    moved = (clean - corrupt).abs() > 1e-12
    assert set(moved.sum(1).tolist()) <= {0, 2}
    assert (moved.sum(1) == 2).float().mean() > 0.6
    assert torch.equal(swap.clean.inputs != swap.corrupt.inputs, swap.changed)
    with pytest.raises(tasks.UserError, match="swap-row"):
        MarkovChains(symbols=2).pair("swap-row", 0, "test", 0, 4)


def test_what_does_not_fit_memory_is_refused():
    with pytest.raises(tasks.UserError, match="at most"):
        MarkovChains(symbols=64, order=2).sample(0, "test", 0, 1000)
