"""What the tables of the loss landscape say: sharpness, condition number, learning coefficient, tail of the noise."""

from __future__ import annotations

import math

import pandas as pd

from interp.analysis.conclusion import Sentence, at, figures, interval, measured

LLC, TAIL = "local learning coefficient", "noise q99 / median"


def landscape(table: pd.DataFrame) -> list[Sentence]:
    """Curvature, with noise and learning coefficient where they were measured along with it."""
    return [*curvature(table), *noise(table), *llc(table)]


def curvature(table: pd.DataFrame) -> list[Sentence]:
    """Sharpness and condition number at the last checkpoint, against the first; figures of one batch, no intervals."""
    rows = table[table["metric"].isin(["loss", "gradient norm", "sharpness"]) | _conditions(table)]
    own = rows[rows["step"] == rows["step"].max()]
    if own.empty:
        return []
    first = rows[rows["step"] == rows["step"].min()].set_index("metric")["value"]
    found, parts = {}, []
    for row in own.dropna(subset=["value"]).itertuples():
        found[str(row.metric)] = float(row.value)
        before = first.get(row.metric, math.nan)
        since = (
            "" if len(rows["step"].unique()) < 2 or math.isnan(before) else f" ({before:.3g} at the first)"
        )
        parts.append(f"{row.metric} {row.value:.3g}{since}")
    return [Sentence(f"{at(own)}: {', '.join(parts)}; on one batch, without an interval.", found)]


def _conditions(table: pd.DataFrame) -> pd.Series:
    return table["metric"].astype(str).str.startswith("robust condition")


def llc(table: pd.DataFrame) -> list[Sentence]:
    """The learning coefficient at the last checkpoint that has one, and how many were rejected."""
    rows = table[table["metric"] == LLC]
    if rows.empty:
        return []
    rejected, known = rows[rows["value"].isna()], rows.dropna(subset=["value"])
    found = {"checkpoints": float(len(rows)), "rejected": float(len(rejected))}
    if known.empty:
        why = str(rejected["note"].iloc[-1])
        return [Sentence(f"No learning coefficient at {len(rows)} of {len(rows)} checkpoints: {why}.", found)]
    row = known.loc[known["step"].idxmax()]
    text = f"{at(known)}: local learning coefficient {interval(row, '.3g')}, effective parameters at gamma "
    text += f"{row['gamma']:g} and step {row['step_size']:g} (interval over {row['n']:.0f} chains)"
    more = f"; chains of {len(rejected)} of {len(rows)} checkpoints were rejected" if len(rejected) else ""
    return [Sentence(f"{text}{more}.", {**found, **figures(row, "llc")})]


def noise(table: pd.DataFrame) -> list[Sentence]:
    """The ratio of quantiles of the gradient noise; without an upper limit where there are too few draws."""
    own = measured(table[table["metric"] == TAIL])
    if own.empty:
        return []
    row = own.iloc[0]
    high = f"{row['ci_high']:.3g}" if math.isfinite(row["ci_high"]) else "no upper limit at so few draws"
    text = f"gradient noise: 99% quantile {row['value']:.3g} [{row['ci_low']:.3g}, {high}] times the median"
    return [Sentence(f"{at(own)}: {text}, over {row['n']:.0f} batches.", figures(row, "noise"))]


def sweep(table: pd.DataFrame) -> list[Sentence]:
    """How far the learning coefficient depends on gamma and step size."""
    own = table[table["step"] == table["step"].max()]
    known = own.dropna(subset=["value"])
    if known.empty:
        return [
            Sentence(
                f"{at(own)}: chains were rejected at each of {len(own)} settings.",
                {"settings": float(len(own))},
            )
        ]
    low, high = float(known["value"].min()), float(known["value"].max())
    text = (
        f"the local learning coefficient is {low:.3g} to {high:.3g} over {len(known)} of {len(own)} settings"
    )
    rest = "; the others were rejected" if len(known) < len(own) else ""
    return [Sentence(f"{at(own)}: {text}{rest}.", {"lowest": low, "highest": high})]
