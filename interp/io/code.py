"""A hash of the code that is not this package's: tasks, models, analyses, metrics and targets of a user's own.

It covers what decides such code's numbers: the file that defines it, the user's modules that this file imports, the
code as it runs (a file may have been edited since), defaults, closures and the values of globals that it refers to,
arrays by their bytes. Classes may state a `version` for what cannot be seen here, such as data that they read. What
cannot be hashed (a lambda typed at a prompt, a cell of a notebook, an object without a plain value) is not cached.
Code of this package adds nothing: its analyses have versions. Of other people's libraries only the version counts.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.io.modules import PACKAGES, file_of, imports_of, installed, is_foreign
from interp.io.values import Unplain, plain_value

_MACHINERY = ("model_config", "model_fields", "model_computed_fields", "model_post_init")
_DUNDERS = ("__init__", "__call__", "__new__", "__post_init__", "__getattr__", "__getitem__", "__eq__")


class Uncacheable(Exception):
    """Code that cannot be hashed; the text says which, in a few words."""


def code_hash(roots: Iterable[Any]) -> str:
    """A hash of the user's code among classes, functions and objects; "" where all of it is this package's.

    Raises Uncacheable for code that has no file, or values that are not plain.
    """
    walk = _Walk()
    for root in roots:
        walk.visit(root)
    if not walk.foreign:
        return ""
    digest = hashlib.sha256()
    for part in sorted(walk.parts):
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()


class _Walk:
    """Goes through code and what it refers to, each thing once."""

    def __init__(self) -> None:
        self.parts: set[bytes] = set()
        self.foreign = False
        self.homes: set[str] = set()  # top-level packages of the user's code, also where they are installed
        self._seen: set[int] = set()
        self._held: list[Any] = []  # what was seen stays alive, or its id would be another's

    def visit(self, thing: Any, where: str = "") -> None:
        """Take in a value, a function, a class or a module."""
        if id(thing) in self._seen and not isinstance(thing, int | float | str | bytes | bool | None):
            return
        self._seen.add(id(thing))
        self._held.append(thing)
        if isinstance(thing, type):
            self._class(thing)
        elif isinstance(thing, types.ModuleType):
            self._module(thing.__name__)
        elif isinstance(thing, functools.partial):
            self.visit((thing.func, thing.args, thing.keywords), where)
        elif isinstance(thing, property):
            self.visit((thing.fget, thing.fset), where)
        elif isinstance(thing, functools.cached_property):
            self.visit(thing.func, where)
        elif isinstance(thing, staticmethod | classmethod | types.MethodType):
            self.visit(thing.__func__, where)
            self.visit(getattr(thing, "__self__", None), where)
        elif isinstance(thing, types.FunctionType):
            self.visit(vars(thing).get("__wrapped__"))
            if "__wrapped__" not in vars(thing) or _written(thing.__code__):
                self._function(thing)
        elif callable(wrapped := getattr(thing, "__wrapped__", None)):
            self.visit(wrapped, where)
        else:
            self._value(thing, where)

    def _value(self, thing: Any, where: str) -> None:
        if isinstance(thing, tuple | list | set | frozenset | dict):
            inner = [*thing.keys(), *thing.values()] if isinstance(thing, dict) else list(thing)
            if any(callable(part) or isinstance(part, tuple | list | dict) for part in inner):
                for part in inner:
                    self.visit(part, where)
                return
        if not isinstance(thing, types.BuiltinFunctionType) and is_foreign(type(thing), self.homes):
            self.visit(type(thing), where)
        try:
            self.parts.add(f"{where}=".encode() + plain_value(thing))
        except Unplain as odd:
            raise Uncacheable(f"{where or 'it'} refers to {odd}") from None

    def _class(self, cls: type) -> None:
        if cls.__module__.split(".")[0] not in PACKAGES and not is_foreign(cls, self.homes):
            return
        for base in cls.__mro__:
            top = base.__module__.split(".")[0]
            if top in PACKAGES:
                self._patched(base)
            elif base is cls or is_foreign(base, self.homes):
                self._own_class(base)

    def _patched(self, cls: type) -> None:
        """Methods of a class of ours that somebody has replaced."""
        for value in vars(cls).values():
            function = inspect.unwrap(value) if isinstance(value, types.FunctionType) else None
            if isinstance(function, types.FunctionType) and is_foreign(function, self.homes):
                self.visit(function)

    def _own_class(self, cls: type) -> None:
        self._foreign(cls.__module__, cls.__qualname__)
        home = sys.modules.get(cls.__module__)
        if "." not in cls.__qualname__ and (home is None or vars(home).get(cls.__name__) is not cls):
            raise Uncacheable(
                f"{cls.__qualname__} is not what its module holds now: it was defined again, or elsewhere"
            )
        for name, value in sorted(vars(cls).items()):
            if name in _MACHINERY or name.startswith(("__pydantic", "_abc_")):
                continue
            if isinstance(value, list | dict | set):
                continue  # what a class collects while it works; how it begins stands in the file
            if name.startswith("__") and (
                name not in _DUNDERS or not _written(getattr(value, "__code__", None))
            ):
                continue  # what dataclasses and the like generate follows from the file
            self.visit(value, f"{cls.__qualname__}.{name}")
        for name, field in getattr(cls, "__pydantic_fields__", {}).items():
            if field.default_factory is not None:
                self.visit(field.default_factory, f"{cls.__qualname__}.{name}")

    def _function(self, function: types.FunctionType) -> None:
        if not is_foreign(function, self.homes):
            return
        if not _written(function.__code__):
            raise Uncacheable(f"{function.__qualname__} was typed at a prompt or a cell: it has no file")
        self._foreign(function.__module__, function.__qualname__)
        self._code(function.__code__)
        self.visit((function.__defaults__ or (), function.__kwdefaults__ or {}), function.__qualname__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.visit(_content(cell), f"{function.__qualname__}.{name}")
        names = sorted(_names(function.__code__))
        for name in names:
            if name in function.__globals__:
                found = function.__globals__[name]
                self.visit(found, name)
                if isinstance(found, types.ModuleType) and self._is_users(found.__name__):
                    for part in names:
                        if part in vars(found):
                            self.visit(vars(found)[part], f"{name}.{part}")

    def _is_users(self, module: str) -> bool:
        top, file = module.split(".")[0], file_of(module)
        if top in PACKAGES or top in sys.stdlib_module_names or file is None:
            return False
        return top in self.homes or not installed(file)

    def _code(self, code: types.CodeType) -> None:
        """The code as it runs, without where its lines stand."""
        constants = [plain_value(c) for c in code.co_consts if not isinstance(c, types.CodeType)]
        self.parts.add(repr((code.co_name, code.co_code, code.co_names, constants)).encode())
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant)

    def _foreign(self, module: str, what: str) -> None:
        self.foreign = True
        self.homes.add(module.split(".")[0])
        if module == "__main__" and (hasattr(sys, "ps1") or not hasattr(sys.modules["__main__"], "__file__")):
            raise Uncacheable(f"{what} was typed at a prompt or a cell: it has no file")
        self._module(module)

    def _module(self, name: str) -> None:
        """A user's module by its file, with the user's modules that the file imports; of a library its version."""
        key = f"module {name}".encode()
        if (
            name.split(".")[0] in PACKAGES
            or name.split(".")[0] in sys.stdlib_module_names
            or key in self.parts
        ):
            return
        self.parts.add(key)
        file = file_of(name)
        if file is None or (installed(file) and name.split(".")[0] not in self.homes):
            self.parts.add(f"{name} {getattr(sys.modules.get(name), '__version__', '')}".encode())
            return
        text = file.read_bytes()
        self.parts.add(f"file of {name}: ".encode() + hashlib.sha256(text).digest())
        for imported in imports_of(text, name, file.name == "__init__.py"):
            self._module(imported)


def _written(code: types.CodeType | None) -> bool:
    """Whether code stands in a file, not in a cell, at a prompt, or in a string."""
    return code is not None and Path(code.co_filename).is_file()


def _names(code: types.CodeType) -> set[str]:
    """Names that code, and code within it, may look up among globals."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*(_names(c) for c in inner))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
