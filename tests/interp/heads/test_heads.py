"""Head scores: a planted pattern scores what was planted, uniform attention scores its chance level."""

from __future__ import annotations

import pytest
import torch

from interp.heads.heads import relation_mass


def test_planted_attention_is_found() -> None:
    pattern = torch.zeros(5, 2, 4, 4)
    source = torch.tensor([[0], [1], [2], [0], [1]])
    dest = torch.full((5, 1), 3)
    pattern[torch.arange(5), 0, 3, source[:, 0]] = 0.8
    mass = relation_mass(pattern, dest, source)
    assert mass[:, 0].tolist() == pytest.approx([0.8] * 5)
    assert mass[:, 1].tolist() == [0.0] * 5


def test_sources_of_a_row_add_and_rows_average() -> None:
    pattern = torch.full((3, 1, 6, 6), 1 / 6)
    two_sources = relation_mass(
        pattern, torch.tensor([[5, 5]]).expand(3, -1), torch.tensor([[0, 1]]).expand(3, -1)
    )
    assert two_sources.flatten().tolist() == pytest.approx([2 / 6] * 3)
    two_rows = relation_mass(
        pattern, torch.tensor([[4, 5]]).expand(3, -1), torch.tensor([[0, 1]]).expand(3, -1)
    )
    assert two_rows.flatten().tolist() == pytest.approx([1 / 6] * 3)


def test_a_pair_that_stands_twice_counts_once_and_the_order_of_prompts_does_not_matter():
    pattern = torch.rand(2, 3, 4, 4).softmax(-1)
    dest, source = torch.tensor([[2, 2, 3], [1, 1, 1]]), torch.tensor([[0, 0, 1], [0, 0, 0]])
    found = relation_mass(pattern, dest, source)
    assert torch.allclose(found[0], (pattern[0, :, 2, 0] + pattern[0, :, 3, 1]) / 2)
    assert torch.allclose(found[1], pattern[1, :, 1, 0])
    assert torch.equal(relation_mass(pattern.flip(0), dest.flip(0), source.flip(0)), found.flip(0))
