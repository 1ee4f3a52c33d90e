"""Running analyses at the checkpoints of a run: tables with a caption.

`measure` runs any registered analysis (`interp.analysis.registry`), of this package or a plug-in; the other modules of
this package provide the shipped analyses as methods, with their settings by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from interp.analysis.base import Analysis, Progress
from interp.analysis.progress import reported
from interp.analysis.registry import build, entries, entry
from interp.analysis.result import Result
from interp.analysis.stream import analyse
from interp.runs.checkpoints import Checkpoints
from interp.runs.steps import Steps
from tasks import UserError


class Measuring(Checkpoints):
    """Checkpoints on which analyses can be run."""

    def tables(
        self, analyses: Iterable[Analysis], steps: Steps = "all", progress: Progress | None = None
    ) -> dict[str, pd.DataFrame]:
        """Several analyses in shared forward passes; tables by the analyses' names."""
        asked = list(analyses)
        with reported(progress, ", ".join(analysis.name for analysis in asked)) as report:
            return analyse(self, asked, self.resolve(steps), report)

    def measure(
        self, analysis: Analysis | str, steps: Steps = "all", progress: Progress | None = None
    ) -> Result:
        """Any registered analysis, with its settings or by its name alone; `analyses` lists them.

        Raises UserError for a name that is not registered, and where the analysis does not apply to this run.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.measure("ablation", steps="last").table["metric"].unique().tolist()
        ['ablation effect']
        """
        asked = build(analysis) if isinstance(analysis, str) else analysis
        found = entry(asked.name)
        table = self.tables([asked], steps, progress)[asked.name]
        return Result(asked.name, table, found.caption_of(asked, self.task))

    def analyses(self) -> pd.DataFrame:
        """The registered analyses that apply to this run: name, command, caption and columns of the table.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> {"scores", "roles", "circuit"} <= set(run.analyses()["name"])
        True
        """
        here = [each for each in entries() if each.applies_to(self.config.model, self.task)]
        return pd.DataFrame(
            {
                "name": [each.name for each in here],
                "command": [each.words(self.path) for each in here],
                "caption": [each.caption for each in here],
                "columns": [", ".join(each.columns) for each in here],
            }
        )

    def _measured(self, name: str, steps: Steps, progress: Progress | None, /, **settings: Any) -> Result:
        """The analysis of a name with these settings; those that are None are left to it."""
        given = {key: value for key, value in settings.items() if value is not None}
        return self.measure(build(name, **given), steps, progress)

    def _pair(self, pair: Any) -> Any:
        """A kind of pair of the task, the first unless given; one's own as it is. Raises UserError where the task has
        none, or not this one."""
        if pair is not None and not isinstance(pair, str):
            return pair
        kinds = self.task.pair_kinds
        if not kinds:
            raise UserError(
                f"task {self.task.kind!r} has no pairs to patch between: give pairs of your own (pair=...), or give it "
                "`pair_kinds` and `pair` (tasks.Task)"
            )
        if pair is not None and pair not in kinds:
            raise UserError(f"task {self.task.kind!r} has pairs of kind {list(kinds)}, not {pair!r}")
        return pair or kinds[0]
