"""Peers on identical weights: where both define the same number it is the same; run where their environment is."""

import pytest

from tests.peers import compare
from tests.peers.material import trained, write
from tests.peers.run import ENVIRONMENT, HERE, PEERS, absent, page, rows_of


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    place = tmp_path_factory.mktemp("peers")
    at = trained(place / "net")
    write(at, place / "small")
    return at, place / "small"


HERE_OR_NOT = [
    pytest.param(peer, marks=pytest.mark.skipif(bool(absent(peer)), reason=absent(peer) or "it is here"))
    for peer in PEERS
]


@pytest.mark.parametrize("peer", HERE_OR_NOT)
def test_numbers_of_a_peer_are_ours(peer, given):
    rows = rows_of(peer, *given)
    assert [row for row in rows if row.holds is False] == []
    assert sum(row.holds is True for row in rows) >= 2
    assert all(row.note for row in rows if row.holds is None), "a difference is explained"


def test_a_difference_is_found():
    scores = {("embed", "output"): 1.0, ("L0H0", "output"): -2.0}
    assert compare.edges_row("a", "b", scores, dict(scores)).holds
    assert not compare.edges_row("a", "b", {**scores, ("L0H0", "output"): -2.001}, scores).holds
    with pytest.raises(ValueError, match="edges differ"):
        compare.edges_row("a", "b", {("embed", "output"): 1.0}, scores)
    assert compare.kept_row("a", "b", {("embed", "output")}, set(scores), 2).apart == 1
    assert not compare.apart_row("a", "b", [1.0, 1.1, 0.9], [2.0, 2.1, 1.9], "").holds


def test_the_page_says_what_was_not_run(monkeypatch):
    monkeypatch.setattr("tests.peers.run.ENVIRONMENT", ENVIRONMENT / "nowhere")
    missing = [absent(peer) for peer in PEERS]
    assert all("make peers" in why for why in missing)
    row = compare.numbers_row("a", "b", [1.0, 2.0], [1.0, 2.0])
    assert "Not run: devinterp" in page([row, row.other], {"torch": "2"}, missing)
    pinned = [
        line for line in (HERE / "environment.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert all("==" in line for line in pinned)
    assert not any(line.startswith("torch==") for line in pinned), "torch is this project's"
