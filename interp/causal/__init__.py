"""Interventions: activation and path patching, attribution estimates, circuits and how faithful they are.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.lazy import lazy

if TYPE_CHECKING:
    from interp.causal.attribution import attribute_edges, attribute_sites, estimate_sites
    from interp.causal.behaviour import has_behaviour, resampled_pair
    from interp.causal.circuits import find_circuit
    from interp.causal.directions import Probe, interchange
    from interp.causal.edge_effects import exact_edges
    from interp.causal.estimate import complete_scores
    from interp.causal.faithfulness import judge, precision_recall
    from interp.causal.graph import edges, receivers, senders
    from interp.causal.interventions import intervene
    from interp.causal.metrics import Metric, custom, metric_of
    from interp.causal.nodes import node_curve
    from interp.causal.over_training import CircuitSearch, EdgeEffects, PatchGrid, circuit_at
    from interp.causal.patching import patch
    from interp.causal.paths import patch_paths
    from interp.causal.random_circuits import chance_overlap, empirical_p, matched_circuit
    from interp.causal.stability import jaccard

_HOMES = {
    "attribution": ("attribute_edges", "attribute_sites", "estimate_sites"),
    "behaviour": ("has_behaviour", "resampled_pair"),
    "circuits": ("find_circuit",),
    "directions": ("Probe", "interchange"),
    "edge_effects": ("exact_edges",),
    "estimate": ("complete_scores",),
    "faithfulness": ("judge", "precision_recall"),
    "graph": ("edges", "receivers", "senders"),
    "interventions": ("intervene",),
    "metrics": ("Metric", "custom", "metric_of"),
    "nodes": ("node_curve",),
    "over_training": ("CircuitSearch", "EdgeEffects", "PatchGrid", "circuit_at"),
    "patching": ("patch",),
    "paths": ("patch_paths",),
    "random_circuits": ("chance_overlap", "empirical_p", "matched_circuit"),
    "stability": ("jaccard",),
}
__all__ = [
    "CircuitSearch",
    "EdgeEffects",
    "Metric",
    "PatchGrid",
    "Probe",
    "attribute_edges",
    "attribute_sites",
    "chance_overlap",
    "circuit_at",
    "complete_scores",
    "custom",
    "edges",
    "empirical_p",
    "estimate_sites",
    "exact_edges",
    "find_circuit",
    "has_behaviour",
    "interchange",
    "intervene",
    "jaccard",
    "judge",
    "matched_circuit",
    "metric_of",
    "node_curve",
    "patch",
    "patch_paths",
    "precision_recall",
    "receivers",
    "resampled_pair",
    "senders",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
