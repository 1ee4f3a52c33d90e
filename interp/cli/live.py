"""What `interp watch` shows of a run, whenever there is something new to see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
from rich.console import Group
from rich.live import Live
from rich.text import Text

from interp.analysis.conclusion import Sentence
from interp.cli import show, wide
from interp.heads.heads import scorable
from interp.run import Run
from tasks.errors import UserError

LINES = 12
FEWEST = 3  # checkpoints before onsets are dated


def follow(run: Run, every: float, once: bool) -> None:
    """Show a run until it has ended: in a terminal in one place, in a pipe one look beneath the other."""
    out = show.console()
    if out.is_terminal:
        with Live(console=out, refresh_per_second=2, transient=False) as live:
            _look(run, every, once, live.update)
    else:
        _look(run, every, once, lambda view: out.print(view))


def _look(run: Run, every: float, once: bool, put: Callable[[Group], object]) -> None:
    """Show a view whenever something is new, until the run has ended."""
    seen = None
    while True:
        ended = _ended(run)  # asked before the tables, so that the last ones include the end
        now = (run.steps, ended)
        if now != seen:
            put(_view(run, ended))
        seen = now
        if once or ended:
            return
        time.sleep(every)


def _ended(run: Run) -> str:
    """How the run ended; empty while it has not."""
    if (step := run.folder.diverged) is not None:
        return f"diverged at step {step}"
    return "finished" if run.folder.finished else ""


def _view(run: Run, ended: str) -> Group:
    """What has emerged; the last checkpoints: score by output position, and the best head on each relation."""
    state = ended or ("training or interrupted" if run.steps else "no checkpoint yet")
    title = f"{run.name}: step {max(run.steps, default=0)} of {run.config.train.steps}, {state}"
    if not run.steps:
        return Group(Text(title))
    onsets = [Text(str(sentence)) for sentence in _onsets(run)]
    parts: list[Any] = [Text(title), *onsets, *show.fitted(_scores_and_heads(run).tail(LINES))]
    if len(readouts := _readouts(run)):
        parts += [
            Text("\nlinear readout of each site, at the last checkpoint"),
            *show.fitted(readouts),
        ]
    return Group(*parts)


def _onsets(run: Run) -> tuple[Sentence, ...]:
    """What has emerged so far, as `interp emergence` says it; nothing while there are too few checkpoints to date."""
    if len(run.steps) < FEWEST:
        return ()
    try:
        return run.emergence().conclusion
    except UserError:
        return ()


def _scores_and_heads(run: Run) -> pd.DataFrame:
    scores = run.scores().table
    metric = run.task.score_name if run.task.score_name in set(scores["metric"]) else "loss"
    frame = wide.by_output(scores[scores["control"] == "none"], metric)
    if not scorable(run.config.model, run.task):
        return frame
    heads = wide.best_heads(run.heads().table)
    return frame.merge(heads[heads.columns[:4]], on="step", how="left")


def _readouts(run: Run) -> pd.DataFrame:
    """One line an output position, one column a site; nothing for a model without readouts."""
    try:
        rows = run.probe(steps="last").table
    except UserError:
        return pd.DataFrame()
    return wide.outputs_by_site(rows[rows["control"] == "none"])
