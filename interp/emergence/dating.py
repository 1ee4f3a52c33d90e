"""Onsets of any measured curve over checkpoints: edges of a circuit, readouts, curvature, learning coefficients.

Takes long tables with a `step`, dates every curve in them by `interp.emergence.onset`, and gives of each what
the onset estimator gives: when it emerged, that it was transient, or that it had not emerged by the last step.
No replicates go in: the interval is the gap between two checkpoints, and without a threshold a rise is tested
against autocorrelated noise (`interp.emergence.rises`), all curves of a table together (5% shared evenly between
them). Sign: a curve grows with what it measures; `falls` turns it round.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from interp.emergence.onset import onset
from interp.emergence.rises import FALSE_POSITIVES, FEWEST, rise_p_value
from tasks import UserError

EDGE_MATTERS = 0.05  # share of the behaviour that rides on an edge alone
FIGURES = (
    "step",
    "before",
    "ci_low",
    "ci_high",
    "half",
    "width",
    "state",
    "first_rise",
    "first_loss",
    "last",
    "threshold",
)


def date_curves(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    threshold: float | None = None,
    falls: bool = False,
    among: int | None = None,
) -> pd.DataFrame:
    """One row a curve: the columns of `by`, and its onset. `threshold`: a level to pass; None: half of the
    curve's own rise, which is tested as one of `among` curves (those of the table unless given).

    Checkpoints without a value are left out of a curve. Rows without a step (levels, controls) are ignored.
    Raises UserError for an unknown column, or a curve that cannot be dated (named).
    """
    missing = [name for name in (*by, "step", "value") if name not in table]
    if missing:
        raise UserError(f"no column {missing[0]!r} to date curves by: there are {list(table.columns)}")
    sign, rows = -1 if falls else 1, []
    level = None if threshold is None else sign * threshold
    measured = table[table["step"].notna() & table["value"].notna()].sort_values("step", kind="stable")
    curves = measured.groupby(list(by), sort=False)
    among = curves.ngroups if among is None else among
    for key, curve in curves:
        steps, values = curve["step"].astype(int).tolist(), (sign * curve["value"]).tolist()
        tested = level is None and len(values) >= FEWEST
        rises = _rises(values, among) if tested else None
        try:
            found = onset(steps, values, level, rises=rises)
        except UserError as error:
            raise UserError(f"{', '.join(map(str, key))}: {error}") from None
        figures = {name: getattr(found, name) for name in FIGURES}
        rows.append({**dict(zip(by, key, strict=True)), **figures, "threshold": sign * found.threshold})
    numbers = dict.fromkeys((name for name in FIGURES if name != "state"), "float64")
    return pd.DataFrame(rows, columns=[*by, *FIGURES]).astype(numbers)


def _rises(values: list[float], among: int) -> bool:
    """Whether one of `among` curves rises, at its share of the false positives."""
    return rise_p_value(np.array(values)) <= FALSE_POSITIVES / among


def date_edges(
    effects: pd.DataFrame, kept: Collection[tuple[str, str]], threshold: float = EDGE_MATTERS
) -> pd.DataFrame:
    """When each edge of a circuit first carried `threshold` of the behaviour, sustained; earliest first.

    `effects` is the table of `interp.causal.over_training.EdgeEffects`; `kept` the circuit's edges. A
    checkpoint without a behaviour has no edge that matters: its value is 0. Raises UserError for an edge that
    was not measured.
    """
    steps = sorted(effects["step"].dropna().astype(int).unique())
    wide = effects.dropna(subset=["value"]).pivot(
        index="step", columns=["sender", "receiver"], values="value"
    )
    unknown = [edge for edge in kept if edge not in wide.columns]
    if unknown:
        raise UserError(f"edge {' -> '.join(unknown[0])} was not measured at any checkpoint")
    full = wide.reindex(steps).fillna(0.0)[list(kept)]
    long = full.T.stack().rename("value").reset_index()
    found = date_curves(long, ["sender", "receiver"], threshold=threshold)
    return found.sort_values(["step", "first_rise"], kind="stable", ignore_index=True)
