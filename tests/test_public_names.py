"""Public names: each package's `__all__` leads somewhere, with a docstring, and loads nothing before it is used."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

PUBLIC = ("interp", "tasks", "probes", "interp.heads", "interp.causal", "interp.readouts", "interp.emergence")


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_there_and_explained(package) -> None:
    module = import_module(package)
    assert len(module.__all__) == len(set(module.__all__)) > 5
    for name in module.__all__:
        thing = getattr(module, name)
        assert name in dir(module)
        if callable(thing):
            assert not isinstance(thing, ModuleType)
            assert (thing.__doc__ or "").strip(), f"{package}.{name} has no docstring"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_is_not_hidden_by_a_module_of_the_same_name(package) -> None:
    """A package's attribute becomes the module once that is imported, so no function may share its name."""
    module = import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert not modules & {
        name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)
    }


@pytest.mark.parametrize("package", [name for name in PUBLIC if name != "interp"])
def test_type_checkers_are_told_the_homes_that_names_are_loaded_from(package) -> None:
    module = import_module(package)
    told = {}
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            told |= {each.name: node.module for each in node.names}
    homes = {name: f"{package}.{home}" for home, names in module._HOMES.items() for name in names}
    assert {name: told.get(name) for name in homes} == homes
    assert set(homes) == set(module.__all__)


def test_importing_the_packages_loads_no_torch() -> None:
    code = f"import sys, {', '.join(PUBLIC)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
