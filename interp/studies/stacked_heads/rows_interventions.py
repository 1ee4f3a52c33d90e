"""Rows of the study on interventions: the hop-1 head held perfect, and the first layer held at nothing, all along.

A head whose pattern is held at "query -> link_1" from the first step on is there before it could have been
learned: which plateau goes, which stays? With every head of the first layer at uniform attention nothing can
be retrieved there, and later layers must do it. Both are measured with the interventions active.
"""

from __future__ import annotations

from collections.abc import Sequence

from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.stacked_heads.measure import HOPS, delay, survival_words
from interp.studies.stacked_heads.runs import PERFECT, UNIFORM, Study, row, runs_of, settings_of


def intervened(study: Study, condition: str) -> list[Run]:
    """The runs of a condition with interventions."""
    return runs_of(study, condition, study.budget.seeds, settings_of(study.budget, condition))


def rows(study: Study, ic: Sequence[Run]) -> list[Row]:
    """Onsets with interventions over onsets without."""
    perfect, uniform = intervened(study, PERFECT), intervened(study, UNIFORM)
    found = (
        ("clamp-first-plateau", perfect, HOPS[0], "L0H0 held at query -> link_1"),
        ("clamp-next-plateau", perfect, HOPS[1], "L0H0 held at query -> link_1"),
        ("clamp-uniform", uniform, HOPS[0], "every head of layer 0 held at uniform attention"),
    )
    return [
        row(study, claim, delay(runs, ic, hop), "clamped", survival_words(runs, hop), condition=words)
        for claim, runs, hop, words in found
    ]
