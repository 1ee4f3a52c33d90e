"""Checks of annotated calls (jaxtyping's shapes, by beartype), thinned out in loops: what the tests run under.

Owns: how often a call is checked. In each test the first `FIRST` calls of a function are, then one in `EVERY`; with
full counts (ALGOSCOPE_FULL=1) all are. A check takes 10 to 70 microseconds, more than many a function that it guards:
simulations that call one ten thousand times spent nine tenths of their time on shapes that had been checked before.
Functions without an array among their annotations (five in six) are left alone: plain types are the type checker's, and
to make ready the checks of one takes longer than a test of it. The others are made ready when they are first called.
What it does not see: a wrong shape that only a rare call of a long loop has.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import jaxtyping

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
    if not FULL:
        jaxtyping.jaxtyped = thinned
        sys.setrecursionlimit(4000)  # a checked call takes several frames: what nests 200 deep would not fit


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
