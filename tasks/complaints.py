"""What is wrong with settings, in words: pydantic's complaints, each on one line, and the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError


def first_problem(error: ValidationError, known: Iterable[str] = ()) -> str:
    """The first of the `problems` of a validation."""
    return problems(error, known)[0]


def problems(error: ValidationError, known: Iterable[str] = ()) -> list[str]:
    """Every error of a validation, each as `field: what is wrong (got value)` on one line.

    For an unknown field it names the nearest of the `known` ones.
    """
    found = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            found.append(f"unknown setting {where!r}{nearest(str(problem['loc'][-1]), known)}")
        else:
            found.append(f"{where}: {wrong(problem)}")
    return found


def wrong(problem: Mapping[str, Any]) -> str:
    """The message of a pydantic error, and the value received."""
    own = problem.get("ctx", {}).get("error")
    if isinstance(own, ValueError):
        return str(own)
    if problem["type"] == "missing":
        return "is missing"
    got = repr(problem.get("input"))
    return f"{problem['msg']} (got {got[:60]}{'...' if len(got) > 60 else ''})"


def nearest(name: str, known: Iterable[str], under: str = "") -> str:
    """A hint to append to an error about an unknown name: the closest known one, or all of them.

    `under` is put before the closest: the section that a user would write.
    """
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f": did you mean {under + close[0]!r}?"
    return f": known are {', '.join(choices)}" if choices else ""
