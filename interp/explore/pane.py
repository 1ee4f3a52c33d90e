"""One run at one checkpoint, as the view shows it: scores of heads, the kept circuit, and what a selection changes.

Figures are those of the analyses: `heads` is the table of `run.heads`, the normalised effect of a selection that of
`run.patch(direction="noise")` on the same prompts (corrupt 0, clean 1). A difference of scores is changed minus intact,
with its 95% interval over prompts (bootstrap). A circuit is never searched here: one that was measured is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.kept import opened
from interp.analysis.registry import entry
from interp.analysis.stream import analyse
from interp.causal.arithmetic import has_edges
from interp.causal.behaviour import has_behaviour
from interp.causal.metrics import metric_of, normalised
from interp.causal.over_training import CircuitSearch
from interp.explore.change import Intact, Selection, run
from interp.heads.heads import HeadScores
from interp.hooks.protocol import HookedModel
from interp.runs.checkpoints import Checkpoints
from probes.stats import paired
from tasks import Batch, Pair, UserError

NO_BEHAVIOUR = "no value: clean and corrupt runs do not differ significantly in the loss at this step"


@dataclass(frozen=True)
class DrawnPrompts:
    """The prompts that scores are taken on, of a pair where the task has any."""

    clean: Batch
    pair: Pair | None = None


class Pane:
    """A run with the model of the step that is shown. Raises UserError for a run without heads or weights."""

    def __init__(self, of: Checkpoints):
        self.run, self.step, self._model = of, -1, None
        config = of.config.model
        if not hasattr(config, "n_heads"):
            raise UserError(f"{of.path}: explore shows attention heads, and a {config.kind} model has none")
        if of.interventions_active:
            raise UserError(
                f"{of.path}: was trained with clamps, which single runs of its weights lack: ask for "
                "`run.without_interventions().explore()`"
            )
        self._heads: dict[int, pd.DataFrame] = {}
        self._circuits: dict[int, pd.DataFrame] = {}
        self._sides: dict[str, tuple[Intact, Intact | None]] = {}

    def load(self, step: int) -> None:
        """Take the weights of a checkpoint. Raises UserError for a step without one."""
        (at,) = self.run.resolve(step)
        if at != self.step:
            self.step, self._sides = -1, {}  # nothing is valid if reading fails half-way
            self._model = self.run.model(at, into=self._model)
            self.step = at

    @property
    def net(self) -> HookedModel:
        """The model of the step that was loaded."""
        assert self._model is not None
        return self._model

    def heads(self) -> pd.DataFrame:
        """The table of `run.heads` at this step, kept as always; empty where heads cannot be scored."""
        if self.step not in self._heads:
            analysis = HeadScores()
            scored = entry(analysis.name).applies_to(self.run.config.model, self.run.task)
            self._heads[self.step] = (
                analyse(self.run, [analysis], (self.step,))[analysis.name] if scored else pd.DataFrame()
            )
        return self._heads[self.step]

    def circuit(self) -> pd.DataFrame:
        """The edges of the circuit that is kept of this step, in its usual settings: sender, receiver, value, interval.

        Empty where none is kept (`circuit_words`), or where none was found.
        """
        job = opened(self.run, CircuitSearch().of(self.run.config))
        if job.known is None or job.hashes.get(self.step) != self.run.weights_hash(self.step):
            return pd.DataFrame()
        rows = job.known
        return rows[(rows["step"] == self.step) & (rows["metric"] == "edge") & rows["value"].notna()]

    def circuit_words(self, found: pd.DataFrame) -> str:
        """What to run where there is no circuit to show."""
        if len(found):
            return ""
        if not has_edges(self.net):
            return f"the edges of a {self.run.config.model.kind} model are not known"
        return f"no circuit of step {self.step:,} is kept: run.circuit(steps={self.step}) searches it"

    def sides(self, drawn: DrawnPrompts) -> tuple[Intact, Intact | None]:
        """The model on the clean and on the corrupt prompts, intact."""
        kind = "" if drawn.pair is None else drawn.pair.kind
        if kind not in self._sides:
            other = None if drawn.pair is None else Intact(self.net, drawn.pair.corrupt.inputs)
            self._sides[kind] = (Intact(self.net, drawn.clean.inputs), other)
        return self._sides[kind]

    def selection(self, labels: tuple[str, ...], n_pos: int) -> Selection:
        """What was selected, in this model. Raises UserError for what it lacks."""
        return Selection.of(labels, self.net, n_pos)

    def effects(self, drawn: DrawnPrompts, selection: Selection, replacement: str) -> pd.DataFrame:
        """What a selection does to the scores of the prompts, one row an output, and its normalised effect."""
        clean, corrupt = self.sides(drawn)
        outputs = run(clean, selection, corrupt, clean, replacement)[0]
        task = self.run.task
        before, after = (task.score(out, drawn.clean) for out in (clean.outputs, outputs))
        table = _differences(before, after, task.output_names, task.score_name)
        if drawn.pair is None or corrupt is None:
            return table
        return pd.concat([table, self._normalised(drawn.pair, clean, corrupt, outputs)], ignore_index=True)

    def _normalised(self, pair: Pair, clean: Intact, corrupt: Intact, outputs: Tensor) -> pd.DataFrame:
        measure = metric_of(self.run.task, pair, "loss")
        full, empty = measure(clean.outputs), measure(corrupt.outputs)
        row: dict[str, Any] = {"metric": "normalised effect", "output": "all", "n": len(outputs), "note": ""}
        if not has_behaviour(full, empty):
            return pd.DataFrame([{**row, "note": NO_BEHAVIOUR}])
        found = normalised(measure(outputs)[:, None], full, empty)[0]
        return pd.DataFrame([{**row, "value": found.value, "ci_low": found.low, "ci_high": found.high}])


def _differences(
    before: Float[Tensor, "batch output"],
    after: Float[Tensor, "batch output"],
    names: tuple[str, ...],
    metric: str,
) -> pd.DataFrame:
    """Scores before and after, and their difference with its interval; outputs without a finite score have none."""
    finite = torch.isfinite(before).all(0) & torch.isfinite(after).all(0)
    blank = torch.zeros_like(before)
    found = paired(torch.where(finite, after, blank), torch.where(finite, before, blank))
    rows = pd.DataFrame(
        {
            "metric": metric,
            "output": list(names),
            "intact": before.double().mean(0).numpy(),
            "changed": after.double().mean(0).numpy(),
            "value": found.value.numpy(),
            "ci_low": found.low.numpy(),
            "ci_high": found.high.numpy(),
            "n": found.n,
            "note": "",
        }
    )
    rows.loc[~finite.numpy(), ["value", "ci_low", "ci_high"]] = float("nan")
    return rows
