"""Prompts given in tensors or texts: counted once, ragged, in groups, and the same after a trip through settings."""

from __future__ import annotations

import pytest
import torch

import tasks
from tasks import UserError, from_tensors


def prompts(n: int = 64):
    source = torch.Generator().manual_seed(0)
    inputs = torch.randint(7, (n, 5), generator=source)
    mask = torch.zeros(n, 5, dtype=torch.bool)
    mask[torch.arange(n), torch.arange(n) % 4 + 1] = True  # another position for every prompt
    return inputs, inputs.roll(1, 1), mask


def test_a_right_answer_scores_one_at_each_prompts_own_position_and_nothing_else_counts():
    inputs, targets, mask = prompts()
    task = from_tensors(inputs, targets, mask)
    batch = task.sample(0, "eval", 0, 64)
    outputs = torch.nn.functional.one_hot(batch.targets, 7).float() * 9
    assert task.score(outputs, batch).eq(1).all()
    wrong = outputs.clone()
    wrong[~batch.mask] = wrong[~batch.mask].flip(-1)
    assert torch.equal(task.loss(wrong, batch), task.loss(outputs, batch))
    assert task.loss(outputs.flip(-1), batch).mean() > task.loss(outputs, batch).mean() + 1
    assert task.interface.output_positions == (1, 2, 3, 4)


def test_no_prompt_is_seen_twice_by_one_measurement_and_circuits_are_judged_on_others():
    task = from_tensors(*prompts())
    seen = torch.cat([task.sample(0, "analysis", chunk, 256).rows for chunk in range(12)])
    assert sorted(seen.tolist()) == list(range(64))
    asked = ((3, "circuit"), (4, "circuit"), (3, "circuit, validation"))
    thirds = [set(task.sample(seed, stream, 0, 256).rows.tolist()) for seed, stream in asked]
    assert sorted(map(len, thirds)) == [21, 21, 22]
    assert set.union(*thirds) == set(range(64))  # none twice
    clean, other = (task.sample(3, stream, 0, 16).rows for stream in ("circuit", "circuit, resampled"))
    assert not (clean == other).any()


def test_settings_bring_the_same_task_back():
    inputs, targets, mask = prompts()
    pairs = (torch.ones(64, 2, dtype=torch.long), torch.zeros(64, 2, dtype=torch.long))
    task = from_tensors(
        inputs,
        targets,
        mask,
        corrupt=inputs.roll(1, 0),
        relations={"first": pairs},
        groups={"hops": range(64)},
    )
    again = tasks.build(tasks.settings_of(task))
    assert again == task
    batch = again.sample(0, "eval", 0, 8)
    assert torch.equal(batch.inputs, task.sample(0, "eval", 0, 8).inputs)
    (relation,) = again.relations(batch)
    assert (relation.name, relation.dest.shape, bool(relation.valid.all())) == ("first", (8, 2), True)
    assert again.pair("given", 0, "patch", 0, 8).changed.any()


def test_a_group_is_a_task_of_its_own():
    inputs, targets, mask = prompts()
    task = from_tensors(inputs, targets, mask, groups={"hops": torch.arange(64) % 2})
    part = task.only(hops=1)
    assert len(part) == 32
    assert set(map(tuple, part.tensors["inputs"].tolist())) == set(map(tuple, inputs[1::2].tolist()))
    with pytest.raises(UserError, match="no attribute 'hop'"):
        task.only(hop=1)


class Letters:
    """A tokenizer of single letters."""

    pad_token_id = 26

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) - 97 for letter in text]

    def __len__(self) -> int:
        return 27


def test_texts_of_unequal_length_are_asked_at_their_last_token():
    texts = ["ab", "abc", "b", "dcba"] * 4
    task = from_tensors(texts, ["c", "d", "c", "e"] * 4, tokenizer=Letters())
    tensors = task.tensors
    assert tensors["inputs"].shape == (16, 4)
    assert tensors["mask"].nonzero()[:4].tolist() == [[0, 1], [1, 2], [2, 0], [3, 3]]
    assert tensors["targets"][tensors["mask"]][:4].tolist() == [2, 3, 2, 4]
    assert (task.pad, task.interface.d_vocab) == (26, 27)


@pytest.mark.parametrize("side", ["left", "right"])
def test_lists_of_tokens_are_asked_at_their_last_token_on_either_side(side):
    words = [[1, 2], [1, 2, 3], [2], [4, 3, 2, 1]] * 4
    task = from_tensors(
        words, [5, 6, 5, 6] * 4, pad=0, side=side, groups={"kind": ["a", "b", "a", "b"] * 4 * 1}
    )
    tensors = task.tensors
    rows = torch.arange(16)
    ends = tensors["mask"].int().argmax(1)
    assert tensors["inputs"][rows, ends].tolist() == [word[-1] for word in words]
    assert ends[0].item() == (3 if side == "left" else 1)
    assert task.pad == 0
    with pytest.raises(UserError, match="8 prompts have"):
        task.only(kind="b")
    assert task.names == {"kind": ("a", "b")}


class Encoding:
    ids = (3, 4)


def test_any_tokenizer_will_do():
    class Wrapped:  # as of `tokenizers`: encodings with ids, a method for the size, the padding in a table
        padding = property(lambda self: {"pad_id": 9})

        def encode(self, text, add_special_tokens=True):
            return Encoding()

        def get_vocab_size(self):
            return 10

    class Plain:  # as of `tiktoken`: no special tokens to leave out
        n_vocab = 27

        def encode(self, text):
            return [ord(letter) - 97 for letter in text]

    task = from_tensors(["x"] * 16, ["y"] * 16, tokenizer=Wrapped())
    assert (task.pad, task.interface.d_vocab, task.tensors["targets"].max().item()) == (9, 10, 3)
    assert from_tensors(["abc"] * 16, ["d"] * 16, tokenizer=Plain()).interface.d_vocab == 27
    assert from_tensors(["abc"] * 16, ["d"] * 16, tokenizer=Plain().encode, vocabulary=27).pad is None
    with pytest.raises(UserError, match="names no token to fill up"):
        from_tensors(["ab", "abc"] * 8, ["d"] * 16, tokenizer=Plain())
    with pytest.raises(UserError, match="the answer '' has no tokens"):
        from_tensors(["ab"] * 16, [""] * 16, tokenizer=Plain())
    with pytest.raises(UserError, match="Encoding is no tokenizer"):
        from_tensors(["ab"] * 16, ["c"] * 16, tokenizer=Encoding())


def test_targets_of_minus_100_do_not_count():
    inputs, targets, mask = prompts()
    task = from_tensors(inputs, targets.masked_fill(~mask, -100))
    assert torch.equal(task.tensors["mask"], mask)
    assert task == from_tensors(inputs, targets.masked_fill(~mask, 0), mask)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"targets": torch.zeros(64, 4, dtype=torch.long)}, r"targets must be \[64, 5\]"),
        ({"mask": torch.zeros(64, 5, dtype=torch.bool)}, "no position that counts"),
        ({"targets": torch.zeros(64, 5)}, "whole numbers"),
        ({"corrupt": torch.zeros(64, 4, dtype=torch.long)}, r"corrupt prompts must be \[64, 5\]"),
        ({"groups": {"hops": [1, 2]}}, "2 rows for 64 prompts"),
        ({"groups": {"hops": torch.rand(64)}}, "one whole number or word a prompt"),
        ({"inputs": torch.zeros(64, dtype=torch.long)}, r"tokens \[batch, pos\] or numbers"),
        ({"inputs": torch.full((64, 5), -1)}, "inputs must be numbers from 0"),
        ({"inputs": torch.full((64, 5, 2), float("nan"))}, "not finite"),
        (
            {"targets": torch.full((64, 5), 50), "outputs": 7},
            r"targets must be numbers from 0 to 6 \(outputs\)",
        ),
        ({"relations": {"r": (torch.ones(64, 1).long() * 9,) * 2}}, "must be positions below 5"),
        ({"inputs": [[1, 2], [1]] * 32}, "unequal length need a token"),
        ({"inputs": torch.zeros(3, 5, dtype=torch.long)}, "too few"),
    ],
)
def test_shapes_that_do_not_fit_are_told(change, told):
    inputs, targets, mask = prompts()
    with pytest.raises(UserError, match=told):
        from_tensors(**{"inputs": inputs, "targets": targets, "mask": mask, **change})
