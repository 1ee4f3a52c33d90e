"""One room per paper: its claims, what was measured, the verdict.

Every room has the same few file names: `claims` (what is said and what would count), `runs` (what is trained, sizes
of a scale), `measure` (what is read off it), `theory` (closed forms), `rows` (the ledger's rows), `figures`, and
`study`, which has `run(scale, out, report) -> Ledger`. Its runs stay under `out`: finished ones are reused,
interrupted ones resumed. `STUDIES` names them without importing them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.studies.catalogue import STUDIES as STUDIES

if TYPE_CHECKING:
    from interp.studies.ledger import Ledger, Scale


Log = Callable[[str], None]


def run_study(
    name: str, scale: Scale, out: Path, log: Log, workers: int = 1, device: str = "cpu", **asked: Any
) -> Ledger:
    """Run one study (or go on with it), keep its ledger as `out/ledger-SCALE.json`, and return it.

    What it will take is logged first: its runs, how many are there, and its cost when it was last measured. With more
    than one of `workers` its planned runs are trained side by side on as many processes.

    Planned runs are trained on `device`, what rows ask for beyond them on the CPU. `asked` are settings that the study
    itself takes (`seeds` in place of the scale's, or which language model). Raises UserError for an unknown study, a
    device that is not here, and where runs of an older version of training lie under `out`.
    """
    from interp.io.files import write_atomically
    from tasks.complaints import nearest
    from tasks.errors import UserError

    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}{nearest(name, STUDIES)}")
    from interp.studies.ahead import train_ahead
    from interp.studies.cost import counted, spent
    from interp.studies.fingerprint import fingerprint, refuse_older
    from interp.studies.plans import announced
    from interp.studies.summary import measured

    refuse_older(out)
    log(announced(name, scale, out, measured(name)))
    with counted(out, scale):
        train_ahead(name, scale, out, workers, log, device)
        ledger = import_module(STUDIES[name]).run(scale, out, log, **asked)
    ledger = replace(ledger, fingerprint=fingerprint(name, scale), cpu_seconds=spent(out, scale))
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"ledger-{scale}.json", ledger.to_json().encode() + b"\n")
    return ledger
