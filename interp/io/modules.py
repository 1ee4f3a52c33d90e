"""Whose code a module is: this package's, Python's, a library's or the user's; where it lies and what it imports.

Nothing is imported here: modules that are not loaded are only looked for.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any

PACKAGES = {"interp", "probes", "tasks"}


def is_foreign(thing: Any, homes: set[str]) -> bool:
    """Whether a class or function is the user's: neither ours, nor Python's, nor of a library he did not write."""
    module = getattr(thing, "__module__", None) or ""
    top = module.split(".")[0]
    if (
        not top
        or top in PACKAGES
        or top == "builtins"
        or (top in sys.stdlib_module_names and top != "__main__")
    ):
        return False
    if top in homes or top == "__main__":
        return True
    file = file_of(module)
    return file is None or not installed(file)


def file_of(module: str) -> Path | None:
    """The file of a module, which need not be imported; None where it has none that is Python."""
    found = getattr(sys.modules.get(module), "__file__", None)
    above = module.rpartition(".")[0]
    if found is None and module not in sys.modules and (not above or above in sys.modules):  # imports nothing
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        found = spec.origin if spec else None
    file = Path(found) if found else None
    return file if file is not None and file.suffix == ".py" and file.is_file() else None


@functools.cache
def _library_places() -> tuple[Path, ...]:
    paths = {*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()}
    own = Path(sys.prefix).resolve()
    return tuple(
        place for place in (Path(path).resolve() for path in paths) if place not in (own, own / "bin")
    )


@functools.lru_cache(maxsize=4096)
def installed(file: Path) -> bool:
    """Whether a file is a library's: below a place of this interpreter's, or below a folder that pip installs into (of
    another environment on the path)."""
    above = file.resolve().parents
    return any(place in above for place in _library_places()) or any(
        folder.name in ("site-packages", "dist-packages") for folder in above
    )


def imports_of(text: bytes, module: str, is_package: bool) -> list[str]:
    """Names of the modules that a file imports, those within functions too."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            found += [
                base,
                *(name for alias in node.names if _is_module(name := f"{base}.{alias.name}")),
            ]
    return found


def _is_module(name: str) -> bool:
    """Whether a name in a package is a module, loaded or not, rather than something that a module holds."""
    return name in sys.modules or file_of(name) is not None


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    up = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*up, *([node.module] if node.module else [])])
