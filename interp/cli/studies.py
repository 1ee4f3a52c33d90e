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
    from interp.studies.ledger import Scale

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
    device: str = "cpu",
    seeds: Count | None = None,
    plan: Annotated[bool, Parameter(negative="")] = False,
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
    device
        Where planned runs are trained: cpu, or cuda (one after the other). They are analysed on the CPU.
    seeds
        So many training seeds in place of the scale's own.
    plan
        Print what each study would take (runs, seeds, CPU time) and run nothing.
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
    if plan:
        return _plan(names, scale, out, json)
    if seeds and name in ("all", LANGUAGE):
        raise UserError(f"--seeds is for one study whose unit is the training seed, not {name!r}")
    asked |= {"seeds": tuple(range(seeds))} if seeds else {}
    log = (lambda line: None) if json else (lambda line: print(line, flush=True))
    hands = workers or _cores()
    ledgers = [run_study(each, scale, out / each, log, hands, device, **asked) for each in names]
    if json:
        documents = [ledger_text.document(ledger) for ledger in ledgers]
        show.document(documents if name == "all" else documents[0])
    else:
        for ledger in ledgers:
            ledger_text.print_ledger(ledger)
    return 1 if strict and any(ledger.contradicted for ledger in ledgers) else 0


def _plan(names: list[str], scale: Scale, out: Path, json: bool) -> int:
    """What studies would take, printed; nothing is run."""
    from interp.cli import show
    from interp.studies import plans
    from interp.studies.summary import measured
    from tasks.complaints import nearest
    from tasks.errors import UserError

    if unknown := [name for name in names if name not in STUDIES]:
        raise UserError(f"unknown study {unknown[0]!r}{nearest(unknown[0], STUDIES)}")
    found = [plans.plan(name, scale, measured(name)) for name in names]
    if json:
        show.document([
            {"study": one.study, "scale": one.scale, "conditions": dict(one.conditions), "cpu_seconds": one.seconds,
             "basis": one.basis} for one in found
        ])  # fmt: skip
        return 0
    for one in found:
        show.note(plans.announced(one.study, scale, out / one.study, measured(one.study)))
    if len(found) > 1:
        show.note(f"in all: {plans.total(found)}")
    return 0


def _cores() -> int:
    """Cores that this process may use; those of the machine where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
