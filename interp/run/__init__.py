"""The main Python interface: a run and all its analyses.

`load` reads the configuration and the list of checkpoints; nothing else is loaded until a model, a table or a picture
is requested. Every analysis returns a `Result` whose `table` is a long DataFrame, cached under RUN/analysis. The
contents of a run (checkpoints, models, interventions) are in `interp.runs.checkpoints`; the analyses as methods are in
this package, one module for each package that implements them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.config.run import RunConfig, configure
from interp.run.causes import CausalQuestions
from interp.run.emergence import EmergenceQuestions
from interp.run.groups import Groups
from interp.run.heads import HeadQuestions
from interp.run.landscape import LandscapeQuestions
from interp.run.readouts import ReadoutQuestions
from interp.runs.asking import now
from interp.runs.folder import RunFolder
from interp.runs.handing import Sink
from interp.runs.steps import Steps
from tasks import UserError
from tasks.renamed import keywords

if TYPE_CHECKING:
    from xarray import Dataset

    from interp.explore.view import View

__all__ = ["Run", "load"]


@keywords
def load(
    path: str | Path,
    *,
    without_interventions: bool = False,
    tables: str | Path | None = None,
    fresh: bool | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Run:
    """The run in a folder. Raises UserError when the folder holds none, or a damaged one.

    A run that was trained with clamps is measured with these interventions active unless `without_interventions`.
    `tables` caches what is measured in another folder, `fresh` recomputes what is cached, `threads` and `device` are
    what models run on; by default the command line's options.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"interp.load takes the folder of a run, not {type(path).__name__} {path!r}")
    before = now()
    given = {"tables": Path(tables) if tables else None, "fresh": fresh, "threads": threads, "device": device}
    told = {name: value for name, value in given.items() if value is not None}
    asking = replace(before, **told, measured=set()) if told else before
    return Run(RunFolder.open(Path(path)), without_interventions=without_interventions, asking=asking)


class Run(EmergenceQuestions, HeadQuestions, ReadoutQuestions, CausalQuestions, LandscapeQuestions):
    """A trained (or half-trained) model with its checkpoints, its task, and the analyses of both.

    >>> from interp import load
    >>> run = load("runs/demo/retrieval")
    >>> run
    Run(runs/demo/retrieval: retrieval, ... checkpoints, finished)
    >>> run.steps[0], run.task.output_names
    (0, ('hop 1', 'hop 2', 'hop 3'))
    """

    @classmethod
    def train(
        cls,
        config: str | Path | Mapping[str, Any] | RunConfig,
        out: str | Path,
        *,
        seed: int | None = None,
        steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
        device: str = "cpu",
        sinks: Iterable[Sink | str] = (),
    ) -> Run:
        """Train a run into a folder (or resume it there) and open it.

        `config` is a preset's name, a TOML file, settings as nested dictionaries, or a RunConfig, which takes no
        further changes. `changes` are dotted settings such as {"train.lr": 2e-3}. `sinks`: where metrics go as well,
        such as ["tensorboard"] or an object of your own (`interp.runs.sinks`). Raises UserError for settings, sinks or
        a folder that will not do, and what the training loop raises (`Diverged`, `Interrupted`).
        """
        from interp.train import train as train_folder

        if isinstance(config, RunConfig):
            if seed is not None or steps is not None or changes:
                raise UserError("a RunConfig is complete: put seed, steps and changes into it")
            resolved = config
        else:
            resolved = configure(config, seed=seed, steps=steps, changes=changes)
        return cls(train_folder(resolved, out, device=device, sinks=sinks))

    def without_interventions(self) -> Run:
        """The same run without interventions: its weights alone."""
        return self._like(without_interventions=True)

    def to_xarray(self) -> Dataset:
        """The tables that the run has as an xarray Dataset (`interp.to_xarray`); nothing is measured.

        Raises UserError where xarray is not installed (the extra `xarray`), and where the run has no table.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> _ = run.scores(steps="last")
        >>> run.to_xarray()["scores_accuracy"].dims
        ('run', 'seed', 'step', 'position')
        """
        from interp.run.arrays import dataset

        return dataset([self])

    def by(self, attribute: str) -> Groups:
        """The same run asked of each group of its prompts apart: `run.by("hops").scores()` has a column `group`.

        `attribute` is one that the task's prompts have (`run.task.attributes`). Raises UserError for another.
        """
        return Groups(attribute, self.in_groups(attribute))

    def explore(
        self, other: Run | None = None, *, step: Steps = "last", prompts: int = 64, seed: int = 0
    ) -> View:
        """The live view of this run in a notebook (JupyterLab, VS Code, marimo), or of it and another side by side.

        A slider over checkpoints, scores and attention of the heads, the circuit that is kept of a step; a click on a
        head, an MLP or an edge ablates it or patches it from the pair's other prompt, and shows what that does to the
        scores of `prompts` prompts (those of `patch`, drawn with `seed`), to the answer on the prompt on show, and to
        the attention of later heads. What is chosen can be read and set: `view.step`, `view.selected`, `view.prompt`;
        `view.table`, `view.effects` and `view.answers` are DataFrames. Needs the extra `widget`; raises UserError
        without it, for a run without heads, without weights or with active interventions, and for two runs whose tasks
        differ.
        """
        from interp.explore.opening import explore

        return explore(self, other, step=step, prompts=prompts, seed=seed)
