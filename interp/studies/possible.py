"""What the figure of a claim can be at all, by its unit: least and largest possible value.

Intervals over seeds stay inside (`probes.stats.over_seeds`), and so do the simulations behind a criterion's power.
Every unit of a mean over seeds is listed, those without bounds too, so that a new one is thought about.
"""

from __future__ import annotations

import math

from tasks.errors import UserError

Bounds = tuple[float, float]
NONE: Bounds = (-math.inf, math.inf)
UNITS: dict[Bounds, tuple[str, ...]] = {
    (0.0, 1.0): (
        "accuracy of hop 1", "accuracy of hop 2", "accuracy of hop 3", "share of argmax", "share of layers",
        "share of names copied", "share of |w|^2 outside", "rank-one share of |nG|^2",
        "attention on the previous token", "attention on successors",
    ),
    (-1.0, 1.0): (
        "SimE", "SimE to OLS, widest net", "SimW to OLS", "best SimW of the first layer", "cosine",
        "correlation of logs", "accuracy - chance, 1 hop", "accuracy - chance, 2 hops", "generated - chance, 1 hop",
        "accuracy, fewest - most hops", "gain in accuracy of hop 2",
    ),
    (-2.0, 2.0): ("SimE Newton - GD", "SimE linear - net", "SimW at t = d minus at its sides"),
    (-math.inf, 1.0): ("R2 of a line",),
    (0.0, math.inf): (
        "GD steps of the largest gain", "R_SGD / R_Adam", "best Newton step", "error / label variance",
        "error ratio last / first layer", "error ratio narrowest / widest, t > d", "error ratio oldest / newest",
        "error ratio, n to 2n over t = n", "error ratio, t > d", "excess as a share of L*",
        "largest Dist of S^1/2 A S^1/2", "largest Dist of an A or B", "largest ratio of neighbouring layers",
        "loss / closed form", "loss / minimum", "loss after / before", "loss ratio", "loss ratio SGD / sign",
        "onset of hop 2 / onset of hop 1", "ratio of best steps", "ratio of median u'Hu", "ratio of medians",
        "ratio of q99/median", "ratio of slopes", "ratio of slopes, full / half depth", "relative error of G",
        "KL to the bigram, nats", "distance to dMMSE / to ridge", "distance to ridge / to dMMSE",
        "distance to ridge, end / least before", "doublings of the pool", "loss / loss of dMMSE, fresh tasks",
        "loss / loss of ridge, fresh tasks", "loss / loss of ridge, pool tasks", "onset of the bigram / usual",
        "share of |nG|", "smallest Dist of A", "worst relative error", "|b_x||a_y| / |nG|", "|tr G|/d over 1/(n+d+1)",
    ),
    NONE: (
        "causal slope, mean of layers", "doublings a layer", "eta / closed form", "exponent of L",
        "largest share not linear", "log distance ratio a doubling", "log2 of the pool at the threshold",
        "log-log slope", "misfit of adding - of doubling", "order of convergence", "share of the loss gap",
        "share of the loss gap, less random heads'", "share of the mean gain", "share of the steepest log gain",
        "slope", "slope Newton - GD", "slope of log loss ratio on log L", "step / closed form", "steps a layer",
    ),
}  # fmt: skip
_BY_UNIT = {unit: bounds for bounds, units in UNITS.items() for unit in units}


def possible(unit: str) -> Bounds:
    """Least and largest possible value of figures of a unit. Raises UserError for one that is not listed."""
    if unit not in _BY_UNIT:
        raise UserError(f"unit {unit!r} of a mean over seeds: list its bounds in interp.studies.possible")
    return _BY_UNIT[unit]
