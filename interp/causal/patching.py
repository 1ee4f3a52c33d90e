"""Activation patching over a grid of sites, with clean/corrupt pairs from the task.

Directions: "denoise" runs the corrupt prompts and puts one site's clean value in (which sites suffice to
restore the behaviour); "noise" runs the clean prompts and takes one site's value away (which sites are
necessary): it is replaced by the pair's corrupt value, or by an ablation. Effects are normalised so that the
corrupt run is 0 and the clean run is 1, in both directions: a noising patch that breaks everything scores 0.
Source: Meng et al. 2022 (arXiv 2202.05262); Heimersheim & Nanda 2024 (arXiv 2404.15255) on the two
directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.arithmetic import is_transformer
from interp.causal.engine import FastEngine
from interp.causal.interventions import ablation_values, measure_change, partners, run_of
from interp.causal.metrics import Metric, check_eval, check_pair, metric_of, normalised
from interp.causal.reference import HooksEngine, LensEngine
from interp.causal.suffix import SuffixEngine
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check, grid
from probes.stats import DRAWS
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords

CHUNK = 64
ENGINES: dict[str, type] = {
    "fast": FastEngine,
    "suffix": SuffixEngine,
    "hooks": HooksEngine,
    "transformer_lens": LensEngine,
}
ENTERED = ("language-model", "adopted")  # kinds that can be entered at a layer


def engine_of(model: HookedModel) -> str:
    """The engine that serves a model: the fast one knows our transformer only, others' are entered at a layer."""
    if is_transformer(model):
        return "fast"
    return "suffix" if getattr(model.config, "kind", None) in ENTERED else "hooks"


@dataclasses.dataclass(frozen=True)
class Patched:
    """Metric values of every site and prompt, with those of the two runs they lie between."""

    sites: tuple[Site, ...]
    values: Float[Tensor, "site batch"]
    clean: Float[Tensor, "batch"]
    corrupt: Float[Tensor, "batch"]
    changes: pd.DataFrame


def sites_of(
    model: HookedModel, components: str | Iterable[str], n_pos: int, by: Iterable[str]
) -> list[Site]:
    """The grid of one or several components. Raises UserError for a model without layers."""
    if not hasattr(model.config, "n_layers"):
        kind = getattr(model.config, "kind", type(model.config).__name__)
        raise UserError(f"patching applies to models with layers, not to one of kind {kind!r}")
    names = [components] if isinstance(components, str) else list(components)
    axes = list(by)
    return [site for name in names for site in grid(model, name, n_pos, by=axes)]


@keywords
def patch(
    model: HookedModel,
    task: Task,
    pair: Pair,
    components: str | Iterable[str] = "resid_pre",
    *,
    by: Iterable[str] = ("layer", "head", "position"),
    sites: Sequence[Site] | None = None,
    direction: str = "denoise",
    replacement: str = "pair",
    metric: str | Metric | Callable[..., Tensor] = "loss",
    output: str | None = None,
    engine: str | None = None,
    seed: int = 0,
    chunk: int = CHUNK,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Effect of patching each site alone, one row a site.

    `value` is the normalised effect (corrupt 0, clean 1) with its interval over prompts, `raw` the mean
    metric, norm_* what the patch changed at the site. `components`: any of sites.COMPONENTS or "head_out";
    `by`: the axes of the grid (others are patched as a whole). `replacement`: "pair", or for direction
    "noise" an ablation (zero, mean, mean per position, resample). `engine`: the model's own unless named.
    Raises UserError for a pair that is not one, a model in train mode, sites outside the model, a metric
    that is NaN or the same on both runs.
    """
    check_pair(pair)
    check_eval(model)
    chosen = list(sites) if sites is not None else sites_of(model, components, pair.clean.inputs.shape[1], by)
    with torch.no_grad():
        clean_outputs = model(pair.clean.inputs)
    measure = (
        metric
        if isinstance(metric, Metric)
        else metric_of(task, pair, metric, output=output, clean_outputs=clean_outputs)
    )
    patched = run_patches(
        model,
        pair,
        chosen,
        measure,
        direction=direction,
        replacement=replacement,
        engine=engine,
        seed=seed,
        chunk=chunk,
    )
    return effects(patched, measure, draws).assign(direction=direction, replacement=replacement)


def run_patches(
    model: HookedModel,
    pair: Pair,
    sites: Sequence[Site],
    metric: Metric,
    *,
    direction: str = "denoise",
    replacement: str = "pair",
    engine: str | None = None,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Patched:
    """Raw values of one-site patches, prompt by prompt. Raises UserError as `patch` does."""
    engine = engine_of(model) if engine is None else engine
    _check_request(sites, direction, replacement, engine, chunk)
    for site in sites:
        check(site, model, pair.clean.inputs.shape[1])
    base, source = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
    outputs, here = run_of(model, base.inputs, sites)
    at_base = metric(outputs)
    outputs, there = _replacement(model, sites, here, source.inputs, replacement, seed)
    at_source = metric(outputs)
    del outputs
    clean, corrupt = (at_source, at_base) if direction == "denoise" else (at_base, at_source)
    values = []
    for rows in torch.arange(len(base)).split(chunk):
        part = {name: value[rows] for name, value in there.items()}
        values.append(ENGINES[engine](model, base.inputs[rows], metric, rows).values(sites, part))
    n_layers = model.config.n_layers
    changes = [
        measure_change(s, s.read(here[s.hook(n_layers)]), s.read(there[s.hook(n_layers)])).row()
        for s in sites
    ]
    return Patched(tuple(sites), torch.cat(values, 1), clean, corrupt, pd.DataFrame(changes))


def _check_request(sites: Sequence[Site], direction: str, replacement: str, engine: str, chunk: int) -> None:
    if not sites:
        raise UserError("no sites to patch: name at least one")
    if direction not in ("denoise", "noise"):
        raise UserError(f"unknown direction {direction!r}: use 'denoise' or 'noise'")
    if direction == "denoise" and replacement != "pair":
        raise UserError(f"replacement {replacement!r} removes something: use direction 'noise'")
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}: known are {list(ENGINES)}")
    if chunk < 1:
        raise UserError(f"chunk must be at least 1 prompt, got {chunk}")


def _replacement(
    model: HookedModel,
    sites: Sequence[Site],
    here: Mapping[str, Tensor],
    source: Tensor,
    kind: str,
    seed: int,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Outputs of the other run, and activations to patch in, by hook, over all prompts (so that they do not depend on
    chunks).
    """
    if kind == "pair":
        return run_of(model, source, sites)
    with torch.no_grad():
        outputs = model(source)
    if kind == "resample":
        order = partners(len(source), seed)
        return outputs, {name: value[order] for name, value in here.items()}
    by_hook = {site.hook(model.config.n_layers): site for site in sites}
    return outputs, {name: ablation_values(kind, site, here[name]) for name, site in by_hook.items()}


def effects(patched: Patched, metric: Metric, draws: int = DRAWS) -> pd.DataFrame:
    """The table of a patch: normalised effects with intervals, raw means, and what was changed at each site."""
    intervals = normalised(patched.values.T, patched.clean, patched.corrupt, draws)
    return patched.changes.assign(
        metric=metric.name,
        target=metric.target,
        value=intervals.value.numpy(),
        unit="normalised effect",
        ci_low=intervals.low.numpy(),
        ci_high=intervals.high.numpy(),
        n=intervals.n,
        raw=patched.values.double().mean(1).numpy(),
        raw_unit=metric.unit,
    )
