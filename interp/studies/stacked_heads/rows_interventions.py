"""Rows of the study on need: the hop-1 head held perfect, and the first layer held at nothing, all along.

A head whose pattern is held at "query -> link_1" from the first step on is there before it could have been
learned: which plateau goes, which stays? With every head of the first layer at uniform attention nothing can
be retrieved there, and later layers must do it. Both are measured with the clamps in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.stacked_heads.measure import HOPS, delay, survival_words
from interp.studies.stacked_heads.runs import Study, row, runs_of

PERFECT, UNIFORM = "hop-1-perfect", "layer-0-uniform"


def clamps_of(arm: str, heads: int) -> list[dict[str, Any]]:
    """The clamps of an arm, as settings of a run."""
    if arm == PERFECT:
        return [{"site": "L0H0.pattern", "to": "relation", "relation": "query -> link_1"}]
    return [{"site": f"L0H{head}.pattern", "to": "uniform"} for head in range(heads)]


def train_clamped(study: Study, arm: str) -> list[Run]:
    """The runs of an arm with clamps."""
    heads = dict(study.budget.shape).get("model.n_heads", 4)
    settings = {"train.steps": study.budget.steps["clamped"], "train.clamps": clamps_of(arm, heads)}
    return runs_of(study, arm, study.budget.seeds, settings)


def rows(study: Study, ic: Sequence[Run]) -> list[Row]:
    """Onsets with clamps over onsets without."""
    perfect, uniform = train_clamped(study, PERFECT), train_clamped(study, UNIFORM)
    found = (
        ("clamp-first-plateau", perfect, HOPS[0], "L0H0 held at query -> link_1"),
        ("clamp-next-plateau", perfect, HOPS[1], "L0H0 held at query -> link_1"),
        ("clamp-uniform", uniform, HOPS[0], "every head of layer 0 held at uniform attention"),
    )
    return [
        row(study, claim, delay(runs, ic, hop), "clamped", survival_words(runs, hop), condition=arm)
        for claim, runs, hop, arm in found
    ]
