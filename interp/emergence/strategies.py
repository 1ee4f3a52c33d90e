"""Onset, hand-over and loss of strategies over training: which predictor leads the model's outputs at which step.

Owns the stages that the table of "strategies" (`interp.readouts.strategies`) gives. A strategy leads a checkpoint where
the lower confidence limit of its weight is above one half and what the mixture leaves is significantly below half of
the candidates' mean square: outputs that are none of the candidates have no leader. Both limits are simultaneous over
the checkpoints and distributions of the table (Bonferroni: a limit is moved out by the ratio of Student's quantiles).
A stage is the longest stretch of its checkpoints; one that ends before the last checkpoint is transient. Steps are
known up to the gap between checkpoints, which is the interval of an onset and of a loss; checkpoints at which no
strategy leads belong to none.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from probes.interval import LEVEL

LEADS = 0.5
COLUMNS = [
    "distribution", "strategy", "step", "ci_low", "ci_high", "lost", "state", "weight", "rival", "rival weight",
    "unexplained", "mean weight", "mean rival", "mean rival weight",
]  # fmt: skip


def leaders(table: pd.DataFrame, distribution: str) -> list[tuple[int, str]]:
    """The leading strategy at every checkpoint of a distribution, "" where there is none, in order."""
    rows = table[(table["distribution"] == distribution) & (table["metric"] == "weight")]
    tests = table.loc[table["metric"] == "weight", ["step", "distribution"]].drop_duplicates().dropna()
    left = table[(table["distribution"] == distribution) & (table["metric"] == "residual")]
    most = pd.Series(simultaneous(left, "ci_high", len(tests)).to_numpy(), left["step"])
    least = simultaneous(rows, "ci_low", len(tests))
    found = []
    for step, part in rows.groupby("step", sort=True):
        above = part[(least[part.index] > LEADS) & (most.get(step, float("nan")) < LEADS)]
        found.append((int(step), str(above["strategy"].iloc[0]) if len(above) else ""))  # type: ignore[arg-type]
    return found


def simultaneous(rows: pd.DataFrame, limit: str, tests: int) -> pd.Series:
    """Limits (column "ci_low" or "ci_high") that hold for `tests` intervals together at the level of each alone."""
    tail, degrees = (1 - LEVEL) / 2, rows["n"] - 1
    wider = stdtrit(degrees, 1 - tail / max(tests, 1)) / stdtrit(degrees, 1 - tail)
    return rows["value"] + (rows[limit] - rows["value"]) * wider


def stages(table: pd.DataFrame) -> pd.DataFrame:
    """One row a stage, in order: strategy, first step with the interval of its onset, the step at which it had lost
    the lead (missing while it leads), "sustained" or "transient"; at the stage's end its weight, the strategy of the
    next largest weight (`rival`), and the share unexplained; over its checkpoints its mean weight and the next
    largest one.
    """
    rows = []
    for distribution in _distributions(table):
        led = leaders(table, distribution)
        steps = [step for step, _ in led]
        for name, part in groupby(range(len(led)), key=lambda i: led[i][1]):
            places = list(part)
            if name:
                rows.append(_stage(table, distribution, name, steps, places))
    return pd.DataFrame(rows, columns=COLUMNS)


def _stage(
    table: pd.DataFrame, distribution: str, name: str, steps: list[int], places: list[int]
) -> dict[str, object]:
    first, last = places[0], places[-1]
    ends = last + 1 == len(steps)
    at = table[(table["distribution"] == distribution) & (table["step"] == steps[last])]
    weights = at[at["metric"] == "weight"].set_index("strategy")["value"]
    others = weights.drop(name)
    left = at[at["metric"] == "unexplained"]["value"]
    within = table[
        (table["distribution"] == distribution)
        & (table["metric"] == "weight")
        & table["step"].isin(steps[first : last + 1])
    ]
    means = within.groupby("strategy")["value"].mean()
    beside = means.drop(name)
    return {
        "distribution": distribution, "strategy": name, "step": steps[first],
        "ci_low": steps[first - 1] if first else steps[0], "ci_high": steps[first],
        "lost": float("nan") if ends else float(steps[last + 1]), "state": "sustained" if ends else "transient",
        "weight": float(weights[name]), "rival": str(others.idxmax()), "rival weight": float(others.max()),
        "unexplained": float(left.iloc[0]),
        "mean weight": float(means[name]), "mean rival": str(beside.idxmax()), "mean rival weight": float(beside.max()),
    }  # fmt: skip


def _distributions(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table.loc[table["metric"] == "weight", "distribution"]))


def sentences(table: pd.DataFrame) -> list[str]:
    """What the table says, a sentence a distribution: the stages in order, and what the last one leaves unexplained."""
    found = stages(table)
    said = []
    for distribution in _distributions(table):
        rows = found[found["distribution"] == distribution]
        where = "" if distribution == "own" else f"On {distribution}: "
        steps = table.loc[table["distribution"] == distribution, "step"].dropna().unique()
        once = len(steps) == 1
        when = f"at step {steps[0]:.0f} " if once else ""
        if rows.empty:
            leads = f"no strategy leads {when.strip() or 'at any checkpoint'}"
            text = f"{leads} (lower confidence limit of a weight above one half)"
        else:
            parts = [_followed(row) if once else _part(row) for row in rows.to_dict("records")]
            text = f"{when}outputs follow " + ", then ".join(parts)
            last = rows.iloc[-1]
            if last["state"] == "sustained":
                text += f"; {last['unexplained']:.1%} of the outputs remain unexplained"
        notes = sorted({str(n) for n in _notes(table, distribution)} - {"", "nan", "None"})
        sentence = f"{where}{text}" + (f" ({'; '.join(notes)})" if notes else "") + "."
        said.append(sentence[0].upper() + sentence[1:])
    return said


def _followed(row: dict[str, Any]) -> str:
    """The leader of a single checkpoint."""
    return (
        f"{row['strategy']} (weight {row['weight']:.2f} against {row['rival weight']:.2f} of {row['rival']})"
    )


def _part(row: dict[str, Any]) -> str:
    """A stage: where it begins, and its weight while it lasts, or at the last checkpoint."""
    low, step = row["ci_low"], row["step"]
    onset = f"onset between {low} and {step}" if low != step else ""
    begins = f"{row['strategy']} from step {step}"
    if row["state"] == "transient":
        other = f"{row['mean rival weight']:.2f} of {row['mean rival']}"
        mean = f"mean weight there {row['mean weight']:.2f} against {other}"
        return f"{begins}{f' ({onset})' if onset else ''} until step {row['lost']:.0f} (transient; {mean})"
    against = (
        f"weight {row['weight']:.2f} against {row['rival weight']:.2f} of {row['rival']} at the last step"
    )
    return f"{begins} ({f'{onset}; ' if onset else ''}{against})"


def _notes(table: pd.DataFrame, distribution: str) -> list[object]:
    rows = table[(table["distribution"] == distribution) & (table["metric"] == "separation")]
    return list(rows.get("note", pd.Series(dtype=object)).dropna().unique())
