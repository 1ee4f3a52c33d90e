"""The sink "trackio": runs in a local SQLite file, which `trackio show` draws; no account, no network.

Chosen among local-first trackers as the one that is kept up (Hugging Face) and comes with a handful of small packages:
mlflow, aim and dvclive bring servers, database layers or a version control system, and wandb's offline files are for
its server. Where the file lies, and whether runs go to a server after all, is for trackio's own variables to say
(TRACKIO_DIR, TRACKIO_SPACE_ID).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from interp.runs.conditions import flattened
from interp.runs.handing import Training
from tasks.errors import UserError

HASH = "settings_hash"


class Trackio:
    """Logs into a project of trackio, under the name of the run's folder, with its settings.

    What was logged there earlier of a run of this name and these settings is replaced. Raises UserError where trackio
    is not installed.
    """

    def __init__(self, project: str = "algoscope"):
        try:
            self._trackio: Any = import_module("trackio")
        except ImportError:
            raise UserError("sink 'trackio' needs trackio: pip install 'algoscope[trackio]'") from None
        self.project = project

    def start(self, training: Training) -> None:
        """Begin the run anew."""
        with contextlib.redirect_stdout(sys.stderr):  # it greets, and a command's output is for results
            for run in self._earlier():
                if run.name == training.name and (run.config or {}).get(HASH) == training.hash:
                    run.delete()
            self._run = self._trackio.init(
                project=self.project, name=training.name, config={**flattened(training.settings), HASH: training.hash},
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def _earlier(self) -> list[Any]:
        """The runs that the project has."""
        try:
            return list(self._trackio.Api().runs(self.project))
        except ValueError:  # no such project yet
            return []

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """All values of a step at once."""
        self._run.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """Wait until all is written."""
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()
