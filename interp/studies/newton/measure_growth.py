"""How the residual filters of a net's layers follow one another, checkpoint by checkpoint: doubling against adding.

Owns: which checkpoints are asked, and the paired difference of the two misfits (`probes.doubling`): above 0 the layers
are nearer to squaring r = 1 - f, as steps of Newton's method do, below 0 nearer to multiplying it, as those of gradient
descent do. Prompts and queries are the same at every checkpoint of a net. A difference says which of the two is
nearer, not that either fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from interp.readouts.algorithm_rows import silences
from interp.readouts.algorithms import AlgorithmAccumulator
from interp.readouts.iterates import Posed
from interp.studies.newton.measure import MatchedNet, fed
from probes import doubling
from probes.doubling import FEWEST, Growth
from probes.observations import Observations

SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)  # of the training


def chosen(steps: Sequence[int]) -> list[int]:
    """The checkpoints nearest to `SHARES`, each once.

    >>> chosen([0, 1, 7, 200, 400, 600, 800])
    [200, 400, 600, 800]
    """
    return sorted({min(steps, key=lambda step, at=share * steps[-1]: abs(step - at)) for share in SHARES})


def growths(net: MatchedNet) -> dict[int, Growth | None]:
    """The growth at every checkpoint that is asked; None where fewer than three layers move the filter."""
    memory: list[Observations] = []
    found = {}
    for step in chosen(net.run.steps):
        seen = _blocks(net.accumulator if step == net.run.steps[-1] else _at(net, step), memory)
        growth = doubling.growth(seen, draws=net.draws) if len(seen) >= FEWEST else None
        found[step] = growth if growth and len(growth.layers) >= FEWEST else None
    return found


def difference(growth: Growth) -> float:
    """Misfit of adding less that of doubling, as shares of the layers' outputs."""
    return growth.adding.value - growth.doubling.value


def _at(net: MatchedNet, step: int) -> AlgorithmAccumulator:
    untrained = net.accumulator.untrained
    assert isinstance(untrained, AlgorithmAccumulator)
    settings = net.accumulator.settings.model_copy(update={"weight_prompts": 2})
    return fed(net.run, settings, net.run.model(step), untrained)


def _blocks(accumulator: AlgorithmAccumulator, memory: list[Observations]) -> list[Observations]:
    """What every block answers whose readout beats its controls; `memory` holds what prompts and queries decide."""
    asked, silent = accumulator.questions(), silences(accumulator)
    if not memory:
        posed = Posed(accumulator.own, asked.x, asked.y, asked.basis, (accumulator.context,))
        memory.append(Observations.of(posed.plain, asked.queries, asked.outputs[0]))
    return [
        memory[0].answering(asked.outputs[i])
        for i, site in enumerate(accumulator.sites)
        if site.endswith("hook_resid_post") and site not in silent
    ]
