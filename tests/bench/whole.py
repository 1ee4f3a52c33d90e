"""Commands as a user meets them: a whole report by checkpoint, importing the package, asking for help."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.cost import matmul_rate
from tests.bench.rows import NONE, Row, Work, cpu_seconds, flop_of, peak_mb, weighed

STATUS = Path("/proc/self/status")
SHORT = ["train.schedule.log=0", "train.save_every=1000"]


def report_rows(quick: bool) -> list[Row]:
    """Report of the `retrieval` preset's model after a short training: analyses and page, nothing kept before."""
    from interp.config.run import configure
    from interp.run import load
    from interp.train import train

    steps, every = (20, 10) if quick else (200, 10)
    sizes = [f"train.steps={steps}", f"train.schedule.every={every}", *SHORT]
    times, count = [], steps // every + 1
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(configure("retrieval", overrides=sizes), run)
        for _ in range(1 if quick else 3):
            times.append(cpu_seconds(lambda: _report(run)) / count)
        memory = peak_mb(lambda: _report(run))
        flop = flop_of(lambda: load_and_report(run, load))
    limit, project = flop / count / matmul_rate(seconds=0.5), sorted(times)[len(times) // 2]
    note = f"{count} checkpoints, from {min(times):.3g} to {max(times):.3g} s"
    return [
        Row(
            "whole report, a checkpoint",
            project,
            limit=limit,
            over_limit=project / limit,
            project_mb=memory,
            pairs=len(times),
            note=note,
        )
    ]


def _report(run: Path) -> None:
    from interp.run import load

    load_and_report(run, load)


def load_and_report(run: Path, load) -> None:
    """Write the page with no table of a former one to go by."""
    import shutil

    from interp.report.collect import write_report

    shutil.rmtree(run / "analysis", ignore_errors=True)
    write_report([load(run)], run / "report.html")


def startup_rows(quick: bool) -> list[Row]:
    """CPU seconds of a fresh interpreter; the limit is one that does nothing."""
    repeats = 2 if quick else 9
    conditions = {
        "import interp": "import interp",
        "interp --help": "from interp.cli import run; run(['--help'])",
    }
    bare, lens = _python("pass"), _python("import transformer_lens")
    lens()
    baselines, baseline_mb = (
        [cpu_seconds(lens) for _ in range(max(1, repeats // 3))],
        _child_mb("import transformer_lens"),
    )
    floor = sorted(cpu_seconds(bare) for _ in range(repeats))[repeats // 2]
    rows = []
    for name, code in conditions.items():
        work = _python(code)
        work()
        times = [(cpu_seconds(work), baselines[k % len(baselines)]) for k in range(repeats)]
        row = Row(
            name, 0.0, baseline_name="import transformer_lens", limit=floor, project_mb=_child_mb(code),
            baseline_mb=baseline_mb,
            note="limit: an interpreter that does nothing",
        )  # fmt: skip
        rows.append(weighed(row, times))
    return rows


def _python(code: str) -> Work:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _child_mb(code: str) -> float:
    """Peak memory of an interpreter by itself: its own high-water mark, for what its parent is told of it begins at
    the parent's size. nan where there is no /proc.
    """
    if not STATUS.exists():
        return NONE
    told = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(open('{STATUS}').read()))\n"
    done = subprocess.run([sys.executable, "-c", told + code], check=True, capture_output=True, text=True)
    return next(int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("VmHWM")) / 1024
