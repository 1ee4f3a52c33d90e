"""Simulates the statistic of a rise under autocorrelated noise, for the table that `interp.emergence.rises` reads.

    python -m interp.emergence.rise_null

writes the table again (`interp.emergence.null_quantiles`; two CPU minutes). That is needed after a change of
the shapes or strengths that are fitted; a test simulates some lengths again and compares.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from interp.emergence.null_quantiles import Null, write
from interp.emergence.rises import AT_ONCE, FEWEST, LONGEST, NULLS, autoregression, likelihood_ratios

SIMULATED = 40_000  # the size of 5% is off by a tenth of a percent, either way


def simulated(length: int, strength: float, draws: int, seed: int = 0) -> Float[np.ndarray, " draw"]:
    """Likelihood ratios of noise of one length and strength. `draws`: a multiple of `AT_ONCE`, or fewer."""
    rng = np.random.default_rng([seed, length, round(1000 * strength)])
    sizes = [AT_ONCE] * (draws // AT_ONCE) or [draws]
    return np.concatenate([likelihood_ratios(autoregression(rng, size, length, strength)) for size in sizes])


def main() -> None:
    """Simulate every length and strength, and keep the quantiles."""
    asked = [(length, strength) for length in range(FEWEST, LONGEST + 1) for strength in NULLS]
    write({(length, strength): Null.of(simulated(length, strength, SIMULATED)) for length, strength in asked})


if __name__ == "__main__":
    main()
