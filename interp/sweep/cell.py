"""What a worker does for one cell: train (or resume, or skip) the run, then measure it. Runs in another process.

Everything that can go wrong comes back as text: a worker's own failure must not take the sweep with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from interp import __version__

ANALYSES = ("scores", "heads", "probe")


def run_cell(path: str, settings: dict[str, Any], analyses: tuple[str, ...]) -> str | None:
    """Bring one run to its end and measure it; None when all went well, else the reason in one line."""
    from interp.config import parse_config
    from interp.run import load
    from interp.train import Diverged, train
    from tasks.errors import UserError

    try:
        train(parse_config(settings), path)
        load(path).tables([analysis(name) for name in analyses])
    except (UserError, Diverged) as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None


def analysis(name: str) -> Any:
    """The analysis of a name. Raises UserError for an unknown one."""
    from interp.develop.heads import HeadScores
    from interp.develop.readouts import Readouts
    from interp.develop.scores import Scores
    from tasks.errors import UserError

    known = dict(zip(ANALYSES, (Scores, HeadScores, Readouts), strict=True))
    if name not in known:
        raise UserError(f"unknown analysis {name!r}: known are {', '.join(ANALYSES)}")
    return known[name]()


def about() -> dict[str, str]:
    """What a worker is: version of this package, its process, and where it keeps files."""
    return {"version": __version__, "pid": str(os.getpid()), "folder": str(Path.cwd())}
