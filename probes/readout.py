"""Layer readouts: what a linear map can read from each site, on prompts it never saw, beside its controls.

Owns: the three-way protocol (weights from "fit" prompts, ridge strength from "validation", errors from "test"),
the raw and the normalised residual of every site, readouts fitted at one output position or on pools of them, and the
controls: an untrained model's activations, targets dealt to other prompts, the zero predictor. Batches stream
through; only test errors are kept. In a table `readout` names the output positions a readout was fitted on and
`position` those it is scored on. A high score says that the information is linearly present, not that the
model uses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from probes import ridge, stats, tables
from probes.ridge import Fit, RidgeMoments
from tasks.errors import UserError

Activations = Mapping[str, Float[Tensor, "_ _ _"]]  # prompt read feature; `feature` differs between sites
Key = tuple[str, str]
NORMALISED = " (normalised)"
NO_VARIANCE = "the target does not vary: it has no R2"


class ReadoutConfig(BaseModel):
    """How to read: `strengths` are multiples of a design's mean eigenvalue; `pools` name groups of outputs.

    Every output position gets a readout of its own when `per_position` holds; every pool gets one shared over its
    outputs. Pooled readouts are fitted on the first `fitted_outputs` outputs alone (None: on all) and scored on all of
    theirs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = tuple(10.0**e for e in range(-10, 3))
    normalised: bool = True
    per_position: bool = True
    fitted_outputs: int | None = None
    pools: dict[str, tuple[int, ...]] = {}
    draws: int = 1000
    seed: int = 0


def normalise(x: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
    """LayerNorm without an affine part (eps 1e-5), in float64."""
    return torch.nn.functional.layer_norm(x.double(), x.shape[-1:])


class Readout:
    """Fit and score linear readouts of many sites from streamed batches.

    Call `add("fit", ...)` and `add("validation", ...)` as often as there are batches, then `add("test", ...)`,
    then `table()`. The caller answers for the three sets of prompts being disjoint (streams of their own do
    it).
    """

    def __init__(self, outputs: Sequence[str], targets: Sequence[str], config: ReadoutConfig) -> None:
        if not outputs or not targets:
            raise UserError("a readout needs at least one output position and one target")
        self.outputs, self.targets, self.config = list(outputs), list(targets), config
        self.pools = {"all": tuple(range(len(self.outputs))), **config.pools}
        for name, members in self.pools.items():
            if not members or not all(0 <= i < len(self.outputs) for i in members):
                raise UserError(
                    f"pool {name!r}: outputs {list(members)} out of range; there are {len(self.outputs)} outputs"
                )
            if not self._fitted(members):
                raise UserError(
                    f"pool {name!r} has none of the first {config.fitted_outputs} reads to fit on"
                )
        self._moments: dict[str, dict[Key, RidgeMoments]] = {"fit": {}, "validation": {}}
        self._fits: dict[Key, dict[str, Fit]] = {}
        self.errors: dict[tuple[str, str, str], list[Float[Tensor, "prompt output target"]]] = {}
        self._answers: list[Tensor] = []
        self._deal = torch.Generator().manual_seed(config.seed)

    def add(
        self,
        split: Literal["fit", "validation", "test"],
        activations: Activations,
        targets: Float[Tensor, "_ _ _"],
        untrained: Activations | None = None,
    ) -> None:
        """Take in a batch: activations by site, and those of an untrained model at the same sites.

        Raises UserError for shapes that do not fit, NaN, or "test" before both other splits have prompts.
        """
        self._check(activations, targets)
        both = torch.cat([targets, targets[torch.randperm(len(targets), generator=self._deal)]], -1).double()
        for key, x in self._views(activations, untrained or {}):
            if split == "test":
                self._score(key, x, both)
            else:
                self._accumulate(self._moments[split], key, x, both)
        if split == "test":
            self._answers.append(both)

    def _check(self, activations: Activations, targets: Tensor) -> None:
        if tuple(targets.shape[1:]) != (len(self.outputs), len(self.targets)):
            raise UserError(
                f"targets of shape {list(targets.shape)} do not fit {len(self.outputs)} outputs "
                f"and {len(self.targets)} targets"
            )
        for site, x in activations.items():
            if x.shape[:2] != targets.shape[:2]:
                raise UserError(
                    f"{site}: {x.shape[0]} prompts x {x.shape[1]} outputs, "
                    f"but targets have {targets.shape[0]} x {targets.shape[1]}"
                )

    def _views(self, activations: Activations, untrained: Activations) -> list[tuple[Key, Tensor]]:
        views = []
        for control, sites in (("none", activations), ("untrained", untrained)):
            for site, x in sites.items():
                views.append(((site, control), x))
                if self.config.normalised:
                    views.append(((site + NORMALISED, control), normalise(x)))
        return views

    def _accumulate(self, into: dict[Key, RidgeMoments], key: Key, x: Tensor, y: Tensor) -> None:
        moments = RidgeMoments.of(x.transpose(0, 1), y.transpose(0, 1), key[0])
        if key in into:
            into[key].merge(moments)
        else:
            into[key] = moments

    def fit(self, site: str, control: str = "none") -> dict[str, Fit]:
        """The readouts of a site by the output positions they were fitted on ("each" holds one design a position).

        Raises UserError for a site that was not added, or a split without prompts.
        """
        key = (site, control)
        if key not in self._fits:
            for split, held in self._moments.items():
                if key not in held:
                    raise UserError(
                        f"no {split!r} prompts for site {site!r} (control {control!r}); add them first"
                    )
            self._fits[key] = self._solve(self._moments["fit"][key], self._moments["validation"][key], site)
        return self._fits[key]

    def _solve(self, fitting: RidgeMoments, validating: RidgeMoments, site: str) -> dict[str, Fit]:
        outputs = {name: self._fitted(members) for name, members in self.pools.items()}
        pooled = {name: (fitting.pool(m), validating.pool(m)) for name, m in outputs.items()}
        parts = {**pooled, **({"each": (fitting, validating)} if self.config.per_position else {})}
        return {
            name: ridge.fit(a, b, ridge.relative_strengths(a, self.config.strengths), f"site {site}")
            for name, (a, b) in parts.items()
        }

    def _fitted(self, members: Sequence[int]) -> list[int]:
        most = self.config.fitted_outputs
        return [i for i in members if most is None or i < most]

    def predict(
        self,
        site: str,
        x: Float[Tensor, "prompt output feature"],
        readout: str = "all",
        control: str = "none",
    ) -> Float[Tensor, "prompt output target"]:
        """Read every target from new activations of a site; `readout` is "all", a pool's name or "each"."""
        return self._read(site, control, x, readout)[..., : len(self.targets)]

    def _read(self, site: str, control: str, x: Tensor, readout: str) -> Tensor:
        fits = self.fit(site, control)
        if readout not in fits:
            raise UserError(f"no readout {readout!r}; there are {sorted(fits)}")
        if readout == "each":
            return fits[readout].predict(x.transpose(0, 1)).transpose(0, 1)
        return fits[readout].predict(x)

    def _score(self, key: Key, x: Tensor, y: Tensor) -> None:
        site, control = key
        q = len(self.targets)
        for readout in self.fit(*key):
            outputs = self.scored(readout)
            errors = (self._read(site, control, x[:, outputs], readout) - y[:, outputs]).square()
            self.errors.setdefault((site, readout, control), []).append(errors[..., :q])
            if control == "none":
                self.errors.setdefault((site, readout, "shuffled"), []).append(errors[..., q:])

    def scored(self, readout: str) -> list[int]:
        """The output positions a readout is scored on: those of its pool."""
        return list(range(len(self.outputs))) if readout == "each" else list(self.pools[readout])

    def groups(self, readout: str) -> dict[str, list[int]]:
        """The table positions of a readout: pools and single outputs within its outputs, as places among them."""
        outputs = self.scored(readout)
        pools = {name: list(members) for name, members in self.pools.items() if set(members) <= set(outputs)}
        single = {self.outputs[i]: [i] for i in outputs}
        return {name: [outputs.index(i) for i in members] for name, members in {**pools, **single}.items()}

    def table(self) -> pd.DataFrame:
        """Test errors: rows of metric "mse" (target units squared) and "r2" (1 - mse over the variance of the
        read).

        A target without variance has no R2 (NaN, and a note). Intervals are bootstraps of whole prompts. `note` names
        every control (untrained, shuffled, zero) whose error is not larger by more than the paired bootstrap can tell.
        Raises UserError without test prompts.
        """
        if not self._answers:
            raise UserError("no test prompts were scored; add some with split 'test'")
        answers = torch.cat(self._answers)
        rows = []
        for site, readout in dict.fromkeys(key[:2] for key in self.errors if key[2] == "none"):
            errors = {
                "none": self.errors[site, readout, "none"],
                "shuffled": self.errors[site, readout, "shuffled"],
            }
            if (site, readout, "untrained") in self.errors:
                errors["untrained"] = self.errors[site, readout, "untrained"]
            joined = {control: torch.cat(parts) for control, parts in errors.items()}
            joined["zero"] = answers[:, self.scored(readout), : len(self.targets)].square()
            rows += self._rows(site, readout, joined, answers[:, self.scored(readout)])
        return tables.frame(rows)

    def _rows(
        self, site: str, readout: str, errors: dict[str, Tensor], answers: Tensor
    ) -> list[dict[str, object]]:
        groups = self.groups(readout)
        own, dealt = _grouped(_spread(answers), groups).chunk(2, dim=-1)
        cells = {control: _grouped(e, groups) for control, e in errors.items()}
        axes = {"metric": ("mse", "r2"), "position": list(groups), "target": self.targets}
        rows: list[dict[str, object]] = []
        for control, error in cells.items():
            spread = dealt if control == "shuffled" else own
            found = self._bootstrap(torch.stack([error, spread], 1), _mse_and_r2)
            rows += tables.grid(found, axes, site=site, control=control, split="test", readout=readout)
        beaten = {c: self._bootstrap(e - cells["none"]).low > 0 for c, e in cells.items() if c != "none"}
        for row in rows:
            place = (axes["position"].index(row["position"]), self.targets.index(str(row["target"])))
            ties = [c for c, won in beaten.items() if not won[place]] if row["control"] == "none" else []
            row["note"] = f"no better than control: {', '.join(ties)}" if ties else ""
            if row["metric"] == "r2" and math.isnan(float(str(row["value"]))):
                row["note"] = NO_VARIANCE
        return rows

    def _bootstrap(self, values: Tensor, of: stats.Statistic | None = None) -> stats.Intervals:
        return stats.bootstrap(values, of, draws=self.config.draws, seed=self.config.seed)


def _grouped(errors: Tensor, groups: Mapping[str, Sequence[int]]) -> Tensor:
    return torch.stack([errors[:, list(members)].mean(1) for members in groups.values()], dim=1)


def _spread(answers: Float[Tensor, "prompt output target"]) -> Float[Tensor, "prompt output target"]:
    """Squared distance from the mean over prompts; exactly 0 for a target that does not vary."""
    varies = answers.amax(0) > answers.amin(0)
    return torch.where(varies, (answers - answers.mean(0)).square(), 0.0)


def _mse_and_r2(means: Tensor) -> Tensor:
    error, spread = means[:, 0], means[:, 1]
    return torch.stack([error, torch.where(spread > 0, 1 - error / spread, torch.nan)], dim=1)
