"""Emergence of a run's skills, put together: which analyses it takes, and their tables as one table of onsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from interp.analysis.base import Analysis
from interp.emergence.draws import CurveDraws
from interp.emergence.emergence import emergence_table
from interp.emergence.overlaps import Overlaps, measurable
from interp.emergence.own_draws import OwnDraws
from interp.emergence.own_score import OwnScore
from interp.emergence.scores import Scores
from interp.heads.heads import HeadScores, scorable
from interp.heads.own_relation import OwnRelation
from tasks import Task

CAPTION = (
    "Onset: first sustained crossing of the threshold by the fitted curve; 95% CI over prompts (bootstrap)."
)


def asked(settings: Any, task: Task) -> list[Analysis]:
    """The analyses that emergence needs of a run with such a model (its settings) and task."""
    found: list[Analysis] = [Scores(), CurveDraws()]
    found += [HeadScores()] if scorable(settings, task) else []
    found += [Overlaps()] if measurable(settings, task) else []
    return found


def asked_own(score: Any, relation: Any) -> list[Analysis]:
    """The analyses that emergence needs of a score and a relation of the user's own (either may be None)."""
    found: list[Analysis] = [OwnDraws(score=score, relation=relation)]
    found += [] if score is None else [OwnScore(score=score)]
    return found + ([] if relation is None else [OwnRelation(relation=relation)])


def dated_own(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Onsets of what was `asked_own`: a score over half of its own rise, a head as on the task's relations."""
    return emergence_table(tables.get("own-score"), tables.get("own-relation"), tables["own-draws"])


def dated(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Onsets (`emergence_table`) out of the tables of what was `asked`, by the analyses' names."""
    return emergence_table(tables["scores"], tables.get("heads"), tables["draws"], tables.get("overlaps"))
