"""The command that refreshes the tables of a run while it trains."""

from __future__ import annotations

from pathlib import Path


def watch(run: Path, /, *, every: float = 5.0, once: bool = False) -> int:
    """Refresh the scores, heads and readouts of a run while it trains, until it is finished or Ctrl-C.

    In a pipe the tables are printed again at each new checkpoint.

    Parameters
    ----------
    run
        Folder of the run.
    every
        Seconds between updates.
    once
        Print once and stop.
    """
    from interp.cli import live
    from interp.run import load
    from tasks.errors import UserError

    if every <= 0:
        raise UserError(f"--every {every:g}: seconds between updates, more than 0")
    live.follow(load(run), every, once)
    return 0
