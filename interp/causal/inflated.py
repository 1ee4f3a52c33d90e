"""Circuits inflated by a random path: what removing an edge changes where the edge was put there by chance.

A random path goes from `embed` to `output`, each step back to a uniformly drawn earlier sender and each head entered by
a uniformly drawn slot, and brings at least one edge that the circuit does not have. Of the new edges one is drawn and
removed again. Its effect is the mean absolute change of a prompt's metric, which cannot cancel over prompts. Source:
Shi et al. (arXiv 2410.13032), minimality.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge, owners
from interp.causal.metrics import Metric
from interp.causal.pruning import ablation_effects
from tasks.streams import generator

MOST_DRAWN = 200  # paths tried for one that brings a new edge


def random_path(known: Collection[Edge], source: torch.Generator) -> list[Edge]:
    """Edges of a random way from `embed` to `output`, the last first."""
    into: dict[str, list[str]] = {}
    for sender, receiver in sorted(known):
        into.setdefault(receiver, []).append(sender)
    slots: dict[str, list[str]] = {}
    for receiver in into:
        for owner in owners(receiver):
            slots.setdefault(owner, []).append(receiver)
    path, receiver = [], "output"
    while True:
        sender = _pick(into[receiver], source)
        path.append((sender, receiver))
        if sender == "embed":
            return path
        receiver = _pick(slots[sender], source)


def _pick(names: list[str], source: torch.Generator) -> str:
    return names[int(torch.randint(len(names), (), generator=source))]


def inflations(
    known: Collection[Edge], circuit: Collection[Edge], count: int, seed: int
) -> Iterator[tuple[frozenset[Edge], Edge]]:
    """Circuits with a random path added, each with one of its new edges; none where every edge is in the circuit."""
    own, source = frozenset(circuit), generator(seed, "inflated circuits", 0)
    for _ in range(count):
        for _ in range(MOST_DRAWN):
            path = random_path(known, source)
            if fresh := [edge for edge in path if edge not in own]:
                edge = fresh[int(torch.randint(len(fresh), (), generator=source))]
                yield own.union(path), edge
                break


def inflated_effects(
    runs: EdgeRuns, circuit: Collection[Edge], metric: Metric, count: int, seed: int
) -> Float[Tensor, "draw"]:
    """Effect of removing an added edge from each of `count` inflated circuits; fewer draws where no path is new."""
    found = [
        ablation_effects(runs, whole, [metric], [edge])[0][edge].double().abs().mean()
        for whole, edge in inflations(runs.known, circuit, count, seed)
    ]
    return torch.stack(found) if found else torch.zeros(0, dtype=torch.float64)
