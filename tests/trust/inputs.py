"""What hostile input is made of, and how it is tried.

Each test draws inputs by hypothesis on top of a corpus, counts them, and asserts for each one that the reader returned
something equal to the truth or raised a one-line UserError; anything else (another exception, a hang, memory without
bound, code that ran) fails. The address space of the process is bounded while inputs are tried.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from tasks.errors import UserError

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
EACH = 2000 if FULL else 60
MEMORY = 3 << 30  # bytes of address space that the inputs of a test may take on top of what is there
LONGEST = 1100  # characters of an error
SETTINGS: dict[str, Any] = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {
        "kind": "transformer",
        "n_layers": 1,
        "n_heads": 1,
        "d_model": 4,
        "mlp": "none",
        "mask": "full",
    },
    "train": {
        "steps": 10,
        "batch": 4,
        "lr": 0.01,
        "eval_batch": 8,
        "save_every": 5,
        "schedule": {"every": 5},
    },
}
TEXTS = [
    "", " ", "\0", "\x1b[2J", "\n", "../../etc/passwd", "/etc/passwd", "..", "~", "a" * 10_000, "\u202egnp.exe",
    "\ud800", "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "%n%s",
    "';--", "[red]",
    "__import__('os').system('id')", "!!python/object/apply:os.system ['id']", "$(touch x)", "`touch x`", "nan",
    "-0", "1e999",
]  # fmt: skip
NUMBERS = [0, -1, 10**9, 10**18, 10**40, 2**63, 1e308, float("nan"), float("inf"), -0.0, 1e-320, True]
LEAVES = st.sampled_from([*TEXTS, *NUMBERS, None]) | st.text(max_size=20) | st.integers() | st.floats()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def attempt(call: Callable[[], Any]) -> Any:
    """What the call returns, or None where it refused in one clear line; nothing else may come out of it."""
    try:
        return call()
    except UserError as error:
        said = str(error)
        assert said.strip()
        assert "\n" not in said
        assert len(said) <= LONGEST
        return None


class Tried:
    """Counts inputs, and gives the row of the table when all of them have been survived."""

    def __init__(self, what: str, record_property: Any):
        self.what, self.record, self.count, self.read = what, record_property, 0, 0

    def __call__(self, call: Callable[[], Any]) -> Any:
        self.count += 1
        found = attempt(call)
        self.read += found is not None
        return found

    def over(
        self, strategy: st.SearchStrategy, corpus: list, check: Callable[[Any], None], share: float = 1.0
    ) -> None:
        """Check every input of the corpus, then as many drawn ones as the counts say."""
        drawn = budget(
            max_examples=max(5, int(EACH * share)),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )(given(strategy)(check))
        with bounded_memory():
            for value in corpus:
                check(value)
            drawn()
        result = f"{self.count - self.read} refused in one line, {self.read} read rightly"
        self.record(
            "trust", {"section": "hostile input", "what": self.what, "tried": self.count, "result": result}
        )


def spliced(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with a part cut out, doubled, or overwritten."""
    place = st.integers(0, len(data))
    other = st.binary(max_size=40) | st.sampled_from(
        [b'"', b"9" * 30, b"{", b"\n", b"\xff\xff\xff\xff", b"NaN", b"[" * 50]
    )
    return st.tuples(place, place, other).map(lambda c: data[: min(c[:2])] + c[2] + data[max(c[:2]) :])
