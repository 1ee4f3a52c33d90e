"""Which symbol a site carries: a linear map to one-hot codes, judged by its largest output on prompts it
never saw.

Owns the classification counterpart of `probes.readout`: weights from "fit" prompts, ridge strength from "validation",
accuracy from "test". Every output is a classification of its own with the same classes; all share one design
per site. Controls: an untrained model read on the same prompts, and labels dealt to other prompts. Accuracy is
a share in [0, 1]; what the best constant guess gets is 1 over the number of classes for balanced ones. That a
symbol can be read does not show that the model uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes import ridge, stats, tables
from probes.ridge import Fit, RidgeMoments
from tasks.errors import UserError

STRENGTHS = tuple(10.0**e for e in range(-8, 3, 2))


class Decoder:
    """Linear classifiers of many sites from streamed batches: `add` "fit" and "validation" first, then "test"."""

    def __init__(
        self, outputs: Sequence[str], classes: int, strengths: Sequence[float] = STRENGTHS, seed: int = 0
    ) -> None:
        if not outputs or classes < 2:
            raise UserError("a decoder needs at least one output and two classes")
        self.outputs, self.classes, self.strengths = list(outputs), classes, tuple(strengths)
        self._moments: dict[str, dict[str, RidgeMoments]] = {"fit": {}, "validation": {}}
        self._fits: dict[str, Fit] = {}
        self._hits: dict[tuple[str, str], list[Bool[Tensor, "prompt output"]]] = {}
        self._deal = torch.Generator().manual_seed(seed)

    def add(
        self,
        split: Literal["fit", "validation", "test"],
        activations: Mapping[str, Float[Tensor, "prompt feature"]],
        labels: Int[Tensor, "prompt output"],
    ) -> None:
        """Take in a batch. Raises UserError for a label outside the classes, or "test" before the other
        splits.
        """
        if labels.shape[1] != len(self.outputs) or int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise UserError(f"labels must be {len(self.outputs)} a prompt, each from 0 to {self.classes - 1}")
        dealt = labels[torch.randperm(len(labels), generator=self._deal)]
        codes = torch.nn.functional.one_hot(torch.cat([labels, dealt], 1), self.classes).flatten(1)
        for site, x in activations.items():
            if split == "test":
                self._score(site, x, labels, dealt)
                continue
            moments = RidgeMoments.of(x, codes.double(), f"site {site}")
            if site in self._moments[split]:
                self._moments[split][site].merge(moments)
            else:
                self._moments[split][site] = moments

    def _fit(self, site: str) -> Fit:
        if site not in self._fits:
            if any(site not in held for held in self._moments.values()):
                raise UserError(f"site {site!r}: add 'fit' and 'validation' prompts before 'test' ones")
            fitting, validating = self._moments["fit"][site], self._moments["validation"][site]
            grid = ridge.relative_strengths(fitting, self.strengths)
            self._fits[site] = ridge.fit(fitting, validating, grid, f"site {site}")
        return self._fits[site]

    def _score(self, site: str, x: Tensor, labels: Tensor, dealt: Tensor) -> None:
        guessed = self._fit(site).predict(x).unflatten(-1, (2 * len(self.outputs), self.classes)).argmax(-1)
        own, other = guessed.chunk(2, dim=1)
        self._hits.setdefault((site, "none"), []).append(own == labels)
        self._hits.setdefault((site, "shuffled"), []).append(other == dealt)

    def table(self, untrained: Decoder | None = None) -> pd.DataFrame:
        """Accuracy of every site and output with Clopper-Pearson intervals over prompts; the untrained model's as
        "untrained".
        """
        hits = dict(self._hits)
        if untrained is not None:
            hits |= {
                (site, "untrained"): found
                for (site, control), found in untrained._hits.items()
                if control == "none"
            }
        if not hits:
            raise UserError("no test prompts were scored; add some with split 'test'")
        rows = []
        for (site, control), found in hits.items():
            right = torch.cat(found)
            for output, count in zip(self.outputs, right.sum(0).tolist(), strict=True):
                share = stats.share(int(count), len(right)).row()
                fixed = {
                    "position": output,
                    "site": site,
                    "metric": "accuracy",
                    "control": control,
                    "split": "test",
                }
                rows.append({**fixed, "unit": "share of prompts", **share})
        return tables.frame(rows)
