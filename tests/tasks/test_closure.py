"""The closure simulator against the table measured for this problem, and against its closed forms."""

import random

import pytest

from tasks.errors import UserError
from tasks.theory.closure import bound, earliest_layers, layers_needed

HOPS = [1, 2, 3, 4, 5, 7, 8, 13, 14, 40, 41]
TABLE = [
    ({}, [1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5]),
    ({"causal": True}, [1, 2, 2, 3, 3, 3, 4, 4, 4, 6, 6]),
    ({"layout": "flat"}, [2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5]),
    ({"layout": "flat", "causal": True}, [2, 3, 3, 4, 4, 4, 5, 5, 5, 7, 7]),
    ({"heads": 2}, [1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5]),
]
ONE_HEAD = [1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 6]


def directions(hops):
    return [list(range(1, hops + 1)), list(range(hops, 0, -1))]


@pytest.mark.parametrize(("setting", "row"), TABLE)
def test_table_row_in_either_chain_direction(setting, row):
    for direction in (0, 1):
        got = [layers_needed(hops, order=directions(hops)[direction], **setting) for hops in HOPS]
        assert got == row


def test_unmasked_pairs_meet_the_bound_in_any_order():
    rng = random.Random(0)
    for hops in range(1, 60):
        order = rng.sample(range(1, hops + 1), hops)
        assert layers_needed(hops, order=order) == bound(hops)


def test_closed_forms_of_the_ordered_rows():
    for hops in range(1, 70):
        doubling = hops.bit_length() - 1
        assert layers_needed(hops, causal=True) == doubling + 1
        assert layers_needed(hops, layout="flat", causal=True) == doubling + 2
        flat = layers_needed(hops, layout="flat")
        assert (3 ** (flat - 1) - 1) // 4 < hops <= (3**flat - 1) // 4


@pytest.mark.parametrize(
    ("hops", "low", "high", "best"),
    [(4, 2, 3, [2, 4, 1, 3]), (13, 3, 4, [1, 2, 4, 5, 7, 8, 10, 11, 13, 3, 6, 12, 9])],
)
def test_causal_order_lies_between_the_rows_and_reaches_both(hops, low, high, best):
    rng = random.Random(1)
    orders = [rng.sample(range(1, hops + 1), hops) for _ in range(200)]
    assert {layers_needed(hops, causal=True, order=order) for order in orders} <= set(range(low, high + 1))
    assert layers_needed(hops, causal=True) == high
    assert layers_needed(hops, causal=True, order=best) == low  # both neighbours come before each reader


def test_one_head_doubles_in_order_and_its_ties_depend_on_the_order():
    """The tabulated row has 5 at 14 hops: the greedy choice's ties reach it in some orders, 4 (= doubling) in order."""
    assert [layers_needed(h, heads=1) for h in HOPS] == [h.bit_length() for h in HOPS]
    rng = random.Random(2)
    for hops, tabulated in zip(HOPS, ONE_HEAD, strict=True):
        orders = [rng.sample(range(1, hops + 1), hops) for _ in range(20)]
        assert tabulated in {layers_needed(hops, order=o, heads=1) for o in orders}


def test_earliest_layer_of_every_symbol():
    assert earliest_layers(13) == (0, 1, *[2] * 3, *[3] * 9)
    assert earliest_layers(4, causal=True, order=[4, 3, 2, 1]) == (0, 1, 2, 2, 3)


def test_bad_input_is_one_line():
    for call in (
        lambda: bound(0),
        lambda: layers_needed(3, order=[1, 1, 2]),
        lambda: layers_needed(3, heads=0),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
