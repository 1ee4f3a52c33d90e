"""Whether a search finds the same circuit on other prompts: the overlap of what it finds, beside that of chance.

Overlap is Jaccard's: edges shared over edges in either, averaged over pairs of circuits; 1 is the same circuit
every time. Large circuits overlap by chance: `interp.causal.random_circuits.chance_overlap` says how much. Where heads
stand in for each other a low overlap does not make any one of the circuits wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from interp.causal.circuit import Circuit
from interp.causal.circuits import find_circuit
from interp.causal.graph import edges
from interp.causal.random_circuits import chance_overlap, jaccard_of
from interp.hooks.protocol import HookedModel
from tasks.base import Task
from tasks.errors import UserError


def jaccard(circuits: Sequence[Circuit]) -> float:
    """Mean overlap of every two circuits: shared edges over all edges of either (two empty ones agree: 1).

    Raises UserError for fewer than two.
    """
    if len(circuits) < 2:
        raise UserError("an overlap needs at least two circuits")
    pairs = list(itertools.combinations(circuits, 2))
    return sum(jaccard_of(a.edges, b.edges) for a, b in pairs) / len(pairs)


def stability(
    model: HookedModel, task: Task, seeds: Iterable[int], **settings: Any
) -> tuple[list[Circuit], float, float]:
    """Circuits found on the prompts of several seeds, their mean Jaccard overlap, and that of matched random circuits
    of the same sizes. `settings` as in find_circuit.
    """
    circuits = [find_circuit(model, task, seed=seed, **settings) for seed in seeds]
    return circuits, jaccard(circuits), chance_overlap(edges(model), [c.edges for c in circuits])
