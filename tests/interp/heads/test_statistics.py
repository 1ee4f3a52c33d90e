"""Mass, argmax share and inner product of heads: against loops, their chance levels, and a planted head."""

from __future__ import annotations

import pytest
import torch

from interp.heads.heads import relation_mass
from interp.heads.statistics import STATISTICS, statistics
from tasks import Relation


def _loops(pattern, relation):
    """The same, cell by cell."""
    found = torch.full((len(pattern), 3, pattern.shape[1]), torch.nan)
    for b in range(len(pattern)):
        pairs = set(relation.pairs(b))
        for h in range(pattern.shape[1]):
            rows = {row for row, _ in pairs}
            mass = sum(float(pattern[b, h, r, c]) for r, c in pairs) / len(rows)
            best = sum((r, int(pattern[b, h, r].argmax())) in pairs for r in rows) / len(rows)
            size = float(pattern[b, h].pow(2).sum()) ** 0.5 * len(pairs) ** 0.5
            found[b, :, h] = torch.tensor([mass, best, mass * len(rows) / size])
    return found


@pytest.fixture(scope="module")
def relation():
    dest = torch.tensor([[2, 3, 3, 4], [5, 5, 5, 1]])
    source = torch.tensor([[0, 1, 2, 4], [0, 0, 3, 0]])  # a pair twice, two sources a row
    return Relation("r", dest, source, torch.tensor([[True, True, True, False], [True] * 4]))


def test_they_are_what_loops_give_and_the_mass_is_that_of_head_scores(relation):
    pattern = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    found = statistics(pattern, relation)
    torch.testing.assert_close(found, _loops(pattern, relation))
    torch.testing.assert_close(
        found[:, 0], relation_mass(pattern, relation.dest, relation.source, relation.valid)
    )


def test_a_prompt_does_not_depend_on_the_one_before_it(relation):
    pattern = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1)).softmax(-1)
    turned = Relation("r", *(x.flip(0) for x in (relation.dest, relation.source, relation.valid)))
    torch.testing.assert_close(statistics(pattern.flip(0), turned), statistics(pattern, relation).flip(0))
    assert statistics(pattern, relation).max() <= 1 + 1e-6


def test_only_a_multiple_of_the_relation_has_an_inner_product_of_one(relation):
    from interp.heads.statistics import relation_matrix

    matrix = relation_matrix(relation, 6, 6)[:, None].float()
    even = matrix[:1] / matrix[:1].sum(-1, keepdim=True).clamp_min(1)
    one = Relation("r", relation.dest[:1], relation.source[:1], relation.valid[:1])
    assert statistics(3 * matrix[:1], one)[0, 2].item() == pytest.approx(1)
    assert statistics(even, one)[0, 0].item() == pytest.approx(1)  # all mass on sources
    assert statistics(even, one)[0, 2].item() < 0.97  # but rows of two sources have less each
    nothing = Relation("r", one.dest, one.source, torch.zeros_like(one.valid))
    assert statistics(even, nothing).isnan().all()


def test_chance_levels_are_those_of_uniform_rows():
    n = 8
    seen = torch.ones(n, n).tril()
    uniform = (seen / seen.sum(1, keepdim=True)).expand(1, 1, -1, -1)
    rows = torch.arange(1, n)[None]
    found = statistics(uniform, Relation("previous", rows, rows - 1))[0, :, 0]
    share = sum(1 / (row + 1) for row in range(1, n))
    assert found[0].item() == pytest.approx(share / (n - 1))
    assert found[1].item() == pytest.approx(share / (n - 1))
    assert found[2].item() == pytest.approx(share / ((1 + share) ** 0.5 * (n - 1) ** 0.5))
    assert len(STATISTICS) == 3
