"""Typed prompts: what was written is read back, bad ones are refused in one line that says how to write them."""

from __future__ import annotations

import pytest
import torch

from interp.explore.typed import PromptForm
from tasks import UserError, build, from_tensors

TASKS = {
    "links": {"kind": "retrieval", "hops": 2, "chains": 2, "vocab": 12},
    "flat": {"kind": "retrieval", "hops": 2, "chains": 2, "vocab": 12, "layout": "flat", "target": "mix"},
    "letters": {"kind": "markov", "length": 9},
    "hops": {"kind": "khop", "hops": 2, "letters": 4, "length": 20},
    "tokens": {"kind": "induction", "vocabulary": 20, "length": 3},
    "numbers": {"kind": "regression", "d": 2, "n": 3, "layout": "merged"},
}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_written_is_read_back(name) -> None:
    form = PromptForm(build(TASKS[name]))
    batch = form.task.sample(0, "typed", 0, 4)
    for row in range(4):
        one = batch.select(slice(row, row + 1))
        found = form.typed(form.text_of(one))
        assert torch.allclose(found.inputs, one.inputs, rtol=1e-3, atol=1e-3)
        assert form.labels(found) == form.task.labels(one)[0]


@pytest.mark.parametrize("name", ["links", "flat"])
def test_the_right_answer_of_a_typed_retrieval_prompt_follows_its_links(name) -> None:
    form = PromptForm(build(TASKS[name]))
    batch = form.task.sample(0, "typed", 0, 8)
    for row in range(8):
        one = batch.select(slice(row, row + 1))
        best = form.best(form.typed(form.text_of(one)), own=True)
        assert torch.equal(best, form.task.answer(one))
    text = form.text_of(batch.select(slice(0, 1))).split()
    text[-1] = "_".join(text[-1].rsplit(text[-1].split(">")[0], 1)) if name == "flat" else text[-1]
    broken = "0>1 0>2 3>4 5>6 0>_" if name == "links" else "0 1 0 2 3 4 5 6 hop 1 0"
    assert form.best(form.typed(broken), own=True) is None  # one key, two values


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("links", "", "the prompt is empty: write 4 links"),
        ("links", "0>1 2>3", "token 2, '2>3': write 4 links"),
        ("links", "0>1 2>3 4>5 6>99 0>_", "symbols are 0 to 11"),
        ("links", "0>1 0>_", "5 are needed"),
        ("letters", "ABX", "'ABX' is no token of task 'markov'"),
        ("letters", "ABC" * 4, "12 tokens: this model takes 1 to 9"),
        ("letters", "A" * 200_000, "200,000 characters"),
        ("hops", "hop 9 a b", "is no token"),
        ("tokens", "#99", "is no token"),
        ("numbers", "1 2 : 3", "1 rows: write 3 examples"),
        ("numbers", "1 2 : 3; 1 2 : 3; 1 2; 1 2", "row 3"),
        ("numbers", "1 2 : 3; 1 2 : 3; 1 2 : 3; 1 2 : 3", "the query has no label"),
        ("numbers", "1 2 : 3; 1 2 : nan; 1 2 : 3; 1 2", "'nan' is no number"),
        ("numbers", "1 2 : 3; 1 2 3 : 3; 1 2 : 3; 1 2", "row 2 has 3 coordinates"),
    ],
)
def test_a_bad_prompt_is_refused_in_one_line(name, text, words) -> None:
    with pytest.raises(UserError) as refused:
        PromptForm(build(TASKS[name])).typed(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_given_prompts_are_written_as_token_numbers_and_vectors_not_at_all() -> None:
    inputs = torch.arange(32).reshape(16, 2) % 7
    form = PromptForm(from_tensors(inputs, inputs))
    assert form.text_of(form.task.sample(0, "typed", 0, 1)).count(" ") == 1
    assert form.typed("6 0").inputs.tolist() == [[6, 0]]
    vectors = PromptForm(build({**TASKS["links"], "symbols": "gaussian", "width": 4}))
    with pytest.raises(UserError, match="no written form"):
        vectors.typed("1 2 3")
