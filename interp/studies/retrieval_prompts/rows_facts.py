"""Exploratory rows of the study of prompts: heads that attend anywhere in the sentence of a hop's fact."""

from __future__ import annotations

from typing import cast

import pandas as pd

from interp.models.bridge import BridgedModel
from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.retrieval_prompts.measure_facts import (
    ATTENDED,
    NEEDED,
    fact_heads,
    heads_of,
    labels,
    needed_there,
    passed_on,
    passing,
)
from interp.studies.retrieval_prompts.rows_common import AskedModel, Study, keep, row
from probes.stats import Interval
from tasks.prompts import TextRetrieval


def fact_rows(study: Study, asked: AskedModel, run: Run, unanswered: str) -> list[Row]:
    """The exploratory rows of a model on two-hop questions; `unanswered` says why nothing can be taken away, if so."""
    study.report(f"{run.path.parent.name}: facts")
    model, task = cast(BridgedModel, run.model("last")), cast(TextRetrieval, run.task)
    heads = fact_heads(model, task)
    keep(study, heads, asked, "facts")
    groups = {look: passing(heads, look) for look in ATTENDED.values()}
    rows = [_most(study, asked, claim, heads[heads["look"] == look]) for claim, look in ATTENDED.items()]
    for claim, look in NEEDED.items():
        why = unanswered or ("no head passes that look's criterion" if groups[look].empty else "")
        cost, group = (nothing(0, "not measured"), []) if why else needed_there(model, task, groups[look])
        rows.append(
            row(study, asked, claim, cost, why or f"{', '.join(labels(group))}; chosen on other prompts")
        )
    found = {look: heads_of(passed) for look, passed in groups.items()}
    told = None if unanswered else passed_on(model, task, found)
    why = unanswered or "no head of one look stands before one of the next"
    value, note = told or (nothing(0, "not measured"), why)
    return [
        *rows,
        row(study, asked, "fact-stacked", value, f"{note}; chosen on other prompts" if told else note),
    ]


def _most(study: Study, asked: AskedModel, claim: str, heads: pd.DataFrame) -> Row:
    """The head that looks there most often."""
    best = heads.loc[heads["value"].idxmax()]
    found = Interval(best["value"], best["ci_low"], best["ci_high"], int(best["n"]), "share")
    return row(
        study, asked, claim, found, f"{labels(heads_of(best.to_frame().T))[0]}, from the {best['token']}"
    )
