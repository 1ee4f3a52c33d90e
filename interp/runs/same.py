"""Whether a folder holds the run that is asked for, and if not, in which settings it differs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.io.files import TEMPORARY
from interp.runs.header import Header
from tasks.errors import UserError

_TOLD = 3


def refuse_other(path: Path, there: Header, asked: Header) -> None:
    """Raises UserError, naming settings that differ, where the run in a folder is not the one that is asked for; of
    the same run it is said if the code of its task or model has changed.
    """
    if there.hash == asked.hash:
        if changed := there.changed():
            warnings.warn(f"{path}: {changed}", stacklevel=3)
        return
    odd = differences(there.settings, asked.settings)
    said = "; ".join(odd[:_TOLD]) + (f"; and {len(odd) - _TOLD} more" if len(odd) > _TOLD else "")
    raise UserError(f"{path}: holds another run (settings differ: {said}); choose another --out")


def differences(there: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> list[str]:
    """Settings in which two runs differ, each with both values.

    >>> differences({"train": {"lr": 0.1}}, {"train": {"lr": 0.2}})
    ['train.lr is 0.1 there, 0.2 here']
    """
    found: list[str] = []
    for name in sorted({*there, *asked}):
        one, other = there.get(name), asked.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{above}{name}.")
        elif one != other or (name in there) != (name in asked):
            ours, theirs = (_short(name in held, value) for held, value in ((there, one), (asked, other)))
            found.append(f"{above}{name} is {ours} there, {theirs} here")
    return found


def _short(stated: bool, value: Any) -> str:
    text = repr(value) if stated else "not set"
    return text if len(text) <= 40 else text[:37] + "..."


def is_bookkeeping(entry: Path) -> bool:
    """Whether a file in a folder does not keep a run from being begun there."""
    return (
        entry.name == ".lock"
        or entry.name.startswith(TEMPORARY)
        or (entry.name == "checkpoints" and not any(entry.iterdir()))
    )
