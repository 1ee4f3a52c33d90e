"""Contrast: what a site knows of an iterate beyond the label, least squares and the nearest rival iterate.

Owns: the partial R2 of neighbouring targets. Iterates of rival algorithms are nearly collinear, so a plain R2
is high for all of them; here target and activations are first freed of the nuisance targets (Frisch-Waugh,
coefficients from the "fit" prompts), then read by ridge, and scored on "test" prompts as 1 - error / error
without the activations. Chance is 0 (held out, so it may be below) and 1 the most there is; how much of that
a noisy site could reach is not known. A site that carries both rivals scores high on both: what tells them
apart is the paired difference.
"""

from __future__ import annotations

import dataclasses

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from probes import ridge, stats, tables
from probes.ridge import RidgeMoments
from tasks.errors import UserError


class ContrastConfig(BaseModel):
    """Ridge strengths as multiples of the mean eigenvalue, and the bootstrap's size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = tuple(10.0**e for e in range(-10, 3))
    draws: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Rows:
    """Prompts of one split: a site's activations, the two rival iterates, and what both are freed of (label,
    OLS).
    """

    activations: Float[Tensor, "prompt output feature"]
    first: Float[Tensor, "prompt output"]
    second: Float[Tensor, "prompt output"]
    nuisance: Float[Tensor, "prompt output other"]

    def swapped(self) -> Rows:
        """The same rows with the rivals' parts exchanged."""
        return dataclasses.replace(self, first=self.second, second=self.first)

    def dealt(self, gen: torch.Generator) -> Rows:
        """Targets and nuisance of other prompts beside these activations."""
        order = torch.randperm(len(self.first), generator=gen)
        return Rows(self.activations, self.first[order], self.second[order], self.nuisance[order])


def nearest(target: Float[Tensor, "prompt output"], rivals: Float[Tensor, "rival prompt output"]) -> int:
    """The rival iterate of highest squared correlation with the target: the one to beat."""
    t = target.double().flatten() - target.double().mean()
    r = rivals.double().flatten(1) - rivals.double().flatten(1).mean(1, keepdim=True)
    size = r.square().sum(1)
    return int(torch.where(size > 0, (r @ t).square() / size.clamp_min(1e-300), 0.0).argmax())


@dataclasses.dataclass(frozen=True)
class Partial:
    """Squared errors per test prompt, with and without the activations."""

    error: Float[Tensor, "prompt"]
    base: Float[Tensor, "prompt"]


def partial(fit: Rows, validation: Rows, test: Rows, config: ContrastConfig, site: str = "site") -> Partial:
    """Read `first` beyond `second` and the nuisance.

    Raises UserError where the target is itself a combination of the nuisance targets, or as `probes.ridge`
    does.
    """
    known = [torch.cat([r.second[..., None], r.nuisance], -1).double() for r in (fit, validation, test)]
    free = _Free(known[0])
    parts = [_freed(free, r, k) for r, k in zip((fit, validation, test), known, strict=True)]
    if float(parts[0][1].square().mean()) <= 1e-18 * float(fit.first.double().square().mean()):
        raise UserError(
            f"{site}: the target is a combination of label, OLS and rival; there is no contrast to read"
        )
    readout = _ridge(parts[0], parts[1], config, site)
    x, z = parts[2]
    error = (readout.predict(x.flatten(0, 1)).reshape(z.shape) - z).square().mean((1, 2))
    return Partial(error, z.square().mean((1, 2)))


def _freed(free: _Free, rows: Rows, known: Tensor) -> tuple[Tensor, Tensor]:
    return free(rows.activations.double(), known, "x"), free(rows.first.double()[..., None], known, "z")


class _Free:
    """Residuals on nuisance targets, with coefficients of the prompts it first sees for each name."""

    def __init__(self, known: Tensor) -> None:
        self.mean = known.flatten(0, 1).mean(0)
        self.inverse = torch.linalg.pinv(known.flatten(0, 1) - self.mean, rtol=1e-10)
        self.slopes: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, value: Tensor, known: Tensor, name: str) -> Tensor:
        if name not in self.slopes:
            flat = value.flatten(0, 1)
            self.slopes[name] = (flat.mean(0), self.inverse @ (flat - flat.mean(0)))
        mean, slope = self.slopes[name]
        return value - mean - (known - self.mean) @ slope


def _ridge(
    fit: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], config: ContrastConfig, site: str
) -> ridge.Fit:
    fitting, validating = (
        RidgeMoments.of(x.flatten(0, 1), z.flatten(0, 1), site) for x, z in (fit, validation)
    )
    return ridge.fit(fitting, validating, ridge.relative_strengths(fitting, config.strengths), site)


def contrast(
    fit: Rows,
    validation: Rows,
    test: Rows,
    names: tuple[str, str],
    config: ContrastConfig,
    site: str = "site",
    random_w: tuple[Rows, Rows, Rows] | None = None,
) -> pd.DataFrame:
    """Partial R2 of each rival beyond the other, their paired difference, and the controls.

    `names` are the two rivals. `random_w` holds the same splits with targets computed from labels of other
    weight vectors on the same inputs. Rows: metric "partial r2", "partial r2 difference" (first minus second,
    one bootstrap); controls "shuffled" and "random w".
    """
    gen = torch.Generator().manual_seed(config.seed)
    conditions = {
        "none": (fit, validation, test),
        "shuffled": tuple(rows.dealt(gen) for rows in (fit, validation, test)),
    }
    if random_w is not None:
        conditions["random w"] = random_w
    rows: list[dict[str, object]] = []
    for control, (a, b, c) in conditions.items():
        one = partial(a, b, c, config, site)
        two = partial(a.swapped(), b.swapped(), c.swapped(), config, site)
        columns = torch.stack([one.error, one.base, two.error, two.base], 1)
        found = stats.bootstrap(columns, _figures, draws=config.draws, seed=config.seed)
        for i, (metric, algorithm) in enumerate(_labels(*names)):
            shared = {
                "site": site,
                "metric": metric,
                "algorithm": algorithm,
                "control": control,
                "split": "test",
            }
            rows.append({**shared, **found[i].row()})
    return tables.frame(rows)


def _labels(first: str, second: str) -> list[tuple[str, str]]:
    difference = ("partial r2 difference", f"{first} - {second}")
    return [("partial r2", first), ("partial r2", second), difference]


def _figures(means: Tensor) -> Tensor:
    error1, base1, error2, base2 = means.unbind(1)
    first, second = 1 - error1 / base1, 1 - error2 / base2
    return torch.stack([first, second, first - second], 1)
