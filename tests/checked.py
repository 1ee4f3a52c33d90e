"""Checks of annotated calls (jaxtyping's shapes, by beartype), thinned out in loops: what the tests run under.

Owns: how often a call is checked. In each test the first `FIRST` calls of a function are, then one in `EVERY`; with
full counts (ALGOSCOPE_FULL=1) all are. A check takes 10 to 70 microseconds, more than many a function that it guards:
simulations that call one ten thousand times spent nine tenths of their time on shapes that had been checked before.
Functions without an array among their annotations (five in six) are left alone: plain types are the type checker's, and
to make ready the checks of one takes longer than a test of it. The others are made ready when they are first called.
What it does not see: a wrong shape that only a rare call of a long loop has.

And how bytecode is kept: the import hook's name for it holds for our modules alone. As it comes, it holds for all that
one of them imports as well: torch, pandas and two thousand other modules were compiled a second time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import sys
import types
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from typing import Any
from unittest.mock import patch

import jaxtyping
from jaxtyping._import_hook import _JaxtypingLoader, _optimized_cache_from_source

FIRST, EVERY = 25, 50
FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
_SHAPE = re.compile(r"\b(?:Bool|Float|Inexact|Int|Integer|Num|Real|Shaped|UInt)\d*\[")
_NAME = re.compile(r"\b[A-Z]\w*")
_every_call = jaxtyping.jaxtyped
_calls: dict[
    int, int
] = {}  # in the test that runs, by id of the code; closures of one function count together


def install() -> None:
    """Take the decorator's place, which the import hook looks up as `jaxtyping.jaxtyped`; before any import of ours."""
    _JaxtypingLoader.get_code = _own_bytecode  # type: ignore[method-assign]
    _JaxtypingLoader.exec_module = SourceFileLoader.exec_module  # type: ignore[method-assign]
    if not FULL:
        jaxtyping.jaxtyped = thinned
        sys.setrecursionlimit(4000)  # a checked call takes several frames: what nests 200 deep would not fit


def _own_bytecode(loader: Any, name: str) -> types.CodeType | None:
    """The code of a module that is checked, under the hook's own name for bytecode."""
    place = functools.partial(_optimized_cache_from_source, loader._typechecker.get_hash())
    with patch("importlib._bootstrap_external.cache_from_source", place):
        return SourceFileLoader.get_code(loader, name)


def has_arrays(function: types.FunctionType) -> bool:
    """Whether an annotation says a shape, by itself or by a name that its module gave to one."""
    for annotation in function.__annotations__.values():
        text = annotation if isinstance(annotation, str) else repr(annotation)
        if _SHAPE.search(text):
            return True
        for name in _NAME.findall(text):
            held = function.__globals__.get(name)
            if held is not None and _SHAPE.search(repr(held)):
                return True
    return False


def next_test() -> None:
    """Every function is checked afresh."""
    _calls.clear()


def thinned(function: Any = None, *, typechecker: Callable) -> Any:
    """As `jaxtyping.jaxtyped`, with calls checked as the module says; of a dataclass those of its `__init__`."""
    if function is None:
        return functools.partial(thinned, typechecker=typechecker)
    if dataclasses.is_dataclass(function):
        if not hasattr(function.__init__, "__wrapped__"):  # written out, or inherited: it is checked already
            function.__init__ = thinned(function.__init__, typechecker=typechecker)
        return function
    if not isinstance(function, types.FunctionType):
        return _every_call(function, typechecker=typechecker)
    if not has_arrays(function):
        return function
    checked = None
    code = id(function.__code__)  # a code object is hashed anew at every look, its constants included

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        count = _calls[code] = _calls.get(code, 0) + 1
        if count > FIRST and count % EVERY:
            return function(*args, **kwargs)
        if checked is None:
            checked = _every_call(function, typechecker=typechecker)
        return checked(*args, **kwargs)

    return call
