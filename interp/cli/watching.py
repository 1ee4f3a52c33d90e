"""The command that looks over a training's shoulder."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table

from interp.cli import show, wide
from interp.run import Run, load

LINES = 12


def watch(run: Path, /, *, every: float = 5.0, once: bool = False) -> int:
    """Refresh the scores and head table of a run while it trains, until it is finished or Ctrl-C.

    Example: interp watch runs/mine --every 10

    Parameters
    ----------
    run
        Folder of the run.
    every
        Seconds between looks.
    once
        Look once and stop.
    """
    opened = load(run)
    with Live(console=Console(width=show.console().width), refresh_per_second=2, transient=False) as live:
        while True:
            live.update(_view(opened))
            if once or opened.folder.finished or opened.folder.diverged is not None:
                return 0
            time.sleep(every)


def _view(run: Run) -> Table:
    """The last checkpoints: score by read, and the best head on each relation."""
    title = f"{run.name}: step {max(run.steps, default=0)} of {run.config.train.steps}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    frame = _frame(run)
    for name in frame.columns:
        table.add_column(str(name), justify="right")
    for row in frame.tail(LINES).itertuples(index=False):
        table.add_row(*(show.cell(value) for value in row))
    return table


def _frame(run: Run) -> pd.DataFrame:
    if not run.steps:
        return pd.DataFrame({"step": []})
    scores = run.scores().table
    metric = run.task.score_name if run.task.score_name in set(scores["metric"]) else "loss"
    frame = wide.by_read(scores[scores["control"] == "none"], metric)
    if not hasattr(run.config.model, "n_heads"):
        return frame
    heads = wide.best_heads(run.heads().table)
    return frame.merge(heads[heads.columns[:4]], on="step", how="left")
