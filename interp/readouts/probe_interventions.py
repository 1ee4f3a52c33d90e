"""Are the directions used that probes read an algorithm's iterates from? Every layer of a regression net.

At each layer a ridge probe reads a rival's iterate off the stream at the token of x, for that step of the rival
which the layer shows best (held out). The probe's component is then moved from clean to corrupt prompts
(`interp.causal.directions`) and the change of the net's final prediction is compared with the change that the
iterate predicts. A probe that reads nothing is not moved. For a study:

    table = probe_interventions(run.model(), run.task, rivals=("newton", "gd"))
    own = table.query("metric == 'causal slope' and control == 'none'")     # one row a layer and algorithm

`use` is the verdict (`interp.causal.direction_use`): "used", "not read" by any later module, "not used", "not decoded".
`value` is 1 where the net uses the direction as the algorithm would, 0 where it is a correlation only; rows of
control "random" say what directions of the same length do. `k` is the iterate's step, `r2` how well the probe
reads it on the clean prompts of the pairs, which it has not seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator, Direct
from interp.causal.directions import Probe, interchange
from interp.hooks.sites import Site
from probes import ridge
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Problems
from probes.rivals import RIVALS, Ladder, ladder
from tasks import Task, UserError
from tasks.base import Pair
from tasks.regression import InContextRegression
from tasks.regression_layout import RegressionBatch

STRENGTHS = tuple(10.0**e for e in range(-8, 3))
PASS = 512


class ProbeInterventions(Direct):
    """`probe_interventions` at every checkpoint, with the untrained model's rows as control "untrained"."""

    name: ClassVar[str] = "causal-probe"
    version: ClassVar[int] = 2
    with_untrained: ClassVar[bool] = True

    prompts: int = Field(default=256, ge=8)
    fit_prompts: int = Field(default=1024, ge=32)
    rivals: tuple[str, ...] = ("newton", "gd")
    pair: str = "replace-w"
    context: int | None = Field(default=None, ge=1)
    random: int = Field(default=4, ge=1)
    least_r2: float = Field(default=0.1, ge=0, lt=1)
    draws: int = Field(default=300, ge=2)

    def measure(self, model: Any, task: Task) -> pd.DataFrame:
        return probe_interventions(model, task, **self.model_dump(exclude={"chunks"}))

    def constants(self, model: Any, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        if untrained is None:
            return None
        table = untrained.table()
        return table[table["control"] == "none"].assign(control="untrained")


@dataclasses.dataclass(frozen=True)
class _Prompts:
    """What probes are fitted on, how strong they are chosen, and the pairs that they are moved between."""

    fit: RegressionBatch
    validation: RegressionBatch
    pair: Pair


def probe_interventions(
    model: Any,
    task: Task,
    *,
    rivals: Sequence[str | Ladder] = ("newton", "gd"),
    pair: str = "replace-w",
    context: int | None = None,
    prompts: int = 256,
    fit_prompts: int = 1024,
    random: int = 4,
    least_r2: float = 0.1,
    seed: int = 0,
    draws: int = 300,
) -> pd.DataFrame:
    """Causal slopes of every layer's probe of every rival; columns as in `directions.interchange`, with `k` and `r2`.

    `rivals`: names of `probes.rivals.RIVALS`, whose step sizes are tuned on prompts of their own, or ladders.
    `context`: examples before the x that is predicted (None: as many as dimensions, or all where a prompt has
    one output position). Probes whose `r2` is below `least_r2` have a row without a value and a `note`. Raises
    UserError for other tasks, unknown rivals or pairs, a context that is not read, a model in train mode.
    """
    if not isinstance(task, InContextRegression):
        raise UserError(
            f"probe directions are moved on regression runs only: task {task.kind!r} has no iterates"
        )
    at = _context(task, context)
    data = _prompts(model, task, pair, seed, fit_prompts, prompts)
    ladders = [_ladder(rival, data.validation, at) for rival in rivals]
    position = at if task.layout == "merged" else 2 * at
    sites = [Site("resid_post", layer, None, position) for layer in range(model.config.n_layers)]
    streams = [_streams(model, b, sites) for b in (data.fit, data.validation, data.pair.clean)]
    targets = [[_iterates(b, rung, at) for rung in ladders] for b in _batches(data)]
    rows = []
    for i, site in enumerate(sites):
        for r, rung in enumerate(ladders):
            probe, k, r2 = _probe(rung.family, [s[i] for s in streams], [t[r] for t in targets])
            found = {"k": rung.k[k], "r2": r2}
            if r2 < least_r2:
                rows.append(_unread(site, rung.family, least_r2).assign(**found))
                continue
            moved = interchange(model, data.pair, site, [probe], random=random, seed=seed, draws=draws)
            rows.append(moved.assign(note="", **found))
    return pd.concat(rows, ignore_index=True)


def _context(task: InContextRegression, context: int | None) -> int:
    at = (task.n if task.layout == "merged" else min(task.d, task.n)) if context is None else context
    if at not in task.contexts or at == 0:
        raise UserError(
            f"context {at} is not read by this task: it reads {task.contexts[0]} to {task.contexts[-1]} examples"
        )
    return at


def _prompts(
    model: Any, task: InContextRegression, pair: str, seed: int, fit_prompts: int, prompts: int
) -> _Prompts:
    fit = task.sample(seed, "causal probe, fit", 0, fit_prompts)
    validation = task.sample(seed, "causal probe, choose", 0, max(8, fit_prompts // 4))
    found = task.pair(pair, seed, "causal probe", 0, prompts)
    if next(model.parameters()).dtype == torch.float64:
        fit, validation = fit.double(), validation.double()
        found = dataclasses.replace(found, clean=found.clean.double(), corrupt=found.corrupt.double())
    return _Prompts(fit, validation, found)


def _batches(data: _Prompts) -> list[RegressionBatch]:
    pairs = (data.pair.clean, data.pair.corrupt)
    return [data.fit, data.validation, *(b for b in pairs if isinstance(b, RegressionBatch))]


def _ladder(rival: str | Ladder, tuning: RegressionBatch, at: int) -> Ladder:
    if isinstance(rival, Ladder):
        return rival
    if rival not in RIVALS:
        raise UserError(f"unknown rival {rival!r}: known are {list(RIVALS)}")
    return ladder(Problems.of(tuning.x, tuning.y, (at,)), tuning.y[:, [at]].double(), rival)


def _iterates(batch: RegressionBatch, rung: Ladder, at: int) -> Float[Tensor, "batch step"]:
    return algorithms.predictions(Problems.of(batch.x, batch.y, (at,)), rung.members)[..., 0].T


@torch.no_grad()
def _streams(model: Any, batch: Any, sites: Sequence[Site]) -> list[Float[Tensor, "batch d_model"]]:
    """The stream of every prompt at each site."""
    hooks = [site.hook(model.config.n_layers) for site in sites]
    parts: list[list[Tensor]] = [[] for _ in sites]
    for inputs in batch.inputs.split(PASS):
        cache = model.run_with_cache(inputs, names_filter=hooks, return_cache_object=False)[1]
        for part, site, hook in zip(parts, sites, hooks, strict=True):
            part.append(site.read(cache[hook]).clone())
    return [torch.cat(part) for part in parts]


def _probe(family: str, streams: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Probe, int, float]:
    """The probe of the step that the layer shows best, that step's place on the ladder, and its R2 on the pairs'
    clean prompts. `streams` and `targets` of the fit, validation and clean prompts; targets of the corrupt ones too.
    """
    fitting, validating = (
        ridge.RidgeMoments.of(x, y, family) for x, y in zip(streams[:2], targets[:2], strict=True)
    )
    found = ridge.fit(fitting, validating, ridge.relative_strengths(fitting, STRENGTHS), family)
    variance = validating.yy.diagonal() / validating.rows
    k = int((1 - found.held_out.amin(0) / variance).argmax())
    truth = targets[2][:, k]
    missed = (found.predict(streams[2])[:, k] - truth).square().mean()
    r2 = 1 - float(missed / (truth - truth.mean()).square().mean())
    weights = found.weights[:, k].to(streams[2])
    return Probe(family, weights, truth.to(weights), targets[3][:, k].to(weights)), k, r2


def _unread(site: Site, family: str, least: float) -> pd.DataFrame:
    note = f"nothing to move: the probe's held-out R2 is below {least:g}"
    row = {
        "algorithm": family,
        "control": "none",
        "draw": -1,
        "metric": "causal slope",
        "value": float("nan"),
        "use": "not decoded",
    }
    return pd.DataFrame([{**row, "note": note, **site.columns()}])
