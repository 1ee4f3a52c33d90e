"""Names of the package are loaded when they are used, every module that registers a task among them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasks
from tasks.base import SHIPPED

HOUSE = Path(tasks.__file__).parent


def test_every_module_that_registers_a_task_is_imported_when_kinds_are_asked_for() -> None:
    registering = [
        path.stem for path in HOUSE.glob("*.py") if re.search(r"^@register\(", path.read_text(), re.M)
    ]
    assert sorted(registering) == sorted(SHIPPED)


def test_every_name_is_there() -> None:
    assert sorted(name for names in tasks._HOMES.values() for name in names) == sorted(tasks.__all__)
    assert all(getattr(tasks, name).__name__ == name for name in tasks.__all__)
    assert set(tasks.__all__) <= set(dir(tasks))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tasks.nonsense
