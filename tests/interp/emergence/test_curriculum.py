"""Order over seeds: exact on hand-made tables, intervals that cover, censored events counted."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, kendalltau

from interp.emergence.curriculum import (
    censored_median,
    drops,
    events,
    kendall,
    lead_time,
    mean_tau,
    order,
    over_seeds,
    precedence,
    survival,
)
from probes.stats import share
from tasks import UserError

HOPS = ("hop 1", "hop 2", "hop 3")


def _run(hops: list[float | None], heads: dict[str, float] | None = None, last: int = 1000) -> pd.DataFrame:
    rows = [
        {"subject": f"hop {k + 1}", "metric": "accuracy", "head": None, "step": step, "last": last}
        for k, step in enumerate(hops)
    ]
    for i, (metric, step) in enumerate((heads or {}).items()):
        rows.append({"subject": f"L0H{i}", "metric": metric, "head": i, "step": step, "last": last})
    return pd.DataFrame(rows).astype({"step": "Int64", "head": "Int64"})


def _seeds(*hops: list[float | None]) -> pd.DataFrame:
    return events({f"seed {i}": _run(list(row)) for i, row in enumerate(hops)})


def test_eight_ordered_seeds_have_the_stated_interval() -> None:
    table = order(_seeds(*[[100, 200, 300]] * 8), HOPS).set_index("metric")
    strict = table.loc["strictly in order"]
    assert (strict["value"], strict["ci_high"]) == (1, 1)
    assert strict["ci_low"] == pytest.approx(0.63, abs=0.005)
    assert table.loc["kendall tau", "ci_low"] == pytest.approx(2 * strict["ci_low"] - 1)


def test_tau_without_ties_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        steps = rng.permutation(6).tolist()
        assert kendall(steps) == pytest.approx(kendalltau(range(6), steps).statistic)


def test_censored_events_come_last_and_tie_among_themselves() -> None:
    table = _seeds([100, 200, None], [100, None, None], [None, 100, 200])
    assert len(table) == 9
    found = order(table, HOPS).set_index("metric")
    assert found.loc["strictly in order", "value"] == pytest.approx(1 / 3)
    assert found.loc["every event emerged", "value"] == 0
    assert found.loc["kendall tau", "value"] == pytest.approx(np.mean([1, 2 / 3, -1 / 3]))


def test_interval_of_tau_covers_for_random_orders_of_few_seeds() -> None:
    rng = np.random.default_rng(1)
    truth = 0.0
    covered = 0
    for _ in range(400):
        found = mean_tau([kendall(rng.permutation(3).tolist()) for _ in range(5)])
        covered += found.low <= truth <= found.high
    assert share(covered, 400).high >= 0.95


def test_precedence_has_the_posterior_of_a_coin() -> None:
    table = precedence(_seeds(*[[100, 200, 200]] * 5, [300, 200, None]), HOPS).set_index(["first", "second"])
    first = table.loc[("hop 1", "hop 2")]
    assert (first["before"], first["after"], first["tied"]) == (5, 1, 0)
    assert first["posterior"] == pytest.approx(beta(6, 2).sf(0.5))
    assert table.loc[("hop 2", "hop 3"), "tied"] == 5
    silent = precedence(_seeds([100, 200, 200], [200, 100, 300]), HOPS[:2])
    assert silent["posterior"].iloc[0] == pytest.approx(0.5)


def test_heads_permute_between_seeds_and_roles_do_not() -> None:
    runs = {
        "a": _run([100, 300], {"query -> link_1": 90, "link_1 -> link_2": 200}),
        "b": _run([100, 300], {"rival link -> next": 220, "query -> link_1": 80, "link_2 -> link_3": 250}),
        "c": _run([100, None]),
    }
    table = events(runs).set_index(["run", "event"])["step"]
    assert table["a", "link_k -> link_k+1"] == 200
    assert table["b", "link_k -> link_k+1"] == 220
    assert table.isna()["c", "link_k -> link_k+1"]
    lead = lead_time(events(runs), "query -> link_1", "hop 1")
    assert (lead.value, lead.low, lead.high, lead.n) == (10, -math.inf, 20, 3)


def test_medians_of_censored_onsets() -> None:
    found = censored_median(np.array([100.0, 200.0, math.inf]))
    assert (found.value, found.low, found.high, found.method) == (200, 100, math.inf, "range")
    table = over_seeds(_seeds([100, None, None], [200, 300, None]))
    assert table["censored"].tolist() == [0, 1, 2]
    assert table["value"].tolist() == [150, math.inf, math.inf]


def test_survival_counts_every_run_up_to_the_shortest_budget() -> None:
    runs = {"a": _run([100]), "b": _run([400]), "c": _run([None]), "d": _run([900], last=500)}
    table = survival(events(runs), "hop 1")
    assert table["step"].tolist() == [0, 100, 400, 500]
    assert table["value"].tolist() == [0, 0.25, 0.5, 0.5]
    assert set(table["n"]) == {4}
    assert set(table["budget"]) == {500}


def test_drops_of_a_staircase_are_found_and_a_flat_loss_has_none() -> None:
    steps = list(range(0, 3000, 20))
    time = np.log1p(steps)
    at = (100, 400, 1500)
    stairs = 3 - sum(1 / (1 + np.exp(-(time - np.log1p(a)) / 0.08)) for a in at)
    found = drops(steps, (stairs + 0.003 * np.random.default_rng(0).standard_normal(len(steps))).tolist())
    assert len(found) == 3
    assert found == pytest.approx(at, rel=0.1)
    assert drops(steps, [2.0] * len(steps)) == []
    assert drops(steps, np.linspace(0, 1, len(steps)).tolist()) == []
    one = drops(steps, (3 - 1 / (1 + np.exp(-(time - np.log1p(300)) / 0.1))).tolist())
    assert one == pytest.approx([300], rel=0.05)


def test_bad_requests() -> None:
    with pytest.raises(UserError, match="no runs"):
        events({})
    with pytest.raises(UserError, match="b: has no onset table"):
        events({"a": _run([1]), "b": _run([1]).iloc[:0]})
    with pytest.raises(UserError, match="no run has an event 'hop 9'"):
        order(_seeds([1, 2]), ["hop 1", "hop 9"])
    with pytest.raises(UserError, match="at least two events"):
        kendall([1])
    with pytest.raises(UserError, match="at least 5"):
        drops([0, 1], [1.0, 0.0])
