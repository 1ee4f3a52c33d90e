"""Plug-ins: modules that register things of their own, named by an environment variable or an installed entry point.

Owns the one way in which tasks, model kinds and analyses of other packages are found. Code is imported only because
the environment or an installed package names it, never because a file does.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Container
from importlib.metadata import entry_points
from typing import Any

from tasks.errors import UserError


def load_plugins(
    variable: str, group: str, known: Container[str], error: type[UserError] = UserError
) -> None:
    """Import the modules that `variable` names, comma between them, and load the entry points of `group`.

    Entry points whose name is `known` already are left alone. Raises `error` for a module that cannot be imported.
    """
    for module in filter(None, os.environ.get(variable, "").split(",")):
        try:
            importlib.import_module(module.strip())
        except ImportError as why:
            raise error(f"{variable}={module}: cannot be imported ({why}); is it on PYTHONPATH?") from None
    for plugin in _installed(group, _places()):
        if plugin.name not in known:
            plugin.load()


@functools.lru_cache(maxsize=16)
def _installed(group: str, places: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    """Entry points of a group; reading the metadata of all packages takes longer than all else about a configuration,
    so it is done once for these `places`. Of whatever class: where the backport of `importlib.metadata` is loaded, it
    finds the packages in the library's place and hands out its own.
    """
    return tuple(entry_points(group=group))


def _places() -> tuple[tuple[str, int], ...]:
    """Where modules are looked for, and when something was last put there or taken away."""
    found = []
    for place in sys.path:
        with contextlib.suppress(OSError):
            found.append((place, os.stat(place or os.curdir).st_mtime_ns))
    return tuple(found)
