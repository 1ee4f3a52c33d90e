"""Which symbol a site carries: a linear map to one-hot codes, judged by its largest output on prompts it
never saw.

Owns the classification counterpart of `probes.readout`: weights from "fit" prompts, ridge strength from "validation",
accuracy from "test". `Decoder` reads a site at one position; `SymbolReadout` has one map for many positions. Every
output, or target, is a classification of its own with the same classes; all share one design per site. Controls: an
untrained model read on the same prompts, and labels dealt to other prompts; of many positions also the commonest symbol
of the fitting prompts ("chance"). Accuracy is a share in [0, 1]; of a prompt's positions together it is their mean,
with prompts as the units of the interval. What the best constant guess gets is 1 over the number of classes for
balanced ones. That a symbol can be read does not show that the model uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes import ridge, stats, tables
from probes.ridge import Fit, RidgeMoments
from tasks.errors import UserError

STRENGTHS = tuple(10.0**e for e in range(-8, 3, 2))
ALL = "all"
Split = Literal["fit", "validation", "test"]


class _Classifiers:
    """One map a site from activations at some positions to the symbols of some targets, from streamed batches."""

    def __init__(
        self, positions: int, targets: Sequence[str], classes: int, strengths: Sequence[float], seed: int
    ) -> None:
        self.targets, self.classes, self.strengths = list(targets), classes, tuple(strengths)
        self._moments: dict[str, dict[str, RidgeMoments]] = {"fit": {}, "validation": {}}
        self._counts = torch.zeros(positions, len(self.targets), classes)
        self._fits: dict[str, Fit] = {}
        self._hits: dict[tuple[str, str], list[Float[Tensor, "prompt position target"]]] = {}
        self._deal = torch.Generator().manual_seed(seed)

    def _add(
        self,
        split: Split,
        activations: Mapping[str, Float[Tensor, "prompt position feature"]],
        labels: Int[Tensor, "prompt position target"],
    ) -> None:
        wanted = self._counts.shape[:2]
        if labels.shape[1:] != wanted or not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise UserError(
                f"labels must be {list(wanted)} a prompt, each from 0 to {self.classes - 1}, got "
                f"{list(labels.shape[1:])}"
            )
        dealt = labels[torch.randperm(len(labels), generator=self._deal)]
        codes = torch.nn.functional.one_hot(torch.cat([labels, dealt], -1), self.classes)
        if split == "fit":
            self._counts += codes[:, :, : len(self.targets)].sum(0)
        for site, x in activations.items():
            if split == "test":
                self._score(site, x, labels, dealt)
                continue
            rows = RidgeMoments.of(x.flatten(0, 1), codes.flatten(2).flatten(0, 1).double(), f"site {site}")
            if site in self._moments[split]:
                self._moments[split][site].merge(rows)
            else:
                self._moments[split][site] = rows

    def _fit(self, site: str) -> Fit:
        if site not in self._fits:
            if any(site not in held for held in self._moments.values()):
                raise UserError(f"site {site!r}: add 'fit' and 'validation' prompts before 'test' ones")
            fitting, validating = self._moments["fit"][site], self._moments["validation"][site]
            grid = ridge.relative_strengths(fitting, self.strengths)
            self._fits[site] = ridge.fit(fitting, validating, grid, f"site {site}")
        return self._fits[site]

    def _score(self, site: str, x: Tensor, labels: Tensor, dealt: Tensor) -> None:
        shape = (2 * len(self.targets), self.classes)
        guessed = self._fit(site).predict(x).unflatten(-1, shape).argmax(-1)
        own, other = guessed.chunk(2, dim=-1)
        usual = self._counts.argmax(-1)
        for control, hits in (
            ("none", own == labels), ("shuffled", other == dealt), ("chance", usual == labels),
        ):  # fmt: skip
            self._hits.setdefault((site, control), []).append(hits.double())

    def _scored(
        self, untrained: _Classifiers | None
    ) -> dict[tuple[str, str], Float[Tensor, "prompt position target"]]:
        """Hits by site and control, those of another model's readout as "untrained". Raises UserError without any."""
        hits = dict(self._hits)
        if untrained is not None:
            others = untrained._hits.items()
            hits |= {(site, "untrained"): found for (site, control), found in others if control == "none"}
        if not hits:
            raise UserError("no test prompts were scored; add some with split 'test'")
        return {key: torch.cat(found) for key, found in hits.items()}


class Decoder(_Classifiers):
    """Linear classifiers of many sites from streamed batches: `add` "fit" and "validation" first, then "test"."""

    def __init__(
        self, outputs: Sequence[str], classes: int, strengths: Sequence[float] = STRENGTHS, seed: int = 0
    ) -> None:
        if not outputs or classes < 2:
            raise UserError("a decoder needs at least one output and two classes")
        super().__init__(1, outputs, classes, strengths, seed)

    def add(
        self,
        split: Split,
        activations: Mapping[str, Float[Tensor, "prompt feature"]],
        labels: Int[Tensor, "prompt output"],
    ) -> None:
        """Take in a batch. Raises UserError for a label outside the classes, or "test" before the other
        splits.
        """
        self._add(split, {site: x[:, None] for site, x in activations.items()}, labels[:, None])

    def table(self, untrained: Decoder | None = None) -> pd.DataFrame:
        """Accuracy of every site and output with Clopper-Pearson intervals over prompts; the untrained model's as
        "untrained".
        """
        rows = []
        for (site, control), right in self._scored(untrained).items():
            if control == "chance":
                continue
            fixed = {"site": site, "metric": "accuracy", "control": control, "split": "test"}
            for output, count in zip(self.targets, right[:, 0].sum(0).tolist(), strict=True):
                share = stats.share(int(count), len(right)).row()
                rows.append({"position": output, **fixed, "unit": "share of prompts", **share})
        return tables.frame(rows)


class SymbolReadout(_Classifiers):
    """Linear classifiers of many sites, each one map for all positions, from streamed batches: `add` "fit" and
    "validation" first, then "test".

    `positions` and `targets` name the axes of the labels, whose symbols are numbered from 0 to `classes` - 1.
    """

    def __init__(
        self,
        positions: Sequence[str],
        targets: Sequence[str],
        classes: int,
        strengths: Sequence[float] = STRENGTHS,
        seed: int = 0,
    ) -> None:
        if not positions or not targets or classes < 2:
            raise UserError("symbols to read need at least one position, one target and two classes")
        self.positions = list(positions)
        super().__init__(len(self.positions), targets, classes, strengths, seed)

    def add(
        self,
        split: Split,
        activations: Mapping[str, Float[Tensor, "prompt position feature"]],
        labels: Int[Tensor, "prompt position target"],
    ) -> None:
        """Take in a batch. Raises UserError for labels outside the classes, or "test" before the other splits."""
        self._add(split, activations, labels)

    def table(self, untrained: SymbolReadout | None = None) -> pd.DataFrame:
        """Accuracy of every site, position and target, and of all positions together, with Clopper-Pearson intervals
        over prompts; the other readout's as "untrained". Raises UserError without test prompts."""
        rows = []
        for (site, control), right in self._scored(untrained).items():
            both = stats.shares(torch.cat([right.mean(1, keepdim=True), right], 1))
            axes = {"position": [ALL, *self.positions], "target": self.targets}
            fixed = {"site": site, "metric": "accuracy", "control": control, "split": "test"}
            rows += tables.grid(both, axes, unit="share of prompts", **fixed)
        return tables.frame(rows)
