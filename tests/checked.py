"""Checks of annotated calls (jaxtyping's shapes, by beartype), thinned out in loops: what the tests run under.

Owns: how often a call is checked. In each test the first `FIRST` calls of a function are, then one in `EVERY`; with
full counts (ALGOSCOPE_FULL=1) all are. A check takes 10 to 70 microseconds, more than many a function that it guards:
simulations that call one ten thousand times spent nine tenths of their time on shapes that had been checked before.
A function is made ready for its checks when it is first called: of those that are imported most never are.
What it does not see: a wrong shape that only a rare call of a long loop has.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import jaxtyping

FIRST, EVERY = 100, 50
FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
_every_call = jaxtyping.jaxtyped
_calls: dict[types.CodeType, int] = {}  # in the test that runs; closures of one function count together


def install() -> None:
    """Take the decorator's place, which the import hook looks up as `jaxtyping.jaxtyped`; before any import of ours."""
    if not FULL:
        jaxtyping.jaxtyped = thinned
        sys.setrecursionlimit(4000)  # a checked call takes several frames: what nests 200 deep would not fit


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
    checked = None
    code = function.__code__

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
