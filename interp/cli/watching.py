"""The command that looks over a training's shoulder."""

from __future__ import annotations

from pathlib import Path


def watch(run: Path, /, *, every: float = 5.0, once: bool = False) -> int:
    """Refresh the scores, heads and readouts of a run while it trains, until it is finished or Ctrl-C.

    In a pipe the tables are printed anew whenever there is another checkpoint.

    Parameters
    ----------
    run
        Folder of the run.
    every
        Seconds between looks.
    once
        Look once and stop.
    """
    from interp.cli import live
    from interp.run import load
    from tasks.errors import UserError

    if every <= 0:
        raise UserError(f"--every {every:g}: seconds between looks, more than 0")
    live.follow(load(run), every, once)
    return 0
