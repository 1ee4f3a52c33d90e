"""In which order things appear, over seeds: hops and roles, not head indices, which permute from seed to
seed.

Input is a table with one row a run and event (`events`): an event is a hop's accuracy, or the first head to
take a role. An event that never emerged is right-censored: later than everything that emerged in its run, tied with the
others that did not; nothing is dropped. Intervals are over seeds: Clopper-Pearson for shares, exact
order statistics for medians (a censored onset counts as larger than any seen), and for Kendall's tau
Clopper-Pearson with the sum of (1 + tau) / 2 for the number of successes (a variable in [0, 1] varies at most
as much as a coin of the same mean).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.signal import find_peaks
from scipy.special import betainc, betaincinv

from interp.emergence.curves import log_time
from interp.heads.roles import role_of
from probes.stats import Interval, median, share
from tasks import UserError

LEVEL = 0.95
LEAST_DROP = 0.1


def events(onsets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Onset tables of several runs (by run name) as one row a run and event: run, event, step, last.

    A role's onset is that of its first head that keeps it; a role that no head ever took in a run is censored
    there as soon as some other run has it. Raises UserError when there is no run, or one without checkpoints.
    """
    if not onsets:
        raise UserError("no runs to compare: give at least one")
    parts = []
    for run, table in onsets.items():
        if table.empty:
            raise UserError(
                f"{run}: has no onset table to compare; measure it first (interp emergence {run})"
            )
        heads = table["head"].fillna(-1) >= 0
        event = table["subject"].where(~heads, table["metric"].map(role_of))
        first = table.assign(event=event).groupby("event", sort=False).agg({"step": "min", "last": "max"})
        parts.append(first.reset_index().assign(run=run))
    found = pd.concat(parts, ignore_index=True)
    lasts = found.groupby("run", sort=False)["last"].max()
    every = pd.MultiIndex.from_product(
        [lasts.index, list(dict.fromkeys(found["event"]))], names=["run", "event"]
    )
    full = found.set_index(["run", "event"]).reindex(every).reset_index()
    full["last"] = full["run"].map(lasts)
    return full[["run", "event", "step", "last"]].astype({"step": "float64", "last": "float64"})


def _steps(table: pd.DataFrame, names: Sequence[str]) -> Float[np.ndarray, "run event"]:
    """Onsets, infinity where censored. Raises UserError for an unknown event."""
    known = list(dict.fromkeys(table["event"]))
    for name in names:
        if name not in known:
            raise UserError(f"no run has an event {name!r}: there are {known}")
    wide = table.pivot(index="run", columns="event", values="step")[list(names)]
    return wide.to_numpy(dtype=float, na_value=math.inf)


def kendall(steps: Sequence[float | int]) -> float:
    """Kendall's tau of onsets with the order in which they are given; pairs that tie (both censored, same
    checkpoint) count 0. Range [-1, 1], 0 for a random order.

    >>> kendall([100, 300, 200])
    0.3333333333333333

    Raises UserError for fewer than two events.
    """
    pairs = list(combinations(steps, 2))
    if not pairs:
        raise UserError("an order needs at least two events")
    return sum((a < b) - (a > b) for a, b in pairs) / len(pairs)


def mean_tau(taus: Sequence[float | int], level: float = LEVEL) -> Interval:
    """Mean tau over seeds with its interval. Raises UserError without seeds."""
    if not len(taus):
        raise UserError("no seeds: an interval needs at least one")
    n, hits, tail = len(taus), sum((1 + tau) / 2 for tau in taus), (1 - level) / 2
    low = 0.0 if hits <= 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits >= n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(float(np.mean(taus)), 2 * low - 1, 2 * high - 1, n, "Clopper-Pearson on (1 + tau) / 2")


def order(table: pd.DataFrame, canonical: Sequence[str]) -> pd.DataFrame:
    """How firmly runs keep to an order: mean tau, share of runs strictly in it, share with every event.

    A run in which an event is censored is strictly in order only if it is the last one alone. One row a
    metric, with its interval over runs. Raises UserError for an unknown event.
    """
    steps = _steps(table, canonical)
    strict = sum(all(a < b for a, b in pairwise(row)) for row in steps)
    whole = int(np.isfinite(steps).all(1).sum())
    found = {
        "kendall tau": mean_tau([kendall(row) for row in steps.tolist()]),
        "strictly in order": share(strict, len(steps)),
        "every event emerged": share(whole, len(steps)),
    }
    return pd.DataFrame(
        [{"metric": name, "order": " < ".join(canonical), **i.row()} for name, i in found.items()]
    )


def precedence(table: pd.DataFrame, names: Sequence[str] | None = None) -> pd.DataFrame:
    """For each pair of events: in how many runs `first` came before `second`, after it, or with it (tied).

    `posterior` is the probability that `first` precedes `second` in more than half of all seeds in which they
    do not tie, from a uniform prior: near 1 or 0 the order is settled, near 0.5 it is not.
    """
    names = list(dict.fromkeys(table["event"])) if names is None else list(names)
    steps = _steps(table, names)
    rows = []
    for i, j in combinations(range(len(names)), 2):
        before, after = int((steps[:, i] < steps[:, j]).sum()), int((steps[:, i] > steps[:, j]).sum())
        posterior = 1 - float(betainc(1 + before, 1 + after, 0.5))
        rows.append(
            {"first": names[i], "second": names[j], "before": before, "after": after,
             "tied": len(steps) - before - after, "posterior": posterior, "n": len(steps)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def lead_time(table: pd.DataFrame, head: str, hop: str) -> Interval:
    """Median over runs of hop onset minus head onset, in steps; positive: the head comes first.

    A run in which only the hop is censored has a lead larger than any seen, one in which only the head is
    censored a smaller one (both as infinities, which may be a confidence limit); runs with neither
    have no lead and are left out of `n`. Raises UserError when no run has either.
    """
    steps = _steps(table, [head, hop])
    steps = steps[np.isfinite(steps).any(1)]
    if not len(steps):
        raise UserError(f"no run has {head!r} or {hop!r}: there is no lead to measure")
    return censored_median(steps[:, 1] - steps[:, 0])


def censored_median(values: Float[np.ndarray, " run"]) -> Interval:
    """Median with exact order statistics where some values are infinite: taken on ranks, then read back."""
    ordered = np.sort(values)
    ranks = median(np.arange(len(values)))

    def at(rank: float) -> float:
        below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        return float(below) if below == above else float((below + above) / 2)

    return Interval(at(ranks.value), at(ranks.low), at(ranks.high), ranks.n, ranks.method)


def survival(table: pd.DataFrame, event: str) -> pd.DataFrame:
    """Share of runs in which an event has emerged by each step at which it did in some run, with
    Clopper-Pearson.

    Runs with other budgets are compared up to the shortest one, within which all of them were watched;
    `budget` holds that length.
    """
    steps = _steps(table, [event])[:, 0]
    budget = int(table["last"].min())
    times = sorted({0.0, *steps[steps <= budget].tolist(), float(budget)})
    rows = [
        {"event": event, "step": int(t), **share(int((steps <= t).sum()), len(steps)).row()} for t in times
    ]
    return pd.DataFrame(rows).assign(budget=budget)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Median onset of every event over runs with its interval (infinite: not in so many runs), and how many
    are censored.
    """
    names = list(dict.fromkeys(table["event"]))
    steps = _steps(table, names)
    rows = []
    for i, name in enumerate(names):
        found = censored_median(steps[:, i])
        censored = int(np.isinf(steps[:, i]).sum())
        rows.append({"event": name, **found.row(), "method": found.method, "censored": censored})
    return pd.DataFrame(rows)


def drops(steps: Sequence[int], losses: Sequence[float | int], least: float = LEAST_DROP) -> list[int]:
    """Steps of a loss curve's separate drops: peaks of its rate of fall per unit of log(1 + step).

    A peak counts when it stands out from its surroundings by at least `least` of the highest one (smaller
    wiggles are noise or parts of a larger drop). None for a loss that does not fall. Raises UserError for
    fewer than 5 points.
    """
    if len(steps) < 5 or len(steps) != len(losses):
        raise UserError(f"drops need at least 5 losses with their steps, got {len(losses)} and {len(steps)}")
    time, y = log_time(steps), np.asarray(losses, dtype=float)
    even = np.linspace(time[0], time[-1], 400)
    smooth = np.convolve(
        np.pad(np.interp(even, time, y), 8, mode="edge"), np.hanning(17) / np.hanning(17).sum(), "valid"
    )
    rate = np.maximum(-np.gradient(smooth, even), 0)
    if rate.max() <= 1e-12 * (np.abs(y).max() + 1e-300):
        return []
    peaks, _ = find_peaks(np.pad(rate, 1), prominence=least * rate.max())
    return [round(float(np.expm1(even[min(p - 1, 399)]))) for p in peaks]
