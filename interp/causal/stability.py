"""Whether a search finds the same circuit on other prompts: the overlap of what it finds.

Overlap is Jaccard's: edges shared over edges in either, averaged over pairs of circuits; 1 is the same circuit
every time. Where heads stand in for each other a low overlap does not make any one of the circuits wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from interp.causal.circuits import Circuit, find_circuit
from interp.hooks.protocol import HookedModel
from tasks.base import Task
from tasks.errors import UserError


def jaccard(circuits: Sequence[Circuit]) -> float:
    """Mean overlap of every two circuits: shared edges over all edges of either (two empty ones agree: 1).

    Raises UserError for fewer than two.
    """
    if len(circuits) < 2:
        raise UserError("an overlap needs at least two circuits")
    pairs = [(set(a.edges), set(b.edges)) for a, b in itertools.combinations(circuits, 2)]
    return sum(len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs) / len(pairs)


def stability(
    model: HookedModel, task: Task, seeds: Iterable[int], **settings: Any
) -> tuple[list[Circuit], float]:
    """Circuits found on the prompts of several seeds, and their mean Jaccard overlap. `settings` as in
    find_circuit.
    """
    circuits = [find_circuit(model, task, seed=seed, **settings) for seed in seeds]
    return circuits, jaccard(circuits)
