"""A model that the study of prompts asks, and how rows and tables of one model are kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pandas as pd

from interp.studies.context import StudyContext
from interp.studies.ledger import Row
from interp.studies.power import Design
from probes import stats
from probes.stats import Interval

Study = StudyContext[int]  # the budget is the number of shots before a question


@dataclasses.dataclass(frozen=True)
class AskedModel:
    """One model of the study: where it is, which revisions, and what its rows call it."""

    name: str
    source: str
    revisions: tuple[str, ...]
    budget: str
    taught: str = ""  # what the training itself settles of the order over hops
    given: bool = False  # by the caller: its rows count prompts, not models


def row(
    study: Study, asked: AskedModel, claim: str, found: Interval, note: str = "", design: Design | None = None
) -> Row:
    """A ledger row of one model. `design`: of a row over its prompts, since that of the claim is over models."""
    own = dataclasses.replace(study.claims[claim], id=f"{claim}, {asked.name}")
    if asked.given:
        own = dataclasses.replace(own, design=design)
    return study.row(
        own, found, condition=asked.name, budget=asked.budget, command=command(study, asked), note=note
    )


def command(study: Study, asked: AskedModel) -> str:
    """The command that measures a row of this model again."""
    return study.command + (f" --model {asked.source}" if asked.given else "")


def keep(study: Study, table: pd.DataFrame, asked: AskedModel, what: str) -> None:
    """Write a table beside the ledger."""
    study.out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(study.out / f"{asked.name.replace('/', '--')}-{what}.parquet")


def over_models(study: Study, rows: Sequence[Row]) -> list[Row]:
    """One row a claim from the rows of several models: the mean of their values, each model's own in the note.

    A ratio of steps is averaged on the log scale. A claim that could not be tested of a model is not testable.
    """
    found = []
    for claim in dict.fromkeys(row.claim for row in rows):
        own = [row for row in rows if row.claim == claim]
        dark = next((row for row in own if row.verdict == "not testable at this scale"), None)
        if dark is not None:
            found.append(dark.model_copy(update={"id": claim}))
            continue
        values = [math.nan if row.value is None else row.value for row in own]
        note = "; ".join(f"{row.condition}: {row.shown}{f' ({row.note})' if row.note else ''}" for row in own)
        scale: stats.Scale = "log" if claim == "order" else "linear"
        budget = own[0].budget.partition(", seed")[0]
        found.append(
            study.values(
                claim,
                values,
                condition=f"{len(own)} models",
                budget=budget,
                note=note,
                scale=scale,
                lost="not measured in theirs",
            )
        )
    return found
