"""Study: do language models answer multi-hop questions from a prompt, and by which heads (Musat, arXiv 2411.12118)?

Without a model of the caller's it trains a small GPT-2 and a small GPT-NeoX on these prompts and asks them; with one it
asks that, and over its revisions if any are named. Rows of the small models are means over models (training seeds);
those of a model of the caller's are that model's, n counts prompts, and nothing is said of others. It is asked in all
forms that its tokenizer allows (`measure_cells`); its rows are about the first of them. Tables of every cell, head and
path are kept beside the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from interp.importers.hf import import_hf
from interp.run import Run, load
from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.retrieval_prompts import measure, rows
from interp.studies.retrieval_prompts.claims import CLAIMS, EXPLORATORY
from interp.studies.retrieval_prompts.measure_cells import SHOTS, ask, in_words
from interp.studies.retrieval_prompts.rows_common import AskedModel, Study, keep, over_models
from interp.studies.retrieval_prompts.rows_facts import fact_rows
from interp.studies.retrieval_prompts.runs import HOPS, NAME, SmallModel, make_small, small_models
from tasks.prompts import TextRetrieval

TAUGHT = "; its texts ask one hop first, which alone may settle this"


def run(
    scale: Scale,
    out: Path,
    report: Report,
    model: str | None = None,
    revisions: Sequence[str] = (),
    small: dict[str, SmallModel] | None = None,
    shots: int | None = None,
) -> Ledger:
    """The study of one model (with its revisions), or of the small ones (`small`: others than the study's own).

    `shots`: examples before each question; without it a model of the caller's is asked with 0, 2 and 4 of them, and
    all else, as the small models are, with none. Raises UserError as the import does.
    """
    models = small or small_models(scale)
    seeds = (0,) if model is not None else tuple(sorted({each.seed for each in models.values()}))
    study = StudyContext(NAME, scale, Path(out), seeds, report, shots or 0, CLAIMS | EXPLORATORY)
    if model is not None:
        name = Path(model).name if Path(model).is_dir() else model
        asked = [AskedModel(name, model, tuple(revisions), "as published", given=True)]
    else:
        asked = [_trained(study, name, settings) for name, settings in models.items()]
    counts = tuple(SHOTS) if shots is None else (shots,)
    found = [row for each in asked for row in _rows(study, each, counts)]
    return study.ledger(found if model is not None else over_models(study, found))


def _trained(study: Study, name: str, settings: SmallModel) -> AskedModel:
    study.progress(f"{name}, {settings.keep[-1]} updates")
    folder = make_small(settings, study.out / "models" / name)
    revisions = tuple(f"step{step}" for step in settings.keep)
    return AskedModel(
        name,
        str(folder),
        revisions,
        f"{settings.keep[-1]} updates of {settings.batch} prompts, seed {settings.seed}",
        TAUGHT if settings.stages[0][0] == 1 else "",
    )


def _rows(study: Study, asked: AskedModel, shots: tuple[int, ...]) -> list[Row]:
    """Every claim on one model."""
    runs = [_imported(study, asked, hops) for hops in (1, 2)]
    task: Any = runs[1].task
    cells, note = _cells(study, asked, runs[1], shots)
    keep(study, cells, asked, "accuracies")
    own = cells if "shots" not in cells else cells[cells["shots"] == min(shots)]
    answered = rows.cell(own, 2, form=task.form).low > 0
    return [
        *rows.accuracy_rows(study, asked, own, task.form, note),
        *rows.heads_rows(study, asked, runs[1], own),
        *fact_rows(study, asked, runs[1], "" if answered else rows.UNANSWERED),
        rows.order_row(study, asked, runs),
    ]


def _cells(study: Study, asked: AskedModel, run: Run, shots: tuple[int, ...]) -> tuple[pd.DataFrame, str]:
    """Accuracies of the last checkpoint, and what is to be said of all of them together."""
    study.progress(f"{asked.name}, accuracies")
    model, task = run.model("last"), cast(TextRetrieval, run.task)
    if not asked.given:
        return measure.accuracies(model, task, HOPS[study.scale]), ""
    cells = ask(model, task, study.scale, run.path.parent, shots, study.progress)
    return cells, in_words(cells)


def _imported(study: Study, asked: AskedModel, hops: int) -> Run:
    """The run of a model and of questions of so many hops."""
    folder = study.out / "runs" / asked.name.replace("/", "--") / f"hops-{hops}"
    import_hf(asked.source, folder, revisions=asked.revisions, hops=hops, shots=study.budget)
    return load(folder)
