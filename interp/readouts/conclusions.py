"""What the tables of linear readouts say: what is decoded beyond controls, and whether it is used."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.analysis.conclusion import (
    MOST_NAMED,
    Sentence,
    at,
    few,
    figures,
    first_middle_last,
    interval,
    limits,
    measured,
)
from interp.pictures.labels import short_site

METRICS = ("accuracy", "r2", "mse")
WORDS = {"accuracy": "accuracy", "r2": "R2", "mse": "error"}
SILENT = "no better than control"
USES = {
    "used": "used",
    "not read": "decoded, but from directions that no later module reads",
    "not used": "decoded and read, but not used as predicted",
    "not decoded": "not decoded",
}


def probe(table: pd.DataFrame) -> list[Sentence]:
    """The readout at the last site of the last checkpoint, against the untrained model."""
    rows = _pooled(table)
    own, before = measured(rows), measured(rows, "untrained")
    own = own.dropna(subset=["value"])
    if own.empty:
        return []
    site = str(own["site"].iloc[-1])
    here = own[own["site"] == site]
    keys = [name for name in ("position", "target") if here[name].nunique() > 1]
    shown = here if len(here) <= MOST_NAMED else here.iloc[first_middle_last(len(here))]
    parts = [f"{_name(row, keys)}{interval(row, '.3g')}{_control(row, before)}" for row in shown.itertuples()]
    found = {k: v for row in shown.itertuples() for k, v in figures(row, str(row.position)).items()}
    what = f"{WORDS[str(here['metric'].iloc[0])]} of a linear readout at {short_site(site)}"
    return [Sentence(f"{at(own)}: held-out {what}: {'; '.join(parts)}.", found)]


def _pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of one metric; of the readout that all output positions share, where there is one."""
    metric = next((name for name in METRICS if (table["metric"] == name).any()), None)
    rows = table[table["metric"] == metric]
    if (rows["readout"] == "all").any():
        rows = rows[rows["readout"] == "all"]
    return rows[rows["position"] == "all"] if (rows["position"] == "all").any() else rows


def _name(row: Any, keys: list[str]) -> str:
    return "".join(f"{getattr(row, key)} " for key in keys)


def _control(row: Any, before: pd.DataFrame) -> str:
    """The untrained model's readout of the same, and whether the intervals are apart."""
    same = before[(before["site"] == row.site) & (before["position"] == row.position)]
    same = same[same["target"].fillna("") == (row.target if isinstance(row.target, str) else "")]
    if same.empty:
        return ""
    other = same.iloc[0]
    (low, high), (least, most) = limits(row), limits(other)
    apart = high < least if row.metric == "mse" else low > most
    worse = "untrained model" if apart else "not distinguished from the untrained model's"
    return f" ({worse} {interval(other, '.3g')})"


def targets(table: pd.DataFrame) -> list[Sentence]:
    """By target the site that decodes it best, mean over its coordinates, and those no better than a control."""
    own = measured(_pooled(table[table["metric"] == "r2"]))
    if own.empty:
        return []
    named = own.assign(group=[_group(str(target)) for target in own["target"]])
    parts, silent, found = [], [], {}
    for group, rows in named.groupby("group", sort=False):
        means = rows.groupby("site", sort=False)["value"].mean()
        best = str(means.idxmax())
        if rows[rows["site"] == best]["note"].fillna("").str.contains(SILENT).all():
            silent.append(str(group))
            continue
        found[str(group)] = float(means[best])
        parts.append(f"{group} best at {short_site(best)}, R2 {means[best]:.2f}")
    rest = f"no better than a control at any site: {few(silent)}" if silent else ""
    return [Sentence(f"{at(own)}: {'; '.join(part for part in (*parts, rest) if part)}.", found)]


def _group(target: str) -> str:
    """`w 3` as `w`, `eigenvalue 0` as `spectrum`, `newton(5)` as `newton`."""
    name = target.split("(")[0] if target.endswith(")") else target.rsplit(" ", 1)[0]
    return "spectrum" if name == "eigenvalue" else name


def causal(table: pd.DataFrame) -> list[Sentence]:
    """Whether the directions that decode each algorithm's iterates are used, by block, at the last checkpoint."""
    own = measured(table)
    own = own[(own["metric"] == "causal slope") & own["use"].isin(list(USES))]
    parts, counts = [], {}
    for algorithm, rows in own.groupby("algorithm", sort=False):
        each = []
        for use, words in USES.items():
            here = rows[rows["use"] == use]
            if len(here):
                counts[f"{algorithm}, {use}"] = float(len(here))
                each.append(f"{words} after {_blocks(here['layer'])}")
        parts.append(f"{algorithm}: {', '.join(each)}")
    if not parts:
        return []
    return [
        Sentence(f"Directions that decode iterates, moved from prompt to prompt: {'; '.join(parts)}.", counts)
    ]


def _blocks(layers: pd.Series) -> str:
    """Blocks by number.

    >>> import pandas as pd
    >>> _blocks(pd.Series([2, 0]))
    'blocks 0, 2'
    """
    numbers = sorted(int(layer) for layer in layers)
    return f"block{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def preconditioners(table: pd.DataFrame) -> list[Sentence]:
    """How far each layer's preconditioner is from a multiple of the identity, at the last checkpoint."""
    own = measured(table)
    rows = own[own["metric"] == "distance to identity"]
    white = own[own["metric"] == "distance to identity, whitened"].set_index("layer")["value"]
    parts = [
        f"layer {row.layer} {row.value:.2f} (whitened {white[row.layer]:.2f})" for row in rows.itertuples()
    ]
    found = {f"layer {row.layer}": float(row.value) for row in rows.itertuples()}
    text = "distance of the preconditioner from a multiple of the identity (0: plain gradient descent)"
    return [Sentence(f"{at(own)}: {text}: {few(parts)}; exact, from the weights.", found)] if parts else []
