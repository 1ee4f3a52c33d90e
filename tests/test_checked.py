"""Calls are checked as `tests.checked` says: each function's first calls in a test, then some, with full counts all."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError, install_import_hook
from torch import Tensor

from tests import checked


def halves(x: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
    return x / 2


def wrong(function: Any) -> bool:
    """Whether a call with a vector in place of a matrix is found."""
    try:
        function(torch.zeros(3))
    except TypeCheckError:
        return True
    return False


def test_first_calls_are_checked_then_one_in_some_and_again_in_the_next_test() -> None:
    function = checked.thinned(typechecker=beartype)(halves)
    found = [wrong(function) for _ in range(checked.FIRST + 2 * checked.EVERY)]
    assert all(found[: checked.FIRST])
    assert sum(found[checked.FIRST :]) == 2
    checked.next_test()
    assert wrong(function)
    assert torch.equal(function(torch.ones(2, 2)), torch.full((2, 2), 0.5))


def test_functions_made_anew_count_together_and_are_checked_too() -> None:
    def make() -> Any:
        def inner(x: Float[Tensor, "a b"]) -> None:
            pass

        return checked.thinned(inner, typechecker=beartype)

    found = [wrong(make()) for _ in range(checked.FIRST + checked.EVERY)]
    assert all(found[: checked.FIRST])
    assert sum(found[checked.FIRST :]) == 1


def plain(steps: int, name: str = "") -> None:
    pass


@dataclass
class Held:
    values: Float[Tensor, "a b"]


Pair = tuple[Float[Tensor, " a"], int]


def named(pair: Pair) -> None:
    pass


def test_what_says_no_shape_is_left_alone_and_a_name_for_a_shape_is_seen() -> None:
    assert checked.thinned(plain, typechecker=beartype) is plain
    assert checked.has_arrays(halves)
    assert checked.has_arrays(named)
    kept = checked.thinned(Held, typechecker=beartype)
    assert kept is checked.thinned(kept, typechecker=beartype)
    with pytest.raises(TypeCheckError):
        kept(torch.zeros(3))


def test_our_own_code_runs_under_it(pytestconfig) -> None:
    from probes.stats import bootstrap

    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("no checks were asked for")
    with pytest.raises(TypeCheckError):
        bootstrap("no tensor")  # type: ignore[arg-type]


def test_what_our_modules_import_keeps_its_own_bytecode(tmp_path, monkeypatch) -> None:
    for name, text in (("checked_ours", "import checked_theirs\n"), ("checked_theirs", "found = 1\n")):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(tmp_path)
    with install_import_hook("checked_ours", "beartype.beartype"):
        importlib.import_module("checked_ours")
    tagged = {path.name.split(".")[0]: "jaxtyping" in path.name for path in tmp_path.rglob("*.pyc")}
    assert tagged == {"checked_ours": True, "checked_theirs": False}
