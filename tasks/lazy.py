"""Public names of a package, loaded when they are first used: the `__getattr__` and `__dir__` of its `__init__`.

Names for type checkers are imported under TYPE_CHECKING beside it; tests/test_public_names.py holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package`, whose modules are `homes` of these names.

    >>> __getattr__, __dir__ = lazy("tasks", {"errors": ("UserError",)})
    >>> __getattr__("UserError").__name__, "UserError" in __dir__()
    ('UserError', True)
    """
    home_of = {name: f"{package}.{home}" for home, names in homes.items() for name in names}

    def named(name: str) -> Any:
        if name in home_of:
            return getattr(import_module(home_of[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return named, listed
