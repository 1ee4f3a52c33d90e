"""Linear readouts of a user's own target at the positions that it has, with the controls of every readout.

A target is a function of a batch: numbers [batch, position, k] (R2 of a ridge readout shared by all positions), or
whole numbers, symbols to be decoded (accuracy). Positions are those of the prompt, or the output positions. Where a
target is NaN (numbers) or negative (symbols) in every prompt, that position has none. Splits, sites and the untrained
model are those of `interp.readouts.readouts`; a readout shows that something is present, not that it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.own import Own, expected, short_name, tensor_of
from interp.readouts.readouts import ReadoutAccumulator, Readouts
from probes.decode import STRENGTHS, SymbolReadout
from probes.readout import Readout, ReadoutConfig
from tasks import Batch, Task, UserError


class OwnTargets(Readouts):
    """Readouts of one target, a function of a batch."""

    name: ClassVar[str] = "own-target"

    target: Own

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> OwnTargetAccumulator:
        super().accumulator(model, task, None)
        if self.shift:
            raise UserError("a target of one's own is read on the task's own prompts: leave shift out")
        return OwnTargetAccumulator(self, self.hooks(model), task, untrained)


class OwnTargetAccumulator(ReadoutAccumulator):
    """Feeds one model's residual stream to the readout of the target."""

    settings: OwnTargets

    def __init__(self, settings: OwnTargets, sites: list[str], task: Task, untrained: Any):
        super().__init__(settings, sites, task, untrained)
        self.readout: Readout | SymbolReadout | None = None
        self.places: list[int] = []  # positions of the prompt that have a target
        self.symbols = torch.zeros(0, dtype=torch.long)

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        target, places = self._asked(batch)
        here = _defined(target)
        kept = here.any(0)
        if bool((here != kept).any()) or (self.places and [places[i] for i in _indices(kept)] != self.places):
            raise UserError(
                f"target {short_name(self.settings.target)}: a position has a target in some prompts and none in "
                "others; give it one in all, or none (NaN, or -1 of symbols)"
            )
        if self.readout is None:
            self._begin(target[:, kept], [places[i] for i in _indices(kept)], cache)
        found = {site: cache[site][:, self.places] for site in self.sites}
        values = target[:, kept]
        if isinstance(self.readout, SymbolReadout):
            values = torch.searchsorted(self.symbols, values.clamp_max(int(self.symbols[-1])))
            values[self.symbols[values] != target[:, kept]] = len(self.symbols)  # never seen while fitting
        assert self.readout is not None
        self.readout.add(self.settings.split(chunk), found, values)

    def _asked(self, batch: Batch) -> tuple[Tensor, list[int]]:
        """The target [batch, position, k], and which positions of the prompt these are."""
        n, pos = batch.inputs.shape[:2]
        reads = list(self.task.interface.output_positions)
        shapes = [f"[{n}, {size}, k]" for size in dict.fromkeys((pos, len(reads)))]
        found = tensor_of("target", self.settings.target, shapes, batch)
        wide = found[..., None] if found.ndim == 2 else found
        if (
            wide.ndim != 3
            or wide.shape[0] != n
            or wide.shape[1] not in (pos, len(reads))
            or not wide.shape[2]
        ):
            raise expected("target", self.settings.target, shapes, found)
        return wide, list(range(pos)) if wide.shape[1] == pos else reads

    def _begin(self, target: Tensor, places: list[int], cache: Any) -> None:
        if not places:
            raise UserError(f"target {short_name(self.settings.target)} has no position with a target")
        self.places = places
        self.sites = [
            s for s in self.sites if bool((cache[s][:, places] != cache[s][:1, places][:, :1]).any())
        ]
        names, kept = _names(short_name(self.settings.target), target.shape[2]), self.settings
        usual = kept.strengths == Readouts().strengths
        if target.is_floating_point():
            config = ReadoutConfig(
                normalised=kept.normalised, per_position=kept.per_position, strengths=kept.strengths
            )
            self.readout = Readout([str(p) for p in places], names, config)
            return
        if kept.normalised or kept.per_position:
            raise UserError(
                "symbols are read from the stream as it is: leave normalised and per_position out"
            )
        self.symbols = target.unique()
        strengths = STRENGTHS if usual else kept.strengths
        self.readout = SymbolReadout([str(p) for p in places], names, len(self.symbols) + 1, strengths)

    def table(self) -> pd.DataFrame:
        assert self.readout is not None
        other = self.untrained
        untrained = other.readout if isinstance(other, OwnTargetAccumulator) else None
        if isinstance(self.readout, SymbolReadout):
            return self.readout.table(untrained if isinstance(untrained, SymbolReadout) else None)
        if isinstance(untrained, Readout):
            for (site, readout, control), errors in untrained.errors.items():
                if control == "none":
                    self.readout.errors[site, readout, "untrained"] = errors
        table = self.readout.table()
        return table.assign(unit=["squared target" if m == "mse" else "" for m in table["metric"]])


def _defined(target: Tensor) -> Bool[Tensor, "batch position"]:
    """Where there is a target."""
    return (~target.isnan() if target.is_floating_point() else target >= 0).all(-1)


def _indices(kept: Tensor) -> list[int]:
    return torch.nonzero(kept).flatten().tolist()


def _names(name: str, k: int) -> Sequence[str]:
    return [name] if k == 1 else [f"{name} {i}" for i in range(k)]
