"""Text prompts: what they say is what they claim, and one binding changes a pair; names are single tokens."""

import json
from typing import Any

import pytest
import torch

from tasks import TextRetrieval, UserError, build, settings_of
from tasks.prompts_forms import FORMS
from tasks.prompts_lexicon import FRAME, POOLS, lexicon_of, word_level

PLAIN = {"equations": "=", "lives-with": ("with", "in"), "kingdoms": ("serves", "rules")}


def walked(task, words, start):
    """Follow a plain chain in the words alone, by no position that the task gives."""
    facts = " ".join(words[: -task.question_length]).split(" . ")
    value = {}
    for fact in facts:
        parts = fact.replace(" .", "").split()
        value[parts[0]] = parts[-1]
    for _ in range(task.hops):
        start = value[start]
    return start


@pytest.mark.parametrize("form", list(PLAIN))
@pytest.mark.parametrize("order", ["value_first", "query_first", "random"])
def test_the_text_alone_leads_to_the_answer(form, order):
    task = TextRetrieval(form=form, hops=3, links=4, order=order)
    batch = task.sample(0, "test", 0, 32)
    for i, words in enumerate(task.labels(batch)):
        said = walked(task, words, words[batch.asked[i]])
        answer = task.lexicon.phrase()[task.interface.outputs[batch.targets[i, 0]]]
        assert said == answer
        assert words[batch.src[i, -1]] == answer
        assert len({task.lexicon.phrase()[t] for t in batch.tokens[i].tolist()}) == task.chains


def test_functions_need_the_function_as_well_as_the_argument():
    task = TextRetrieval(form="functions", hops=2)
    batch = task.sample(0, "test", 0, 64)
    ambiguous = 0
    for i, words in enumerate(task.labels(batch)):
        facts = [
            f.split()
            for f in " ".join(words[: -task.question_length]).replace(" .", ";").split(";")
            if f.strip()
        ]
        table = {(f[0], f[2]): f[5] for f in facts}
        arguments = [f[2] for f in facts]
        question = words[-task.question_length :]
        outer, inner, start = question[1], question[3], question[5]
        assert table[outer, table[inner, start]] == words[batch.src[i, -1]]
        ambiguous += len({f[5] for f in facts if f[2] == start}) > 1
        assert all(arguments.count(a) == 2 for a in arguments)
    assert ambiguous > 48  # the argument alone says nothing


def test_relatives_follow_class_rule_and_relation():
    task = TextRetrieval(form="relatives", hops=2, chains=2)
    batch = task.sample(0, "test", 0, 32)
    for i, words in enumerate(task.labels(batch)):
        facts = [
            f.split()
            for f in " ".join(words[: -task.question_length]).replace(" .", ";").split(";")
            if f.strip()
        ]
        rule = {f[1]: f[-1] for f in facts if f[0] == "Every"}
        classes = {f[0]: f[-1] for f in facts if f[1] == "is"}
        relative = {(f[1], f[3]): f[5] for f in facts if f[0] == "The"}
        person = words[batch.asked[i]]
        for _ in range(2):
            person = relative[rule[classes[person]], person]
        assert person == words[batch.src[i, -1]]
    assert task.chance().value.item() == pytest.approx(1 / 5)


@pytest.mark.parametrize("form", FORMS)
def test_a_pair_differs_in_one_binding_and_its_answer(form):
    task = TextRetrieval(form=form, hops=2, chains=3)
    for kind in task.pair_kinds:
        pair: Any = task.pair(kind, 0, "test", 0, 40)
        assert (pair.changed.sum(1) == 1).all()
        hop = int(kind[-1]) - 1
        assert torch.equal(pair.changed.int().argmax(1), pair.clean.src[:, hop])
        assert (pair.clean.targets != pair.corrupt.targets).all()
        assert torch.equal(pair.clean.choices, pair.corrupt.choices)
    with pytest.raises(UserError, match="rebind-hop-1"):
        task.pair("swap", 0, "test", 0, 2)


def test_in_a_corrupt_program_every_value_is_stated_before_it_is_used():
    task = TextRetrieval(hops=3)
    for kind in task.pair_kinds:
        corrupt: Any = task.pair(kind, 0, "test", 0, 50).corrupt
        for words, answer in zip(task.labels(corrupt), corrupt.targets[:, 0].tolist(), strict=True):
            known, name = {}, words[-2]
            for key, value in zip(
                words[0 : -task.question_length : 4], words[2 : -task.question_length : 4], strict=True
            ):
                assert value.isdigit() or value in known
                known[key] = value
            while not name.isdigit():
                name = known[name]
            assert name == task.lexicon.phrase()[task.interface.outputs[answer]]


def test_the_right_answer_scores_and_a_flat_guess_is_at_chance():
    for form in FORMS:
        task = TextRetrieval(form=form, hops=1, chains=4)
        batch = task.sample(0, "test", 0, 500)
        right = task.answer(batch)
        assert task.score(right, batch).mean() == 1
        assert task.loss(right, batch).max() < 1e-6
        flat = task.score(torch.zeros_like(right), batch).mean().item()
        assert abs(flat - task.chance().value.item()) < 0.08  # 4 standard deviations of 500 fair guesses
        assert task.loss(torch.zeros_like(right), batch).mean() == pytest.approx(
            -torch.log(task.chance().value).item()
        )


def test_examples_come_whole_before_the_question_and_keep_the_length():
    none, two = TextRetrieval(hops=2), TextRetrieval(hops=2, shots=2)
    batch = two.sample(0, "test", 0, 8)
    assert batch.inputs.shape[1] == two.interface.n_ctx == 3 * none.interface.n_ctx + 2 * 2
    for i, words in enumerate(two.labels(batch)):
        shot = words[: none.interface.n_ctx + 2]
        assert shot[-1] == "."
        assert walked(none, shot[:-2], shot[-4]) == shot[-2]
        assert words[batch.src[i, -1]] == two.lexicon.phrase()[two.interface.outputs[batch.targets[i, 0]]]


def encode_of(split=(), unknown=()):
    """A tokenizer of whole words, but for those that it splits in two or does not know."""
    numbers = {}

    def encode(text):
        ids = []
        for word in text.split():
            if word in unknown:
                ids.append(0)
            else:
                ids += [
                    numbers.setdefault(p, len(numbers) + 1)
                    for p in ([word[:1] + "~", word[1:]] if word in split else [word])
                ]
        return ids

    return encode


def test_names_that_a_tokenizer_splits_or_does_not_know_are_not_drawn():
    split = POOLS["city"][:5]
    lexicon = lexicon_of(encode_of(split, unknown=("Oslo",)), 500, (7,), 0)
    assert not set(split) & set(lexicon.names["city"])
    assert "Oslo" not in lexicon.names["city"]
    task = TextRetrieval(form="lives-with", hops=2, lexicon=lexicon)
    batch = task.sample(0, "test", 0, 200)
    assert (batch.inputs[:, 0] == 7).all()
    settings = json.loads(
        json.dumps(task.model_dump(mode="json"), sort_keys=True)
    )  # as a run's folder has them
    again = TextRetrieval(**settings).sample(0, "test", 0, 200)
    assert torch.equal(again.inputs, batch.inputs), "prompts depend on whether settings were read from disk"
    assert not set(split) & {word for row in task.labels(batch) for word in row}


def test_one_line_says_which_names_or_words_are_missing():
    few = lexicon_of(encode_of(POOLS["city"][3:]), 500)
    with pytest.raises(
        UserError, match="form 'lives-with' needs 4 names of the pool 'city', and 3 are single tokens"
    ):
        build({"kind": "prompts", "form": "lives-with", "lexicon": few.model_dump()})
    with pytest.raises(UserError, match="does not know the word 'rules'"):
        lexicon_of(encode_of(unknown=("rules",)), 500, unknown=0)
    with pytest.raises(UserError, match="links=1 are fewer than hops=2"):
        build({"kind": "prompts", "hops": 2, "links": 1})
    with pytest.raises(UserError, match="ask for fewer hops or chains"):
        build({"kind": "prompts", "hops": 60})


def test_words_of_several_tokens_keep_positions_and_draws():
    """A frame word in two tokens shifts positions, and nothing else."""
    parts = TextRetrieval(
        form="kingdoms", hops=2, lexicon=lexicon_of(encode_of(split=("belongs", "serves")), 500)
    )
    whole = TextRetrieval(form="kingdoms", hops=2, lexicon=word_level(parts.lexicon.names))
    a, b = whole.sample(0, "test", 0, 8), parts.sample(0, "test", 0, 8)
    assert parts.interface.n_ctx == whole.interface.n_ctx + 1 + 4
    for i in range(8):
        said = [word for word in parts.labels(b)[i] if word != ".."]
        assert said == whole.labels(a)[i]
        assert [parts.labels(b)[i][p] for p in b.src[i]] == [whole.labels(a)[i][p] for p in a.src[i]]
    assert parts.in_words().texts(parts.in_words().sample(0, "test", 0, 8)) == whole.texts(a)


@pytest.mark.parametrize("form", FORMS)
def test_settings_round_trip_and_relations_stay_inside(form):
    task = TextRetrieval(form=form, hops=2, chains=2, shots=1)
    assert build(settings_of(task)) == task
    batch = task.sample(0, "test", 0, 4)
    for relation in task.relations(batch):
        assert relation.dest.shape == relation.source.shape
        assert 0 <= relation.source.min() <= relation.source.max() < task.interface.n_ctx
        assert (relation.source < relation.dest).float().mean() > 0.4
    direct = {r.name: r for r in task.relations(batch)}["query -> link_2"]
    assert torch.equal(
        batch.inputs.gather(1, direct.source)[:, 0], torch.tensor(task.interface.outputs)[batch.targets[:, 0]]
    )


def test_every_word_of_the_frame_is_in_the_vocabulary_once():
    lexicon = word_level()
    every = [ids[0] for ids in lexicon.words.values()] + [
        t for pool in lexicon.names.values() for t in pool.values()
    ]
    assert set(FRAME) == set(lexicon.words)
    assert max(every) == lexicon.vocabulary - 1
    shared = set(POOLS["letter"]) & set(POOLS["argument"])
    assert all(lexicon.names["letter"][name] == lexicon.names["argument"][name] for name in shared)
