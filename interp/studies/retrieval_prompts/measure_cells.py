"""The cells in which the study of prompts asks a model of the caller's: forms, hops, and examples before the question.

A cell is written when it is done and is not asked again, so a study that was broken off is resumed; the cheapest come
first. A cell whose names are not single tokens of the model's tokenizer has no value and says why, as has one of more
than LONG tokens at scale `quick`. Chance of a cell: 1 over its choices. `p` is the exact binomial one, one-sided, of as
many right answers by guessing; the choices of a question are alike in kind, but a model's preferences among names are
shared by all questions, so its misses are not a guesser's where it repeats one name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import binom

from interp.io.files import read_bytes, write_atomically
from interp.studies.criteria import Criterion
from interp.studies.ledger import Scale
from interp.studies.possible import NONE, Bounds
from interp.studies.power import Power
from interp.studies.retrieval_prompts.measure import asked_cell, first_line
from probes.independence import holm
from probes.stats import LEVEL, share
from tasks import UserError
from tasks.prompts import TextRetrieval
from tasks.prompts_forms import FORMS

HOPS = (1, 2, 3, 4)
SHOTS = {0: 200, 2: 200, 4: 100}  # questions by the number of examples before each
LONG = 600  # tokens: longer prompts are for the larger scales
BETTER = 0.1  # above chance: the accuracy whose detection is given as the power
KEPT = "cells.json"


class PromptCell(NamedTuple):
    """One cell that can be asked."""

    form: str
    hops: int
    shots: int
    questions: int
    task: TextRetrieval

    @property
    def key(self) -> str:
        """What was asked, in words: the name under which the cell is kept."""
        task = {k: v for k, v in self.task.model_dump(mode="json").items() if k != "lexicon"}
        return json.dumps({**task, "questions": self.questions}, sort_keys=True)

    @property
    def tokens(self) -> int:
        """That the model reads."""
        return self.questions * self.task.interface.n_ctx


def cells_of(
    model: Any, task: TextRetrieval, scale: Scale, shots: tuple[int, ...]
) -> tuple[list[PromptCell], list[dict[str, Any]]]:
    """The cells that can be asked, cheapest first, and rows without a value of those that cannot.

    `task` gives lexicon, chains and order; `model` refuses prompts that do not fit it.
    """
    asked, refused = [], []
    for count in shots:
        for form in FORMS:
            for hops in HOPS:
                own = {"form": form, "hops": hops, "links": 0, "shots": count}
                try:
                    made = TextRetrieval(**{**task.model_dump(), **own})
                    model.config.check(made.interface)
                except (UserError, ValueError) as error:
                    refused.append(_empty(form, hops, count, first_line(error)))
                    continue
                length = made.interface.n_ctx
                if scale == "quick" and length > LONG:
                    refused.append(_empty(form, hops, count, f"{length} tokens: asked at scale cpu"))
                    continue
                asked.append(PromptCell(form, hops, count, SHOTS.get(count, min(SHOTS.values())), made))
    return sorted(asked, key=lambda cell: cell.tokens), refused


def _empty(form: str, hops: int, shots: int, why: str) -> dict[str, Any]:
    return {"form": form, "hops": hops, "shots": shots, "metric": "accuracy", "n": 0, "note": why}


def ask(
    model: Any,
    task: TextRetrieval,
    scale: Scale,
    folder: Path,
    shots: tuple[int, ...] = tuple(SHOTS),
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Every cell's accuracy among its choices and by generation; cells kept under `folder` are not asked again.

    Clopper-Pearson intervals, exact `p` of the first, and `p_holm` over all cells asked. Raises UserError where what
    is kept there cannot be read.
    """
    cells, refused = cells_of(model, task, scale, shots)
    folder.mkdir(parents=True, exist_ok=True)
    kept, rows = _kept(folder / KEPT), []
    for place, cell in enumerate(cells):
        if cell.key not in kept:
            report(f"cell {place + 1} of {len(cells)}: {cell.form}, {cell.hops} hops, {cell.shots} examples")
            kept[cell.key] = asked_cell(model, cell.task, 0, cell.questions)
            write_atomically(folder / KEPT, json.dumps(kept, indent=1).encode() + b"\n")
        own = {"form": cell.form, "hops": cell.hops, "shots": cell.shots, "length": cell.task.interface.n_ctx}
        rows += [{**own, **row} for row in kept[cell.key]]
        report(_shown(rows[-2]))
    return pd.DataFrame([*_tested(rows), *refused])


def _kept(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(read_bytes(path))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no cells; delete it, and they are asked again")
    return found


def _shown(row: dict[str, Any]) -> str:
    value = f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    asked = f"{row['form']}, {row['hops']} hops, {row['shots']} examples"
    return f"{asked}: {value} of {row['n']}, chance {row['chance']:.2f}"


def _tested(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the chance of a guesser to answer as many rightly, and Holm's correction over the cells."""
    own = [row for row in rows if row["metric"] == "accuracy"]
    p = [float(binom.sf(round(row["value"] * row["n"]) - 1, row["n"], row["chance"])) for row in own]
    for row, one, corrected in zip(own, p, holm(p), strict=True):
        row |= {"p": one, "p_holm": corrected, "power": power(row["n"], row["chance"])}
    return rows


def power(questions: int, chance: float, better: float = BETTER) -> float:
    """Chance that the whole interval lies above `chance` when the accuracy is higher by `better`."""
    least = next((k for k in range(questions + 1) if share(k, questions).low > chance), questions + 1)
    return float(binom.sf(least - 1, questions, min(1.0, chance + better)))


@dataclass(frozen=True)
class AboveGuess:
    """The design of an accuracy less `chance` over so many questions of one model: exact."""

    chance: float
    n: int

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        """When the accuracy is BETTER above a guess, and when it is a guess. The criterion is "above 0"."""
        return Power(if_true=round(power(n, self.chance), 3), if_false=round(power(n, self.chance, 0.0), 3))


def in_words(cells: pd.DataFrame) -> str:
    """How many cells are above a guess, and what would have been found."""
    asked = cells[(cells["metric"] == "accuracy") & (cells["n"] > 0)]
    above = int((asked["p_holm"] < 1 - LEVEL).sum())
    by_n = asked.groupby("n")["power"].min()
    found = ", ".join(f"{value:.0%} with {n} questions" for n, value in by_n.items())
    left = int((cells["n"] == 0).sum())
    return (
        f"{above} of {len(asked)} cells above a guess (exact, Holm), {left} not asked; an accuracy {BETTER:.2f} above "
        f"chance would be found in at least {found}"
    )
