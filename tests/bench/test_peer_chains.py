"""devinterp's chains are a row where they can be run, and named as not run where they cannot."""

from __future__ import annotations

import sys

from tests.bench import estimates, peer_chains


def test_without_the_peer_the_row_says_so(monkeypatch, tmp_path) -> None:
    before = list(sys.path)
    assert not peer_chains.installed(tmp_path)
    assert sys.path == before
    monkeypatch.setattr(peer_chains, "installed", lambda: False)
    monkeypatch.setattr(estimates, "compare", lambda name, *arms, **more: (name, len(arms), more["note"]))
    monkeypatch.setattr(estimates, "flop_of", lambda work: 0.0)
    ((name, arms, note),) = estimates.coefficient_rows(quick=True)
    assert "learning coefficient" in name
    assert arms == 2
    assert "make peers" in note


def test_a_folder_that_holds_the_package_is_looked_into_last(monkeypatch, tmp_path) -> None:
    (tmp_path / "devinterp" / "optim").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", ["first", "second"])
    assert peer_chains.installed(tmp_path)
    assert sys.path == ["first", "second", str(tmp_path)]
