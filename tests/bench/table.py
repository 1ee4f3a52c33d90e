"""One command, one table: every comparison with a baseline, its ratio, and how far the machine's own limit is.

    python -m tests.bench.table [ROW ...] [--goals] [--quick] [--out DIR]

`--goals` measures the rows that the project has set goals for (`GOALS`), about a quarter of an hour on a quiet machine.

A row is a function of one argument, whether to be quick, that returns its lines (see `rows.Row`). Each runs in a
process of its own, one thread, so that one that fails prints its reason and the others go on. Writes bench.json
and bench.md into DIR (runs/bench); a row run again takes the place of its former lines. Nothing here is a test:
times depend on the machine and on what else runs there: "load" is its load average before and after the row.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import UserError
from tests.bench.rows import Row

OUT = Path("runs/bench")
COLUMNS = (
    "row",
    "ours",
    "peer",
    "ours / peer (spread)",
    "pairs",
    "ours / limit",
    "peak MB ours, peer",
    "load",
    "note",
)
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def training_step(quick: bool) -> list[Row]:
    """A step of the hooked model against a plain torch one."""
    from tests.bench import training_step

    return training_step.rows(quick)


def time_to_risk(quick: bool) -> list[Row]:
    """The regression preset against the published recipe, on the same model and task."""
    from tests.bench import recipes

    return recipes.rows(quick)


def probes(quick: bool) -> list[Row]:
    """The probe sweep against scikit-learn."""
    from tests.bench import baselines

    return baselines.probe_rows(quick)


def patching(quick: bool) -> list[Row]:
    """Patching sweeps, and the attribution screen, against TransformerLens' loop."""
    from tests.bench import baselines

    return baselines.patching_rows(quick)


def report(quick: bool) -> list[Row]:
    """A whole report, by checkpoint."""
    from tests.bench import whole

    return whole.report_rows(quick)


def startup(quick: bool) -> list[Row]:
    """Import and --help."""
    from tests.bench import whole

    return whole.startup_rows(quick)


def cached(quick: bool) -> list[Row]:
    """Kept tables at a terminal, and help of single commands."""
    from tests.bench import terminal

    return [*terminal.cached_rows(quick), *terminal.help_rows(quick)]


def estimates(quick: bool) -> list[Row]:
    """Edge attribution and the learning coefficient."""
    from tests.bench import estimates

    return [*estimates.edge_rows(quick), *estimates.coefficient_rows(quick)]


def muon(quick: bool) -> list[Row]:
    """A training step with stacked Muon against torch's."""
    from tests.bench import estimates

    return estimates.muon_rows(quick)


def language_model(quick: bool) -> list[Row]:
    """Patching a language model."""
    from tests.bench import estimates

    return estimates.language_rows(quick)


def pretrained(quick: bool) -> list[Row]:
    """A pretrained language model against the same work by hand (needs its weights)."""
    from tests.bench import pretrained

    return pretrained.rows(quick)


def first_page(quick: bool) -> list[Row]:
    """Training and report of a run, as commands."""
    from tests.bench import commands

    return commands.page_rows(quick)


def demo(quick: bool) -> list[Row]:
    """The whole demo, as a command."""
    from tests.bench import commands

    return commands.demo_rows(quick)


def opening(quick: bool) -> list[Row]:
    """A page opened in a browser."""
    from tests.bench import page

    return page.opening_rows(quick)


def circuits(quick: bool) -> list[Row]:
    """Edges of a large model, and the search for its circuit."""
    from tests.bench import circuits

    return [*circuits.estimate_rows(quick), *circuits.search_rows(quick)]


def linear(quick: bool) -> list[Row]:
    """A step of the linear transformer: Gram form against token form, stacks against single runs."""
    from tests.bench import small

    return small.linear_rows(quick)


def single_index(quick: bool) -> list[Row]:
    """A step of the reduced chain against SGD on all weights."""
    from tests.bench import small

    return small.single_index_rows(quick)


def stacked(quick: bool) -> list[Row]:
    """Several runs trained as one stack."""
    from tests.bench import baselines

    return baselines.stacked_rows(quick)


ROWS: dict[str, Callable[[bool], list[Row]]] = {
    "training-step": training_step, "time-to-floor": time_to_risk, "probes": probes, "patching": patching,
    "stacked": stacked, "linear": linear, "single-index": single_index, "report": report, "startup": startup,
    "cached": cached, "estimates": estimates, "muon": muon, "language-model": language_model,
    "pretrained": pretrained, "first-page": first_page, "demo": demo, "circuits": circuits, "page": opening,
}  # fmt: skip
GOALS = (
    "first-page", "demo", "cached", "startup", "muon", "patching", "estimates", "circuits", "probes", "pretrained",
    "page",
)  # fmt: skip


def measure(name: str, quick: bool) -> list[dict[str, Any]]:
    """The lines of one row, from a process of its own; a failure is a line that says why."""
    command = [sys.executable, "-m", "tests.bench.table", "--alone", name, *(["--quick"] if quick else [])]
    before, spent = os.getloadavg()[0], _children()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **THREADS})
    if done.returncode == 0:
        lines = json.loads(done.stdout.splitlines()[-1])
    else:
        why = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        lines = [dataclasses.asdict(Row(name, math.nan, note=f"failed: {why}"))]
    when = {"quick": quick, "measured": datetime.now(UTC).isoformat(timespec="seconds")}
    when |= {"load": f"{before:.1f}, {os.getloadavg()[0]:.1f}", "took": round(_children() - spent)}
    return [{"key": name, **when, **line} for line in lines]


def _children() -> float:
    """CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(lines: list[dict[str, Any]]) -> str:
    """The table as people read it, and what it costs to make it."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(_cells(line) for line in lines)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    took = {line["key"]: line["took"] for line in lines if "took" in line}
    listed = ", ".join(f"{name} {seconds}" for name, seconds in took.items())
    return f"{table}\n\nCPU seconds that the rows took to measure: {listed}; {sum(took.values())} in all."


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    ratio = _number(line["ratio"])
    if line["pairs"] > 1 and ratio != "-":
        ratio += f" ({_number(line['low'])} to {_number(line['high'])})"
    baseline = (
        f"{_number(line['baseline'])} {line['baseline_name']}" if line["baseline_name"] != "none" else "-"
    )
    memory = f"{_number(line['project_mb'], 0)}, {_number(line['baseline_mb'], 0)}"
    note = f"{line['note']}; quick" if line["quick"] else line["note"]
    project = f"{_number(line['project'])} {line['unit']}"
    pairs, limit = str(line["pairs"]), _number(line["over_limit"])
    return (line["name"], project, baseline, ratio, pairs, limit, memory, line.get("load", "-"), note)


def _number(value: float | None, digits: int | None = None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "> budget"
    return f"{value:.{digits}f}" if digits is not None else f"{value:.3g}"


def _kept(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _alone(name: str, quick: bool) -> int:
    from tests.bench.rows import one_thread

    one_thread()
    try:
        print(json.dumps([dataclasses.asdict(row) for row in ROWS[name](quick)]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def main() -> int:
    """Measure the rows asked for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("rows", nargs="*", help=f"which of {', '.join(ROWS)} (all unless named)")
    parser.add_argument("--goals", action="store_true", help=f"the rows with goals: {', '.join(GOALS)}")
    parser.add_argument("--quick", action="store_true", help="few repeats, small sizes, short budgets")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        return _alone(asked.alone, asked.quick)
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"unknown row {sorted(unknown)[0]!r}: there are {', '.join(ROWS)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys([*asked.rows, *(GOALS if asked.goals else ())]) or ROWS:
        print(f"measuring {name} ...", file=sys.stderr)
        lines = measure(name, asked.quick)
        rest = [line for line in _kept(asked.out / "bench.json") if line["key"] != name]
        kept = sorted([*rest, *lines], key=lambda line: list(ROWS).index(line["key"]))
        (asked.out / "bench.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
        (asked.out / "bench.md").write_text(markdown(kept) + "\n", encoding="utf-8")
    print((asked.out / "bench.md").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
