"""The command that tests a paper's claims against measurements made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from interp.cli.options import Count
from interp.studies import STUDIES, run_study

LANGUAGE = "retrieval-prompts"

Json = Annotated[bool, Parameter(name="--json", help="Print one JSON document and nothing else.")]
if TYPE_CHECKING:
    Study = str
else:  # the shell completes these; another word is refused with the nearest
    Study = Annotated[Literal[("all", *STUDIES)] | str, Parameter(show_choices=False)]


def study(
    name: Study = "all",
    /,
    *,
    scale: Literal["quick", "cpu", "paper"] = "quick",
    out: Path = Path("runs/studies"),
    strict: bool = False,
    model: str | None = None,
    revisions: tuple[str, ...] = (),
    shots: int | None = None,
    workers: Count | None = None,
    json: Json = False,
) -> int:
    """Run a paper's study and print its ledger: every claim, its criterion, the measurement, the verdict.

    Parameters
    ----------
    name
        A study, or 'all'. For your own grid of learning rates: interp sweep --grid train.lr=[...].
    scale
        quick: minutes on two cores; cpu: hours; paper: the paper's own size, for a GPU.
    out
        Where its runs are stored (OUT/NAME); finished ones are reused, interrupted ones resumed.
    strict
        Exit with 1 when a claim is contradicted.
    model
        For retrieval-prompts: a Hugging Face language model, by its name on the hub or a folder.
    revisions
        Training revisions of that model. May be repeated.
    shots
        For retrieval-prompts: examples with their answers before each question (0; of --model 0, 2 and 4).
    workers
        Processes that train a study's runs side by side, one thread each; one a core of this machine by default.
    """
    from interp.cli import ledger_text, show
    from tasks.errors import UserError

    asked = {
        k: v
        for k, v in {"model": model, "revisions": revisions, "shots": shots}.items()
        if v not in (None, ())
    }
    if asked and name != LANGUAGE:
        raise UserError(f"--{next(iter(asked))} is for the study {LANGUAGE}, not {name!r}")
    names = list(STUDIES) if name == "all" else [name]
    log = (lambda line: None) if json else (lambda line: print(line, flush=True))
    hands = workers or _cores()
    ledgers = [run_study(each, scale, out / each, log, hands, **asked) for each in names]
    if json:
        documents = [ledger_text.document(ledger) for ledger in ledgers]
        show.document(documents if name == "all" else documents[0])
    else:
        for ledger in ledgers:
            ledger_text.print_ledger(ledger)
    return 1 if strict and any(ledger.contradicted for ledger in ledgers) else 0


def _cores() -> int:
    """Cores that this process may use; those of the machine where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
