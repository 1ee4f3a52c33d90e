"""Conditions: settings but for the seeds. Runs of one condition are what intervals over seeds are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_DIFFERENCES = 4


def without_seeds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings without its seeds: those of initialisation and data, and that of a task's pool."""
    found = {name: part for name, part in settings.items() if not name.endswith("seed")}
    return {
        name: {k: v for k, v in part.items() if k != "pool_seed"} if isinstance(part, Mapping) else part
        for name, part in found.items()
    }


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings, dotted, in which some of several conditions differ.

    >>> differing([{"train": {"lr": 0.1, "steps": 9}}, {"train": {"lr": 0.2, "steps": 9}}])
    ['train.lr']
    """
    flat = [flattened(one) for one in settings]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [key for key in keys if len({str(one.get(key)) for one in flat}) > 1]


def condition_names(settings: Sequence[Mapping[str, Any]], otherwise: Sequence[str]) -> list[str]:
    """What to call conditions: the settings in which they differ, or, where these are too many or none, `otherwise`."""
    keys = differing(settings)
    if not 0 < len(keys) <= MOST_DIFFERENCES:
        return list(otherwise)
    flat = [flattened(one) for one in settings]
    return [", ".join(f"{key} {one.get(key, '–')}" for key in keys) for one in flat]


def flattened(value: Any, above: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names."""
    if not isinstance(value, Mapping):
        return {above: value}
    return {
        key: leaf
        for name, part in value.items()
        for key, leaf in flattened(part, f"{above}.{name}" if above else name).items()
    }
