"""Cached tables at a terminal, as rows of the table: CPU seconds of a fresh interpreter, children included.

Peer: bare pandas that reads the same Parquet file and prints it. `--help` of a command is compared with that of the
whole program; the limit of both is an interpreter that does nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.rows import Row, cpu_seconds, weighed
from tests.bench.whole import SHORT, _child_mb, _python


def cached_rows(quick: bool) -> list[Row]:
    """`interp scores`, `heads` and `runs` on a run whose tables are kept."""
    from interp.config.run import configure
    from interp.run import load
    from interp.train import train

    steps, every = (20, 10) if quick else (200, 10)
    sizes = [f"train.steps={steps}", f"train.schedule.every={every}", *SHORT]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(configure("retrieval", overrides=sizes), run)
        load(run).scores()
        load(run).heads()
        read = {name: run / f"analysis/{name}.parquet" for name in ("scores", "heads")}
        rows = []
        for name, words in {"scores": [str(run)], "heads": [str(run)], "runs": [folder]}.items():
            asked = f"from interp.cli import run; run({[name, *words]!r})"
            peer = f"import pandas; print(pandas.read_parquet({str(read.get(name, read['scores']))!r}))"
            note = f"{steps // every + 1} checkpoints"
            rows.append(_row(f"interp {name}, cached", asked, peer, "pandas, one Parquet file", quick, note))
    return rows


def help_rows(quick: bool) -> list[Row]:
    """Help of single commands."""
    whole = "from interp.cli import run; run(['--help'])"
    return [
        _row(
            f"interp {name} --help",
            f"from interp.cli import run; run([{name!r}, '--help'])",
            whole,
            "interp --help",
            quick,
        )
        for name in ("scores", "patch", "train")
    ]


def _row(name: str, asked: str, peer: str, peer_name: str, quick: bool, note: str = "") -> Row:
    work, other, nothing = _python(asked), _python(peer), _python("pass")
    work()
    other()
    repeats = 2 if quick else 9
    limit = sorted(cpu_seconds(nothing) for _ in range(repeats))[repeats // 2]
    row = Row(
        name, 0.0, baseline_name=peer_name, limit=limit, project_mb=_child_mb(asked), baseline_mb=_child_mb(peer),
        note=f"{note}; limit: an interpreter that does nothing".removeprefix("; "),
    )  # fmt: skip
    return weighed(row, [(cpu_seconds(work), cpu_seconds(other)) for _ in range(repeats)])
