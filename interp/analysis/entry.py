"""The registry's entry of one analysis, and how its class, its settings and its command follow from it.

No analysis is imported before it is needed: classes and conditions may be named as "module:name".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.analysis.base import Analysis
    from interp.analysis.conclusion import Conclude

IDENTITY = ("run", "seed", "step")  # columns that every table has in front
RUN = "RUN"  # where the folder stands in a command
Applies = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Entry:
    """One analysis as the rest of the package sees it.

    `home`: its class, or "module:Class". `caption`: how its table reads, one sentence or two, in which {setting} stands
    for a setting of the analysis and {score} for what the task scores by. `columns`: of its table, besides `IDENTITY`;
    those of some tasks or settings only are counted in. `applies`: whether it can be taken of a run, from the model's
    settings and the task, or "module:function" of these; of every run unless given. `command`: what shows it at the
    terminal, RUN for the folder; `interp measure RUN NAME` unless given. `section`: where the report's page shows it;
    the rows of section "scores" are drawn as curves over training, whoever wrote the analysis. `conclude`: what its
    table says in one or two sentences (`interp.analysis.conclusion`), a function of the table, or "module:function".
    `plot`: how matplotlib draws it, a function of the table and of axes, or "module:function".
    """

    name: str
    home: type[Analysis] | str
    caption: str
    columns: tuple[str, ...]
    applies: Applies | str = ""
    command: str = ""
    section: str = ""
    conclude: Conclude | str = ""
    plot: Callable[[Any, Any], Any] | str = ""

    def load(self) -> type[Analysis]:
        """The class of the analysis."""
        return found(self.home) if isinstance(self.home, str) else self.home

    @property
    def file(self) -> str:
        """Name of its tables under RUN/analysis; a star where settings that have no usual value stand in it."""
        required = any(field.is_required() for field in self.load().model_fields.values())
        return f"{self.name}-*" if required else self.name

    def applies_to(self, settings: Any, task: Any) -> bool:
        """Whether the analysis can be taken of a run with such a model (its settings) and task."""
        if self.applies == "":
            return True
        condition = found(self.applies) if isinstance(self.applies, str) else self.applies
        return condition(settings, task)

    def words(self, run: Path | str = RUN) -> str:
        """The command line that shows the analysis of a run."""
        command = self.command or f"measure {RUN} {self.name}"
        return "interp " + " ".join(str(run) if word == RUN else word for word in command.split())

    def caption_of(self, analysis: Analysis, task: Any) -> str:
        """The caption with the settings of one measurement in it."""
        from interp.analysis.own import name_of

        score = "accuracy" if task.score_name == "accuracy" else "error"
        settings = {name: name_of(getattr(analysis, name)) for name in type(analysis).model_fields}
        return self.caption.format(**{**settings, "score": score})


def found(home: str) -> Any:
    """What "module:name" stands for."""
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)
