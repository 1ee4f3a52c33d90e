"""Fewer checkpoints of a run, so that what is gone is known to be gone on purpose.

`thinned.json` in the run folder names every checkpoint that was removed with the hash of its weights, sealed by a hash
of it all. Tables keep the rows of such checkpoints; nothing can be measured there again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from interp.io.files import canonical, read_bytes, sha256, write_atomically
from tasks.errors import UserError

NAME = "thinned.json"


def read(folder: Path, config: str) -> dict[int, str]:
    """Steps whose checkpoints were removed on purpose, with the hashes of their weights.

    Raises UserError where the record is not what was written, or of another run.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        body = json.loads(read_bytes(path))
        seal, steps = body.pop("seal"), {int(step): str(held) for step, held in body["steps"].items()}
        whole = body["config"] == config and seal == sha256(canonical(body))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        whole, steps = False, {}
    if not whole:
        raise UserError(f"{path}: is not what was written (seal differs); restore it from a copy")
    return steps


def write(folder: Path, config: str, removed: Mapping[int, str]) -> None:
    """Record what is to be removed, before it is."""
    body = {"config": config, "steps": {str(step): removed[step] for step in sorted(removed)}}
    text = json.dumps({**body, "seal": sha256(canonical(body))}, indent=1, sort_keys=True)
    write_atomically(folder / NAME, text.encode() + b"\n")


def chosen(there: Iterable[int], keep: Iterable[int], every: int) -> list[int]:
    """The steps to remove: all but the first, the last, those to keep and multiples of `every` (0: none of these)."""
    steps = sorted(there)
    kept = {steps[0], steps[-1], *keep} if steps else set()
    return [step for step in steps if step not in kept and not (every and step % every == 0)]
