"""Matching layers to steps of an algorithm: the field's similarity figures, with the columns that keep them
honest.

Owns: Similarity of Errors (cosine of error vectors over output positions; its minimum is high, so the zero predictor is
always a column), Similarity of Induced Weights (cosine, averaged over output positions), relative L2 distance beside
both, the match band (all steps within one bootstrap standard error of the best) and the slope of the best
step against the layer. Axes are `layer`, `step` (column of a family's ladder), `prompt`. Source: 2310.17086,
sections 3 and 4. A match says nearest of the steps offered, not that the algorithm is run: the filter verdict
(`probes.filters`) is there for that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from probes import stats, tables
from tasks.errors import UserError


@dataclasses.dataclass(frozen=True)
class Similarities:
    """A figure of merit for each layer, step and prompt; `distance` marks squared distances, where less is
    better. `size` is what a prompt counts for in a distance (mean 1): the layer's own square there.
    """

    name: str
    values: Float[Tensor, "layer step prompt"]
    distance: bool = False
    size: Float[Tensor, "layer prompt"] | None = None

    def means(self, weights: Float[Tensor, "draw prompt"]) -> Float[Tensor, "draw layer step"]:
        """The figure over weighted prompts (for a distance: the root of its mean over that of the size)."""
        found = torch.einsum("lsp,rp->rls", self.values, weights)
        if self.size is not None:
            found = found / (weights @ self.size.mT)[..., None].clamp_min(1e-300)
        return found.clamp_min(0).sqrt() if self.distance else found


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(norms > 0, (a * b).sum(-1) / torch.where(norms > 0, norms, 1.0), 0.0)


def similarity_of_errors(
    layers: Float[Tensor, "layer prompt output"],
    steps: Float[Tensor, "step prompt output"],
    answers: Float[Tensor, "prompt output"],
) -> Similarities:
    """Cosine of (prediction - answer) over the output positions, per prompt: 1 same errors, 0 orthogonal.

    There is no chance level: the zero predictor shares the answer's error and scores high. Reads are those
    given, so pass t <= d and t > d apart; a prompt without any error scores 0.
    """
    _finite(layers, steps, answers)
    left, right = layers.double() - answers, steps.double() - answers
    return Similarities("SimE", _cosine(left[:, None], right[None]))


def similarity_of_weights(
    layers: Float[Tensor, "layer prompt output d"], steps: Float[Tensor, "step prompt output d"]
) -> Similarities:
    """Cosine of induced weights, averaged over output positions: 1 same direction, 0 what unrelated weights score on
    average.
    """
    _finite(layers, steps)
    found = [_cosine(layers.double(), step.double()[None]).mean(-1) for step in steps]
    return Similarities("SimW", torch.stack(found, 1))


def relative_distance(
    layers: Float[Tensor, "layer prompt output"], steps: Float[Tensor, "step prompt output"]
) -> Similarities:
    """|layer - step| / |layer| over output positions and prompts: 0 same predictions; the zero predictor scores 1.

    Raises UserError where a layer predicts 0 throughout.
    """
    _finite(layers, steps)
    layers, steps = layers.double(), steps.double()
    own = layers.square().sum(-1)
    size = own.mean(-1)
    if bool((size == 0).any()):
        raise UserError(
            f"layer {int((size == 0).nonzero()[0])} predicts 0 throughout: it has no relative distance"
        )
    apart = (layers[:, None] - steps[None]).square().sum(-1)
    return Similarities("relative L2", apart / size[:, None, None], distance=True, size=own / size[:, None])


def _finite(*tensors: Tensor) -> None:
    if not all(bool(torch.isfinite(t).all()) for t in tensors):
        raise UserError("predictions hold NaN or infinity: leave out layers or steps that diverge")


@dataclasses.dataclass(frozen=True)
class Match:
    """The best step of each layer, its band, and how it moves with the layer. `ladder` holds each column's k."""

    scores: Similarities
    ladder: tuple[int, ...]
    point: Float[Tensor, "layer step"]
    draws: Float[Tensor, "draw layer step"]

    @classmethod
    def of(
        cls, scores: Similarities, ladder: Sequence[int], draws: int = stats.DRAWS, seed: int = 0
    ) -> Match:
        """Raises UserError unless the ladder has one ascending k a column."""
        if len(ladder) != scores.values.shape[1] or list(ladder) != sorted(set(ladder)):
            raise UserError(
                f"{len(ladder)} steps in the ladder, {scores.values.shape[1]} columns; give ascending k"
            )
        prompts = scores.values.shape[2]
        whole = scores.means(torch.full((1, prompts), 1 / prompts, dtype=torch.float64))[0]
        again = [scores.means(weights) for weights in stats.resamples(prompts, draws, seed)]
        return cls(scores, tuple(ladder), whole, torch.cat(again))

    @property
    def _sign(self) -> int:
        return -1 if self.scores.distance else 1

    @property
    def best(self) -> list[int]:
        """k of the best step of each layer (the smallest of equals)."""
        return [self.ladder[int(i)] for i in (self._sign * self.point).argmax(1)]

    @property
    def bands(self) -> list[list[int]]:
        """For each layer every k within one bootstrap standard error of the best value."""
        gain, error = self._sign * self.point, self.draws.std(0)
        top = gain.argmax(1)
        rows = torch.arange(len(top))
        within = gain >= (gain[rows, top] - error[rows, top])[:, None]
        return [[k for k, near in zip(self.ladder, row, strict=True) if near] for row in within.tolist()]

    def slope(self, layers: Sequence[int], log2: bool) -> stats.Interval:
        """Steps a layer: slope of k* (or of log2 k*) over `layers`, bootstrapped with the match redone each
        time.

        Raises UserError for fewer than two layers, one that does not exist, or k = 0 among the matches on a
        log scale.
        """
        if len(layers) < 2 or not all(0 <= i < len(self.point) for i in layers):
            raise UserError(
                f"a slope needs two or more of the layers 0 .. {len(self.point) - 1}, got {list(layers)}"
            )
        if log2 and self.ladder[0] == 0:
            raise UserError("log2 of k = 0 does not exist: leave step 0 out of the ladder")
        k = torch.tensor(self.ladder, dtype=torch.float64)
        k = k.log2() if log2 else k
        x = torch.tensor(layers, dtype=torch.float64)
        x = (x - x.mean()) / (x - x.mean()).square().sum()
        every = torch.cat([self.point[None], self.draws])[:, list(layers)]
        slopes = (k[(self._sign * every).argmax(-1)] * x).sum(-1)
        prompts = self.scores.values.shape[2]
        return stats.percentile(slopes[0], slopes[1:], prompts).one()

    def table(self, sites: Sequence[str], algorithm: str, zero: Similarities) -> pd.DataFrame:
        """One row a site: best value with its interval, k*, band, and the zero predictor's value in its own
        row.

        `zero` are the same scores against a single column, the zero predictor.
        """
        prompts = self.scores.values.shape[2]
        found = stats.percentile(self.point, self.draws, prompts)
        floor = Match.of(zero, [0], len(self.draws))
        nothing = stats.percentile(floor.point, floor.draws, prompts)
        rows = []
        for i, site in enumerate(sites):
            column = self.ladder.index(self.best[i])
            band = self.bands[i]
            shared = {"site": site, "metric": self.scores.name}
            edge = " (end of the ladder)" if column in (0, len(self.ladder) - 1) else ""
            label = f"{band[0]}-{band[-1]}{edge}"
            rows.append(
                {**shared, "algorithm": algorithm, "k": self.best[i], "band": label, **found[i, column].row()}
            )
            rows.append({**shared, "algorithm": "zero", "k": 0, "control": "zero", **nothing[i, 0].row()})
            rows[-2]["control"] = "none"
        return tables.frame(rows)
