"""Cost of a step of single-index SGD: the exact reduced chain beside SGD on d-dimensional weights.

Peer: `interp.studies.single_index.theory_direct` at d = 1000, the same problem and the same 48 replicas, batch 1, four
tokens, exponent 2. Microseconds of processor time a step of all replicas; both draw their own tokens. `ratio` is
the baseline's time over the reduced chain's.

    python -m tests.bench.chains
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable

import numpy as np

from interp.studies.single_index.theory_direct import simulate_net_direct
from probes.stats import Interval
from tasks.links import parse_link
from tasks.theory.escape import Net, UnstableRate
from tasks.theory.reduced import EscapeSetting, simulate_net

REPLICAS, LENGTH, D = 48, 4, 1000


def pace(turns: int = 3, steps: int = 4000, direct_steps: int = 40) -> tuple[Interval, Interval]:
    """Microseconds a step of the reduced chain and of d-dimensional SGD: medians of `turns` with their range.

    A first turn of each, which pays for caches, is not counted.
    """
    net = Net(parse_link("sum(He2(z))/sqrt(2*L)", LENGTH), LENGTH, "relu", tied=True)
    setting = EscapeSetting(D, 0.01, 0.5, 1 / math.sqrt(D))
    conditions: list[tuple[Callable[[], object], int]] = [
        (lambda: simulate_net(net, setting, REPLICAS, steps, 0), steps),
        (lambda: simulate_net_direct(net, setting, REPLICAS, direct_steps, 0), direct_steps),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableRate)
        found = [[_microseconds(job, size) for _ in range(turns + 1)][1:] for job, size in conditions]
    reduced, direct = (Interval(float(np.median(t)), min(t), max(t), turns, "range") for t in found)
    return reduced, direct


def _microseconds(job: Callable[[], object], steps: int) -> float:
    begin = time.process_time()
    job()
    return (time.process_time() - begin) / steps * 1e6


def main() -> None:
    """Print one JSON object."""
    reduced, direct = pace()
    row = {
        "replicas": REPLICAS,
        "tokens": LENGTH,
        "reduced_us": reduced.value,
        "direct_us_at_d_1000": direct.value,
        "ratio": direct.value / reduced.value,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
