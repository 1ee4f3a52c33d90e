"""What is wrong with settings, in words: pydantic's complaints, each on one line, and the name that was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

# how pydantic writes a branch: a plain type, one with arguments, or a class
_BRANCH = re.compile(r"int|float|str|bool|none|[a-z-]+\[.*\]|[a-z-]+-.*\(.*|[A-Z][a-z]\w*")

_ELSEWHERE = {  # what other libraries call our settings
    "learning_rate": "lr", "batch_size": "batch", "optimizer": "optimiser", "num_steps": "steps", "epochs": "steps",
    "num_layers": "n_layers", "num_heads": "n_heads", "hidden_size": "d_model", "random_seed": "seed",
}  # fmt: skip


def first_problem(error: ValidationError, known: Iterable[str] = (), under: str = "") -> str:
    """The first of the `problems` of a validation."""
    return problems(error, known, under)[0]


def problems(error: ValidationError, known: Iterable[str] = (), under: str = "") -> list[str]:
    """Every error of a validation, each as `field: what is wrong (got value)` on one line.

    For an unknown field it names the nearest of the `known` ones. Fields are those of the section `under`.
    """
    found: list[tuple[str, str]] = []
    for problem in error.errors(include_url=False):
        where = ".".join([under, *place(problem)] if under else place(problem)) or "settings"
        if problem["type"] == "extra_forbidden":
            front = f"{under}." if under else ""
            found.append(("", f"unknown setting {where!r}{nearest(str(problem['loc'][-1]), known, front)}"))
        else:
            found.append((where, wrong(problem)))
    return joined(
        sorted(found, key=lambda pair: pair[0] != "")
    )  # unknown names first: with them others are missing


def joined(found: Sequence[tuple[str, str]]) -> list[str]:
    """Complaints with the place that each is about; those about one place, the branches of a union, are one."""
    lines: dict[str, list[str]] = {}
    for number, (where, what) in enumerate(found):
        lines.setdefault(where or str(number), []).append(what)
    return [
        "; or ".join(dict.fromkeys(whats))
        if where.isdigit()
        else f"{where}: {'; or '.join(dict.fromkeys(whats))}"
        for where, whats in lines.items()
    ]


def place(problem: Mapping[str, Any]) -> list[str]:
    """Where a problem is, as settings are written. Pydantic also names the branch of a union that it tried, which is
    no setting: a type (`int`, `literal['random']`) or a class.
    """
    parts = [str(part) for part in problem["loc"]]
    *inner, last = parts or [""]
    kept = [part for part in inner if not _BRANCH.fullmatch(part)]
    named = problem["type"] in ("missing", "extra_forbidden") or not _BRANCH.fullmatch(last)
    return [*kept, *([last] if last and named else [])]


def wrong(problem: Mapping[str, Any]) -> str:
    """The message of a pydantic error, and the value received."""
    own = problem.get("ctx", {}).get("error")
    if isinstance(own, ValueError):
        return str(own)
    if problem["type"] == "missing":
        return "is missing"
    got = repr(problem.get("input"))
    return f"{_needed(problem)} (got {got[:60]}{'...' if len(got) > 60 else ''})"


_NEEDED = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "int_from_float": "must be a whole number",
}
_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "string": "text"}
_KINDS |= {"tuple": "a list", "list": "a list", "dict": "a table"}


def _needed(problem: Mapping[str, Any]) -> str:
    """What a setting must be; pydantic's own words where it has no usual range or type."""
    if problem["type"] in _NEEDED:
        return _NEEDED[problem["type"]].format(**problem.get("ctx", {}))
    kind, _, fault = problem["type"].rpartition("_")
    return f"must be {_KINDS[kind]}" if fault in ("type", "parsing") and kind in _KINDS else problem["msg"]


def nearest(name: str, known: Iterable[str], under: str = "") -> str:
    """A hint to append to an error about an unknown name: the closest known one, or all of them.

    `under` is put before the closest: the section that a user would write.
    """
    choices = sorted(known)
    if _ELSEWHERE.get(name) in choices:
        return f": did you mean {under + _ELSEWHERE[name]!r}?"
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f": did you mean {under + close[0]!r}?"
    return f": known are {', '.join(choices)}" if choices else ""
