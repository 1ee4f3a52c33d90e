"""What all tests share: one thread, no width of a terminal, examples that are the same every time unless full counts
are asked for, checks of annotated calls thinned out in loops (`tests.checked`), the dearest files first, and the table
of what the trust tests counted (printed at the end; with full counts also kept in runs/trust).
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import checked, chromium, costs
from tests.forked import Forked
from tests.nets import Nets, shared

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
KEPT = Path(__file__).parents[1] / "runs" / "trust"
COLUMNS = ("section", "what", "tried", "result", "remark")

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # a parent that reads lines sets it, and tables in a pipe keep to it
settings.register_profile("same", derandomize=True)
settings.register_profile("fresh", print_blob=True)
settings.load_profile("fresh" if FULL else "same")
checked.install()


def pytest_collection_finish() -> None:
    """What was imported stays to the end: later rounds of the garbage collector need not go through it again, and
    need not come every 700 objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The dearest files first."""
    known = costs.read(costs.KEPT.read_text(encoding="utf-8"))
    items.sort(key=lambda item: -known.get(item.path.relative_to(costs.ROOT).as_posix(), costs.LEAST))


def _spent() -> float:
    """CPU seconds of this process, of the children that it has waited for, and of those that `forked` has."""
    return sum(os.times()[:4]) + Forked.spent


def _timed(item: pytest.Item) -> Generator[None, object, object]:
    began = _spent()
    try:
        return (yield)
    finally:
        item.user_properties.append(("cpu", _spent() - began))


@pytest.fixture(scope="session")
def forked(tmp_path_factory) -> Iterator[Forked]:
    """Runs programs in processes of their own."""
    if sys.platform != "linux":
        pytest.skip("the process that forks programs for the tests needs Linux (pidfd)")
    found = Forked(shared(tmp_path_factory))
    yield found
    found.close()


@pytest.fixture(scope="session")
def nets(tmp_path_factory) -> Nets:
    """Runs that several tests look at."""
    return Nets(shared(tmp_path_factory) / "nets")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A real Chromium, one for all tests of a process."""
    yield from chromium.started()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    checked.next_test()
    return (yield from _timed(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _timed(item))


def _dearest(reports: list[pytest.TestReport]) -> list[tuple[float, str]]:
    """CPU seconds of every test, fixtures that it was the first to ask for included, dearest first."""
    spent = {
        r.nodeid: sum(value for name, value in r.user_properties if name == "cpu")
        for r in reports
        if r.when == "call"
    }
    return sorted(((cpu, test) for test, cpu in spent.items()), reverse=True)


def pytest_terminal_summary(terminalreporter) -> None:
    """The ten dearest tests, and what the trust tests counted."""
    passed = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, [])]
    dearest = _dearest([r for r in passed if hasattr(r, "when")])
    if len(dearest) > 100:
        terminalreporter.section(
            f"CPU seconds: {sum(cpu for cpu, _ in dearest):.0f} in all; the ten dearest tests"
        )
        for cpu, test in dearest[:10]:
            terminalreporter.write_line(f"{cpu:7.1f}  {test}")
    if file := os.environ.get("ALGOSCOPE_CPU"):
        Path(file).write_text("".join(f"{cpu:.2f}\t{test}\n" for cpu, test in dearest))
    _trust_summary(terminalreporter)


def _trust_summary(terminalreporter) -> None:
    """Rows that tests recorded as the property "trust": a dict with the columns above."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, [])]
    rows = [
        value for r in reports if r.when == "call" for name, value in r.user_properties if name == "trust"
    ]
    if not rows:
        return
    if FULL:
        rows = _kept(rows)
    terminalreporter.section(f"what the trust tests counted ({'full' if FULL else 'small'} counts)")
    terminalreporter.write_line(_table(rows))


def _kept(rows: list[dict]) -> list[dict]:
    """These rows over those of former sessions with full counts, so that the sections can run one by one."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / "rows.json"
    before = json.loads(file.read_text()) if file.exists() else []
    found = {(row["section"], row["what"]): row for row in [*before, *rows]}
    merged = [found[key] for key in sorted(found)]
    file.write_text(json.dumps(merged, indent=1))
    (KEPT / "trust.md").write_text(_table(merged) + "\n")
    return merged


def _exceptions(rows: list[dict]) -> list[dict]:
    """A row for each named exception among the intervals: how many are under it, how often they held, and which."""
    under: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        for named in row.get("exception", {}).items():
            under.setdefault(named, []).append(row)
    found = []
    for (name, why), those in sorted(under.items()):
        held = sorted((row["result"] for row in those), key=lambda text: float(text.rstrip("%")))
        what = f"exception: {name} ({why})"
        result = f"{held[0]} to {held[-1]} of {len(those)} intervals"
        listed = "; ".join(row["what"] for row in those)
        tried = sum(row["tried"] for row in those)
        found.append(
            {"section": "coverage", "what": what, "tried": tried, "result": result, "remark": listed}
        )
    return found


def _table(rows: list[dict]) -> str:
    rows = [*_exceptions(rows), *rows]
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(str(row.get(name, "")) for name in COLUMNS) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
