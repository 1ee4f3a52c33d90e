"""The command that sets a paper's claims against what is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from cyclopts import Parameter

from interp.cli import show
from interp.studies import STUDIES, run_study
from interp.studies.ledger import Ledger
from tasks.errors import UserError

LANGUAGE = "retrieval-prompts"

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON document and nothing else.")
]


def study(
    name: str = "all",
    /,
    *,
    scale: Literal["quick", "cpu", "paper"] = "quick",
    out: Path = Path("runs/studies"),
    strict: bool = False,
    model: str | None = None,
    revisions: tuple[str, ...] = (),
    shots: int = 0,
    json: Json = False,
) -> int:
    """Run a paper's study and print its ledger: every claim, the criterion fixed beforehand, the verdict.

    Example: interp study one-step-gd --scale quick

    Parameters
    ----------
    name
        A study, or 'all'.
    scale
        quick: minutes on two cores; cpu: hours; paper: the paper's own size, for a GPU.
    out
        Where its runs stay (OUT/NAME); finished ones are reused, broken-off ones resumed.
    strict
        Exit with 1 when a testable claim was not reproduced.
    model
        For retrieval-prompts: a Hugging Face language model, by its name on the hub or a folder.
    revisions
        Training revisions of that model. May be repeated.
    shots
        For retrieval-prompts: examples with their answers before each question.
    """
    asked = {k: v for k, v in {"model": model, "revisions": revisions, "shots": shots}.items() if v}
    if asked and name != LANGUAGE:
        raise UserError(f"--{next(iter(asked))} is for the study {LANGUAGE}, not {name!r}")
    names = list(STUDIES) if name == "all" else [name]
    say = (lambda line: None) if json else (lambda line: print(line, flush=True))
    ledgers = [run_study(each, scale, out / each, say, **asked) for each in names]
    if json:
        documents = [_document(ledger) for ledger in ledgers]
        show.document(documents if name == "all" else documents[0])
    else:
        for ledger in ledgers:
            show.table(_shown(ledger), f"{ledger.study} at scale {ledger.scale}, seeds {list(ledger.seeds)}")
    return 1 if strict and not all(ledger.all_reproduced for ledger in ledgers) else 0


def _document(ledger: Ledger) -> dict:
    import json

    return json.loads(ledger.to_json())


def _shown(ledger: Ledger) -> pd.DataFrame:
    """A ledger as people read it: value with its interval in one cell."""
    rows = []
    for row in ledger.claims:
        span = (
            ""
            if row.ci_low is None
            else f" [{row.ci_low:.3g}, {row.ci_high:.3g}]"
            if row.ci_high is not None
            else ""
        )
        ours = "-" if row.value is None else f"{row.value:.3g}{span} {row.unit}".strip()
        rows.append(
            {
                "id": row.id,
                "claim": row.statement,
                "paper": row.paper_value,
                "ours": ours,
                "n": row.n,
                "counts if": row.criterion,
                "verdict": row.verdict,
            }
        )
    return pd.DataFrame(rows)
