"""What layers carry, from tensors alone: readouts, matching, filters, verdicts, and the one set of intervals.

Knows no run and no hook: tensors go in, tables and intervals come out.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.lazy import lazy

if TYPE_CHECKING:
    from probes.algorithms.iterates import Algorithm, coefficients, predictions, weights
    from probes.algorithms.problems import Problems
    from probes.contrast import ContrastConfig
    from probes.decode import Decoder
    from probes.doubling import Growth, growth
    from probes.filters import Evidence, FilterConfig, judge, weigh
    from probes.induced import Induced, induced_weights, label_nonlinearity, probe_inputs
    from probes.interval import Interval, Intervals
    from probes.matching import Match, Similarities
    from probes.observations import Observations
    from probes.readout import Readout, ReadoutConfig
    from probes.seeds import median, over_seeds, share, student
    from probes.stats import bootstrap, mean, paired, ratio, shares
    from probes.targets import regression_targets
    from probes.verdict import Verdict, decide

_HOMES = {
    "algorithms.iterates": ("Algorithm", "coefficients", "predictions", "weights"),
    "algorithms.problems": ("Problems",),
    "contrast": ("ContrastConfig",),
    "decode": ("Decoder",),
    "doubling": ("Growth", "growth"),
    "filters": ("Evidence", "FilterConfig", "judge", "weigh"),
    "induced": ("Induced", "induced_weights", "label_nonlinearity", "probe_inputs"),
    "interval": ("Interval", "Intervals"),
    "matching": ("Match", "Similarities"),
    "observations": ("Observations",),
    "readout": ("Readout", "ReadoutConfig"),
    "seeds": ("median", "over_seeds", "share", "student"),
    "stats": ("bootstrap", "mean", "paired", "ratio", "shares"),
    "targets": ("regression_targets",),
    "verdict": ("Verdict", "decide"),
}
__all__ = [
    "Algorithm",
    "ContrastConfig",
    "Decoder",
    "Evidence",
    "FilterConfig",
    "Growth",
    "Induced",
    "Interval",
    "Intervals",
    "Match",
    "Observations",
    "Problems",
    "Readout",
    "ReadoutConfig",
    "Similarities",
    "Verdict",
    "bootstrap",
    "coefficients",
    "decide",
    "growth",
    "induced_weights",
    "judge",
    "label_nonlinearity",
    "mean",
    "median",
    "over_seeds",
    "paired",
    "predictions",
    "probe_inputs",
    "ratio",
    "regression_targets",
    "share",
    "shares",
    "student",
    "weigh",
    "weights",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
