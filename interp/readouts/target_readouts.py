"""What each layer holds of an algorithm's quantities, by linear readout: iterates, w, X'y, the spectrum of X'X.

Owns: the readout targets of a regression run by name, and their columns. Everything else (splits, controls, the
untrained model, a shifted distribution) is as for the label. An iterate's sizes are tuned on the first chunk, one of
those that readouts are fitted on. R2 near 1 says that a quantity is linearly there, not that it is used; iterates of
neighbouring steps or of other families are nearly collinear, and which of them a layer runs is for `AlgorithmMatch` to
say.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.readouts.iterates import FAMILIES, POOLED, RIVALS, Posed
from interp.readouts.readouts import ReadoutAccumulator, Readouts
from interp.readouts.shift import shifted
from probes.readout import Readout
from probes.rivals import Ladder
from probes.targets import regression_targets
from tasks import Batch, Task, UserError
from tasks.complaints import nearest
from tasks.regression import InContextRegression
from tasks.regression_layout import RegressionBatch

VECTORS = {"label": "label", "w": "w", "xy": "X'y", "spectrum": "eigenvalue"}
TARGETS = (*VECTORS, POOLED, "iterates", *FAMILIES)


class TargetReadouts(Readouts):
    """Readouts of named targets: "label", "w", "xy" (X'y / t), "spectrum" (of X'X / t), an algorithm's name for all of
    its steps, or "iterates" for those of every usual rival; "dMMSE" for the Bayes predictor of the run's pool of tasks.
    """

    name: ClassVar[str] = "targets"

    targets: tuple[str, ...]
    draws: int = Field(default=300, ge=2)

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> TargetAccumulator:
        if not isinstance(task, InContextRegression):
            raise UserError(
                f"w, X'y and iterates are targets of regression runs only, not of task {task.kind!r}"
            )
        for target in self.targets:
            if target not in TARGETS:
                raise UserError(f"no target {target!r}{nearest(target, TARGETS)}")
        if not self.targets:
            raise UserError(f"no target was asked for: known are {', '.join(TARGETS)}")
        for law in (task, shifted(task, self.shift)):
            if law.target != "linear" and "w" in self.targets:
                raise UserError(f"labels of target {law.target!r} come from no weight vector w: leave it out")
        if POOLED in self.targets and not (task.pool and task.noise):
            raise UserError("dMMSE is the predictor of a pool of tasks with noisy labels: this run has none")
        super().accumulator(model, task, None)
        return TargetAccumulator(self, self.hooks(model), task, untrained)

    @property
    def families(self) -> tuple[str, ...]:
        """The algorithms whose iterates are read."""
        asked = [f for target in self.targets for f in (RIVALS if target == "iterates" else (target,))]
        return tuple(family for family in dict.fromkeys(asked) if family in FAMILIES)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The other targets, in their usual order."""
        return tuple(name for name in VECTORS if name in self.targets)


class TargetAccumulator(ReadoutAccumulator):
    """Feeds one model's residual stream to the readout of the targets."""

    settings: TargetReadouts
    own: InContextRegression
    task: InContextRegression

    def __init__(self, settings: TargetReadouts, sites: list[str], task: Task, untrained: Any):
        super().__init__(settings, sites, task, untrained)
        self.ladders: tuple[Ladder, ...] | None = None

    def _start(self, batch: Batch) -> Readout:
        assert isinstance(batch, RegressionBatch)
        posed = self._posed(batch)
        labels = batch.y.double()[:, list(self.task.contexts)]
        self.ladders = tuple(posed.ladder(labels, family) for family in self.settings.families)
        config = self._config(pools=self._pools(), draws=self.settings.draws)
        return Readout(self.task.output_names, list(self.columns(batch)), config)

    def _pools(self) -> dict[str, tuple[int, ...]]:
        """Reads with up to and with more than d examples, where the run was trained on both."""
        d, contexts = self.own.d, self.task.contexts
        apart = {
            "t<=d": tuple(i for i, t in enumerate(contexts) if t <= d),
            "t>d": tuple(i for i, t in enumerate(contexts) if t > d),
        }
        both = len({t > d for t in self.own.contexts}) == 2 and all(apart.values())
        return apart if both else {}

    def _posed(self, batch: RegressionBatch) -> Posed:
        return Posed(self.own, batch.x, batch.y, batch.basis, self.task.contexts)

    def columns(self, batch: RegressionBatch) -> dict[str, Float[Tensor, "prompt output"]]:
        """Every target of these prompts by its name; the label in standard deviations, as elsewhere."""
        names, values = regression_targets(batch.x, batch.y, batch.w.nan_to_num(), self.task.contexts)
        plain = dict(zip(names, values.unbind(-1), strict=True))
        plain["label"] = plain["label"] / self.own.label_variance**0.5
        found = {}
        for target in self.settings.vectors:
            found |= {name: v for name, v in plain.items() if name.rsplit(" ", 1)[0] == VECTORS[target]}
        if POOLED in self.settings.targets:
            found[POOLED] = self._pooled(batch)
        posed = self._posed(batch)
        for rung in self.ladders or ():
            for k, values in zip(rung.k, posed.predictions(rung), strict=True):
                found[f"{rung.family}({k})"] = values
        return found

    def _pooled(self, batch: RegressionBatch) -> Float[Tensor, "prompt output"]:
        """What the Bayes predictor of the run's own pool says on these prompts, of whatever distribution they are."""
        task = self.own.model_copy(update={"n": self.task.n})
        return task.strategies(batch)[POOLED][:, list(task.interface.output_positions), 0]

    def _targets(self, batch: Batch) -> Float[Tensor, "batch output target"]:
        assert isinstance(batch, RegressionBatch)
        return torch.stack(list(self.columns(batch).values()), -1)

    def table(self) -> pd.DataFrame:
        found = super().table()
        squared = found["metric"] == "mse"
        found["unit"] = found["unit"].where(found["target"].eq("label") & squared, "")
        stated = {
            f"{rung.family}({k})": member.label
            for rung in self.ladders or ()
            for k, member in zip(rung.k, rung.members, strict=True)
        }
        return found.assign(member=[stated.get(str(target), "") for target in found["target"]])
