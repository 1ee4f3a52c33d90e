"""What each layer knows of the target, by linear readout of the residual stream at the positions where it is
read.

A regression target is read by ridge (`probes.readout`: mean squared error in label variances, lower is
better; and R2), a symbol by one-hot ridge (`probes.decode`: accuracy, higher is better). Prompts are split by
chunk into fit, validation and test, the same at every checkpoint; the untrained model is read on the same test
prompts. Sites are residual-stream hooks; `blocks.l.hook_resid_post` is the stream after block l (0-based).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.readouts.shift import shifted
from probes.decode import STRENGTHS, Decoder
from probes.readout import Readout, ReadoutConfig
from tasks import Batch, Task, UserError


def readable(settings: Any) -> bool:
    """Whether models of these settings have a residual stream after every layer."""
    return hasattr(settings, "n_layers")


class Readouts(Analysis):
    """Linear readout of the target at the embedding and after every block. A site that is the same in every prompt
    (the embedding of a question's fixed last word) holds nothing to read and has no rows.

    `chunks` prompts of 256: the last `test_chunks` score, the `validation_chunks` before them choose the ridge
    strength, the rest fit. `normalised` reads the stream after a LayerNorm as well; `per_position` fits each
    output position apart as well. `shift` are changes to the settings of a regression task: readouts fitted on the
    run's own distribution are scored on prompts of that distribution (`interp.readouts.shift`), and of longer prompts
    only the output positions that the run was trained on are fitted. `strengths` are those of `probes.readout`.
    """

    name: ClassVar[str] = "probe"
    with_untrained: ClassVar[bool] = True
    former: ClassVar[Mapping[str, str]] = {"validation_chunks": "choose_chunks"}

    chunks: int = Field(default=8, ge=3)
    validation_chunks: int = Field(default=2, ge=1)
    test_chunks: int = Field(default=2, ge=1)
    normalised: bool = False
    per_position: bool = False
    shift: dict[str, Any] = Field(default={})
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=ReadoutConfig().strengths, min_length=1
    )

    def elsewhere(self, task: Task) -> Task:
        """The task whose prompts are scored. Raises UserError for a shift that will not do."""
        return shifted(task, self.shift) if self.shift else task

    def distribution(self, task: Task, chunk: int) -> Task:
        if not self.shift:
            return task
        asked = shifted(task, self.shift)
        return asked if self.split(chunk) == "test" else task.model_copy(update={"n": asked.n})

    def hooks(self, model: Any) -> list[str]:
        """Raises UserError for a model that has no residual stream between layers."""
        if not readable(model.config):
            raise UserError(f"a model of kind {model.config.kind!r} has no residual stream to read from")
        return [
            "blocks.0.hook_resid_pre",
            *(f"blocks.{layer}.hook_resid_post" for layer in range(model.config.n_layers)),
        ]

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> ReadoutAccumulator:
        if self.validation_chunks + self.test_chunks >= self.chunks:
            raise UserError(
                f"{self.chunks} chunks leave none to fit on: give more than validation_chunks + test_chunks"
            )
        return ReadoutAccumulator(self, self.hooks(model), task, untrained)

    def split(self, chunk: int) -> Literal["fit", "validation", "test"]:
        """What a chunk is for."""
        from_end = self.chunks - chunk
        if from_end <= self.test_chunks:
            return "test"
        return "validation" if from_end <= self.test_chunks + self.validation_chunks else "fit"


class ReadoutAccumulator:
    """Feeds one model's residual stream to the readout that fits the task's targets."""

    def __init__(self, settings: Readouts, sites: list[str], task: Task, untrained: Any):
        self.settings, self.sites, self.own, self.task = settings, sites, task, settings.elsewhere(task)
        self.untrained: ReadoutAccumulator | None = untrained
        self.probe: Readout | Decoder | None = None

    def _start(self, batch: Batch) -> Readout | Decoder:
        if not batch.targets.is_floating_point():
            if batch.targets.ndim < 2 or batch.targets.shape[1] != len(self.task.output_names):
                raise UserError(
                    "this readout applies to tasks with a label at each named output position, not to task "
                    f"{self.task.kind!r}: ask run.probe(), or give a target of your own"
                )
            return self._decoder()
        return Readout(self.task.output_names, self._target_names(batch), self._config())

    def _decoder(self) -> Decoder:
        """How symbols are read, with strengths of its own unless others were asked for."""
        kept, face = self.settings, self.task.interface
        if kept.normalised or kept.per_position:
            raise UserError(
                "symbols are read from the stream as it is: leave normalised and per_position out"
            )
        usual = kept.strengths == Readouts().strengths
        strengths = STRENGTHS if usual else kept.strengths
        return Decoder(self.task.output_names, len(face.outputs) or face.d_vocab, strengths)

    def _config(self, **more: Any) -> ReadoutConfig:
        """How real targets are read; of prompts longer than the run's own, by readouts of the run's own reads."""
        own, asked = len(self.own.output_names), len(self.task.output_names)
        if own < asked and self.settings.per_position:
            raise UserError(
                f"reads beyond the {own} of training have no readout each: leave per_position out"
            )
        kept = self.settings
        settings = {
            "normalised": kept.normalised,
            "per_position": kept.per_position,
            "strengths": kept.strengths,
        }
        return ReadoutConfig(fitted_outputs=own if own < asked else None, **settings, **more)

    def _target_names(self, batch: Batch) -> list[str]:
        width = batch.targets[0, 0].numel()
        return ["label"] if width == 1 else [f"coordinate {i}" for i in range(width)]

    def _targets(self, batch: Batch) -> Float[Tensor, "batch output target"]:
        return (
            batch.targets.reshape(len(batch), len(self.task.output_names), -1) / self.own.label_variance**0.5
        )

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        if self.probe is None:
            self.probe = self._start(batch)
        split = self.settings.split(chunk)
        places = list(self.task.interface.output_positions)
        if isinstance(self.probe, Decoder):
            rows = {site: _wide(cache[site][:, places[-1]]) for site in self.sites}
            if chunk == 0:
                self.sites = [site for site in self.sites if bool((rows[site] != rows[site][:1]).any())]
            self.probe.add(split, {site: rows[site] for site in self.sites}, batch.targets)
            return
        places = places * (len(self.task.output_names) // len(places))
        self.probe.add(split, {site: cache[site][:, places] for site in self.sites}, self._targets(batch))

    def table(self) -> pd.DataFrame:
        assert self.probe is not None
        untrained = None if self.untrained is None else self.untrained.probe
        if isinstance(self.probe, Decoder):
            return self.probe.table(untrained if isinstance(untrained, Decoder) else None)
        if isinstance(untrained, Readout):
            for (site, readout, control), errors in untrained.errors.items():
                if control == "none":
                    self.probe.errors[site, readout, "untrained"] = errors
        table = self._in_label_variances(self.probe.table())
        return table[table["position"].notna()]

    def _in_label_variances(self, table: pd.DataFrame) -> pd.DataFrame:
        """Squared errors of the label in the label variance of the prompts that were scored."""
        ratio = self.own.label_variance / self.task.label_variance if self.settings.shift else 1.0
        figures = ["value", "ci_low", "ci_high"]
        squared = (table["metric"] == "mse") & table["target"].eq("label")
        table.loc[squared, figures] *= ratio
        return table.assign(unit="label variance")


def _wide(x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
    """In float32 where the model is narrower."""
    return x.float() if x.dtype == torch.bfloat16 else x
