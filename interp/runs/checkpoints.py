"""A run's checkpoints: which exist, which steps a request means, and the model of each.

Steps are given as "all", "last", one step, or several. In a run that was trained with clamps the interventions stay
active unless the run is asked for without them. Analyses of the models are in `interp.run`.
"""

from __future__ import annotations

import html
import re
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.config.run import RunConfig
from interp.models.builders import to_be_loaded
from interp.runs.asking import Asking, now, threads
from interp.runs.folder import RunFolder
from interp.runs.proven import load_checkpoint
from interp.runs.steps import Steps, readable, resolve
from tasks import Batch, Task, UserError
from tasks.renamed import Renaming

if TYPE_CHECKING:
    from interp.models.clamps import Clamps

UNTRAINED_SEED_OFFSET = 7_919


class Checkpoints(Renaming):
    """A run folder with its settings, its task and the model of every checkpoint."""

    def __init__(
        self, folder: RunFolder, *, without_interventions: bool = False, asking: Asking | None = None
    ):
        self.folder, self._without_interventions = folder, without_interventions
        self.asking = asking or now()
        self._name: str | None = None
        self._proven: list[
            tuple[int, Any]
        ] = []  # the model of a step that was proven here, for the first who asks
        self._group: tuple[str, Task] | None = (
            None  # what prompts have in common that it is asked of, and their task
        )

    def __repr__(self) -> str:
        facts = self._facts()
        return (
            f"{type(self).__name__}({self.path}: {facts['task']}, {facts['checkpoints']}, {facts['state']})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in {"run": str(self.path), **self._facts()}.items()
        )
        return f"<table>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        """What the folder says without a model being built; of a recording, only what every folder knows."""
        facts = {
            "task": "recorded",
            "checkpoints": f"{len(self.steps)} checkpoints",
            "state": "finished" if self.folder.finished else "unfinished",
        }
        try:
            config = self.config
        except UserError:
            return facts
        trained = f"{config.train.optimiser}, {config.train.steps:,} steps, seed {config.seed}"
        return {**facts, "task": self.task.kind, "model": config.model.kind, "training": trained}

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def name(self) -> str:
        """What the run is called: the last part of its resolved path, unless it was told apart from others
        (`interp.runs.names`). For people: it is kept in no table."""
        return self._name or self.path.resolve().name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @cached_property
    def identity(self) -> str:
        """What the run is, wherever it lies: a hash of its settings and of the weights of its first checkpoint.

        Two runs of equal settings that begin with equal weights are one run; a copy has the identity of its original.
        """
        return self.folder.identity

    @cached_property
    def code_changed(self) -> str:
        """What to say where task or model are not those of the training any more; "" where they are."""
        return self.folder.head.changed()

    def weights_hash(self, step: int) -> str:
        """The hash of a checkpoint's weights; of a copy without them as the metrics state it."""
        return self.folder.stated_weights[step] if self.folder.weightless else self.folder.weights_hash(step)

    def refuse_weightless(self, why: str = "a model needs weights") -> None:
        """Raises UserError for a copy without weights."""
        if self.folder.weightless:
            raise UserError(
                f"{self.path}: is a copy without its weights, and {why}: ask the original, or bring its checkpoints/"
            )

    def tables_at(self, name: str) -> tuple[Path, ...]:
        """Where the table of an analysis may lie: first the place where new rows are kept, then others to read."""
        own = self.folder.table_path(
            name if self._group is None else f"{name}-by-{_file_part(self._group[0])}"
        )
        if self.asking.tables is None:
            return (own,)
        return (self.asking.tables / self.identity[:16] / own.name, own)

    def computing(self) -> AbstractContextManager[None]:
        """Within it torch has the threads that this run is asked with."""
        usual = None if self.config.model.kind == "language-model" else self.config.train.threads
        return threads(self.asking.threads or usual)

    @property
    def config(self) -> RunConfig:
        return self.folder.config

    @property
    def task(self) -> Task:
        return self.config.task if self._group is None else self._group[1]

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the existing checkpoints, increasing; of a copy without weights those it was made with."""
        return readable(self.folder)

    def resolve(self, steps: Steps) -> tuple[int, ...]:
        """The checkpoint steps that `steps` means; "0,100" and [0, 100] alike.

        Raises UserError for a step without a checkpoint, naming the nearest.
        """
        return resolve(self.folder, steps)

    def _one(self, step: Steps) -> int:
        first, *more = self.resolve(step)
        if more:
            raise UserError(
                f"step {step!r}: that is {1 + len(more)} checkpoints; give 'last' or one step number"
            )
        return first

    def model(self, step: Steps = "last", into: Any = None) -> Any:
        """The hooked model at one checkpoint, in eval mode; `into` reuses a model of this run instead of a new one.

        Raises UserError where interventions are active: weights alone are not the function that was trained.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> model = run.model(step=0)
        >>> batch = run.task.sample(seed=0, stream="eval", step=0, batch=2)
        >>> outputs, cache = model.run_with_cache(batch.inputs)
        >>> cache["blocks.0.attn.hook_pattern"].shape  # batch, head, dest, source
        torch.Size([2, ..., 13, 13])
        """
        at = self._one(step)
        self.refuse_weightless()
        if self.interventions_active and any(clamp.active(at) for clamp in self.config.train.clamps):
            raise UserError(
                f"{self.path}: was trained with clamps, which weights alone lack: ask for"
                " `run.without_interventions()`"
            )
        if into is None and self._proven and self._proven[0][0] == at:
            self.folder.weights(at)  # checked as ever
            return self._proven.pop()[1].eval()
        with to_be_loaded():
            model = self._blank(self.config.init_seed) if into is None else into
        load_checkpoint(model, self.folder, at)
        return model.eval()

    def untrained_model(self) -> Any:
        """An untrained model of fresh initialisation: the control of every probe and head score."""
        return self._blank(self.config.init_seed + UNTRAINED_SEED_OFFSET).eval()

    def _blank(self, seed: int) -> Any:
        from interp.models import build_model

        return build_model(self.config.model, self.config.task.interface, seed)

    def without_interventions(self) -> Checkpoints:
        """The same run without interventions: its weights alone."""
        return self._like(without_interventions=True)

    def _like(self, *, without_interventions: bool) -> Any:
        """The same run, called and asked the same."""
        other = type(self)(self.folder, without_interventions=without_interventions, asking=self.asking)
        other._name, other._group, other._proven = self._name, self._group, self._proven
        return other

    def in_groups(self, attribute: str) -> dict[str, Any]:
        """The same run asked of the prompts of each group apart, by "attribute=value". Raises UserError for an
        attribute that its prompts do not have."""
        found = {}
        for label, task in self.config.task.grouped(attribute).items():
            found[label] = self._like(without_interventions=self._without_interventions)
            found[label]._group = (label, task)
        return found

    @property
    def interventions_active(self) -> bool:
        """Whether interventions of the training are active here (`interp.models.clamps`)."""
        return not self._without_interventions and bool(self.config.train.clamps)

    def with_interventions(self, model: Any, batch: Batch, step: int) -> AbstractContextManager[Any]:
        """Within it, `model` runs with the interventions that are active at `step`, for this batch.

        `model` is `run.without_interventions().model(step)`. Does nothing where no intervention is active.
        """
        return (
            model.hooks(fwd_hooks=self._clamps.hooks(batch, step))
            if self.interventions_active
            else nullcontext()
        )

    @cached_property
    def _clamps(self) -> Clamps:
        from interp.runs.source_models import clamps_of

        return clamps_of(self.config, self.untrained_model())

    def metrics(self) -> pd.DataFrame:
        """What was logged during training, one row a logged step.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> list(run.metrics().columns)
        ['step', 'split', 'metric', 'position', 'value']
        """
        return self.folder.metrics()

    @cached_property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.untrained_model().parameters())


def _file_part(label: str) -> str:
    """A group's label as a part of a file's name."""
    return re.sub(r"[^\w=.-]", "_", label)
