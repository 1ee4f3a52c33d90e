"""What a study costs: CPU seconds counted while it runs, kept beside its ledger.

Owns `OUT/cost-SCALE.json`, to which every call adds what it spent, so that the cost of a study that was broken off and
gone on with is that of all its calls. Children that ended count, runs that were there before the first counted call do
not; with such runs the cost is not known. Pages, figures and the judgement of rows are part of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from interp.io.files import write_atomically
from interp.runs.header import NAME as HEADER
from interp.studies.catalogue import STUDIES
from interp.studies.ledger import Scale

SETTINGS = re.compile(r"[0-9a-f]{12,}$|\{")  # of a run, as a hash or whole; other entries of a plan are sizes


def _file(out: Path, scale: Scale) -> Path:
    return out / f"cost-{scale}.json"


@contextmanager
def counted(out: Path, scale: Scale) -> Iterator[None]:
    """Add the CPU seconds of what runs within it to the study's folder, also where it is broken off."""
    known = _file(out, scale).exists() or not finished(out)
    before = spent(out, scale) or 0.0
    began = sum(os.times()[:4])
    try:
        yield
    finally:
        if known:
            out.mkdir(parents=True, exist_ok=True)
            found = {"cpu_seconds": round(before + sum(os.times()[:4]) - began, 1)}
            write_atomically(_file(out, scale), json.dumps(found).encode() + b"\n")


def spent(out: Path, scale: Scale) -> float | None:
    """CPU seconds of all calls on a study's folder; None where some of its runs were not counted."""
    if not _file(out, scale).exists():
        return None
    return float(json.loads(_file(out, scale).read_text(encoding="utf-8"))["cpu_seconds"])


def finished(out: Path) -> list[str]:
    """Names of the runs that lie under a study's folder."""
    return sorted(str(path.parent.relative_to(out)) for path in out.rglob(HEADER)) if out.exists() else []


def planned(study: str, scale: Scale) -> Mapping[str, str]:
    """Hashes of the settings of a study's runs, by name."""
    return import_module(f"{STUDIES[study].rpartition('.')[0]}.runs").planned(scale)


def minutes(seconds: float) -> str:
    """CPU time in words.

    >>> minutes(40), minutes(1500), minutes(40_000)
    ('40 CPU seconds', '25 CPU minutes', '11 CPU hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} CPU seconds"
    return f"{seconds / 60:.0f} CPU minutes" if seconds < 36_000 else f"{seconds / 3600:,.0f} CPU hours"
