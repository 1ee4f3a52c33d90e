"""Heads of attention: what they attend to, whether they are needed, and what their weights alone show.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.lazy import lazy

if TYPE_CHECKING:
    from interp.heads.ablation import Ablations
    from interp.heads.chain import ChainMatrix
    from interp.heads.composition import eigenvalues, qk_attribution
    from interp.heads.direct import OutputAttribution, output_attribution, score_attribution
    from interp.heads.heads import HeadScores, relation_mass, uniform_scores
    from interp.heads.mechanism import Mechanism, identified_circuit
    from interp.heads.path_attention import path_attention
    from interp.heads.patterns import RegressionHeads, TokenHeads
    from interp.heads.roles import Roles
    from interp.heads.transplant import transplant_table
    from interp.heads.weights import Compositions, HeadWeights

_HOMES = {
    "ablation": ("Ablations",),
    "chain": ("ChainMatrix",),
    "composition": ("eigenvalues", "qk_attribution"),
    "direct": ("OutputAttribution", "output_attribution", "score_attribution"),
    "heads": ("HeadScores", "relation_mass", "uniform_scores"),
    "mechanism": ("Mechanism", "identified_circuit"),
    "path_attention": ("path_attention",),
    "patterns": ("RegressionHeads", "TokenHeads"),
    "roles": ("Roles",),
    "transplant": ("transplant_table",),
    "weights": ("Compositions", "HeadWeights"),
}
__all__ = [
    "Ablations",
    "ChainMatrix",
    "Compositions",
    "HeadScores",
    "HeadWeights",
    "Mechanism",
    "OutputAttribution",
    "RegressionHeads",
    "Roles",
    "TokenHeads",
    "eigenvalues",
    "identified_circuit",
    "output_attribution",
    "path_attention",
    "qk_attribution",
    "relation_mass",
    "score_attribution",
    "transplant_table",
    "uniform_scores",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
