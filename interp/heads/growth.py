"""One by one or by doubling: how far along a chain heads attend, layer by layer, and which heads that rests on.

A head *reaches* find^j when at least half of its attention (lower 95% confidence limit, all heads and hops together)
goes j hops on from the rows of one kind: tokens of the prompt, or the query. Of its hops the furthest counts. Whether a
head of find^m rests on those of find^j (j < m, in earlier layers) is shown by path patching: these write what they
write on other prompts, all other heads what they write on these, MLPs follow, and the *effect* is the share of the
head's attention on find^m that is lost; 0: it does not need them, 1: all of it. A head *rests* on the largest j whose
effect is significant (at least `LEAST`, lower limit above 0, at a level for all paths together).

Verdict, from heads of find^3 and beyond: "doubling", if some head of find^m rests on one at most m - 2 hops away and
its effect is significantly larger than that of find^(m-1); "one by one", if all that rest on anything rest on
find^(m-1), significantly more than on all nearer ones; else "neither", and `note` says why. Where reach is never beyond
2 the two cannot be distinguished. Attention is where a head takes from, not what it makes of it: a head of find^m whose
sources carry more hops serves a longer chain. Sources: find^k and its doubling, Sanford et al., arXiv 2402.09268; path
patching, Goldowsky-Dill et al., arXiv 2304.05969; the verdict is this project's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Direct
from interp.heads.heads import has_roles, relation_mass
from interp.heads.hop_relations import Rows, has_hops, hop_relations
from interp.hooks.protocol import HookedModel
from probes.stats import FEWEST_PROMPTS, Interval, mean, quotient
from tasks import Task, UserError

REACHES = 0.5
LEAST = 0.1
NOTHING = "no head attends three hops on or further, so one by one and doubling cannot be distinguished"
NO_DIFFERENCE = Interval(float("nan"), float("nan"), float("nan"), 0, "none")
Masses = dict[tuple[Rows, int], Float[Tensor, "batch layer head"]]


@dataclasses.dataclass(frozen=True)
class Reach:
    """A head with the furthest hop that it attends to, from rows of which kind, and how much."""

    layer: int
    head: int
    hops: int
    rows: Rows
    mass: Interval

    @property
    def name(self) -> str:
        """As a site is written."""
        return f"L{self.layer}H{self.head}"


class HopGrowth(Direct):
    """Rows "reach" (a head and its hop), "effect" (of heads of find^j on a head of find^m) and "verdict"."""

    name: ClassVar[str] = "hop-growth"

    prompts: int = 96

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        return hop_growth(model, task, prompts=self.prompts, seed=self.seed)


def applies(settings: Any, task: Task) -> bool:
    """Whether heads of such a model attend along chains of hops that the task knows."""
    return has_hops(task) and has_roles(settings, task)


def hop_growth(model: HookedModel, task: Task, *, prompts: int = 96, seed: int = 0) -> pd.DataFrame:
    """Reach of every head, effects along paths, and the verdict; `position` is the hop, `members` what it is from.

    Raises UserError for a task without hops, and for too few prompts for intervals.
    """
    if not has_hops(task):
        raise UserError(f"task {task.kind!r} has no hops to follow: take khop, or retrieval of several hops")
    if prompts < FEWEST_PROMPTS:
        raise UserError(f"{prompts} prompts give no intervals: take {FEWEST_PROMPTS} or more")
    batch = task.sample(seed, "growth", 0, prompts)
    other = task.sample(seed, "growth, resampled", 0, prompts)
    relations = hop_relations(task, batch)
    masses = _masses(_patterns(model, batch.inputs), relations)
    reached = _reached(masses)
    effects = _effects(model, batch.inputs, other.inputs, relations, masses, reached)
    answer, value, why = verdict(effects)
    rows = [_row(r.layer, r.head, r.hops, "reach", r.rows, r.mass, "share of attention") for r in reached]
    for (receiver, hops), found in effects.items():
        rows += [
            _row(
                receiver.layer,
                receiver.head,
                hop,
                "effect",
                f"find^{hop} -> find^{hops}",
                each,
                "share of attention",
            )
            for hop, each in found.of.items()
        ]
    last = {
        "layer": -1,
        "head": -1,
        "position": f"find^{max((r.hops for r in reached), default=0)}",
        "metric": "verdict",
    }
    rows.append({**last, "members": answer, "note": why, **value.row(), "unit": "difference of shares"})
    return pd.DataFrame(rows)


def _row(
    layer: int, head: int, hops: int, metric: str, what: str, found: Interval, unit: str
) -> dict[str, Any]:
    own = {
        "layer": layer,
        "head": head,
        "position": f"find^{hops}",
        "metric": metric,
        "members": what,
        "note": "",
    }
    return {**own, **found.row(), "unit": unit}


def _patterns(model: HookedModel, inputs: Tensor) -> dict[str, Tensor]:
    """Patterns and outputs of heads on some prompts."""
    ends = ("attn.hook_pattern", "attn.hook_z")
    with torch.no_grad():
        return model.run_with_cache(
            inputs, names_filter=lambda name: name.endswith(ends), return_cache_object=False
        )[1]


def _masses(cache: Mapping[str, Tensor], relations: Mapping[tuple[Rows, int], Any]) -> Masses:
    layers = sum(name.endswith("hook_pattern") for name in cache)
    found = {}
    for key, relation in relations.items():
        each = [
            relation_mass(
                cache[f"blocks.{layer}.attn.hook_pattern"], relation.dest, relation.source, relation.valid
            )
            for layer in range(layers)
        ]
        found[key] = torch.stack(each, 1)
    return found


def _reached(masses: Masses) -> list[Reach]:
    """Heads with the furthest hop that they reach."""
    cells = sum(mass[0].numel() for mass in masses.values())
    found: dict[tuple[int, int], Reach] = {}
    for (rows, hops), mass in masses.items():
        whole = mass[~mass[:, 0, 0].isnan()]
        if len(whole) < 2:
            continue
        limits = mean(whole, least=0.0, level=1 - 0.05 / cells)
        for layer, head in (limits.low >= REACHES).nonzero().tolist():
            known = found.get((layer, head))
            if known is None or known.hops < hops:
                found[layer, head] = Reach(layer, head, hops, rows, limits[layer, head])
    return [found[place] for place in sorted(found)]


@dataclasses.dataclass(frozen=True)
class Effects:
    """Effects of the heads of each hop on one head, and of the hop it rests on less those it might rest on instead."""

    of: dict[int, Interval]
    rests_on: int | None
    beyond_next: Interval


def _effects(
    model: HookedModel,
    inputs: Tensor,
    other: Tensor,
    relations: Mapping[tuple[Rows, int], Any],
    masses: Masses,
    reached: list[Reach],
) -> dict[tuple[Reach, int], Effects]:
    """For every head of find^3 and beyond: what it loses when the heads of each nearer hop carry other prompts."""
    far = [r for r in reached if r.hops >= 3]
    senders = {
        (r.layer, hop): [s for s in reached if s.layer < r.layer and s.hops == hop]
        for r in far
        for hop in range(1, r.hops)
    }
    runs = {key: heads for key, heads in senders.items() if heads}
    level = 1 - 0.05 / max(1, sum(len([h for (at, h) in runs if at == r.layer and h < r.hops]) for r in far))
    here, there = (_patterns(model, x) for x in (inputs, other)) if runs else ({}, {})
    patched = {key: _patched(model, inputs, here, there, key[0], heads) for key, heads in runs.items()}
    found = {}
    for r in far:
        relation = relations[r.rows, r.hops]
        clean = masses[r.rows, r.hops][:, r.layer, r.head]
        lost = {
            hop: clean - relation_mass(pattern, relation.dest, relation.source, relation.valid)[:, r.head]
            for (at, hop), pattern in patched.items()
            if at == r.layer and hop < r.hops
        }
        found[r, r.hops] = _of(lost, clean, r.hops, level)
    return found


def _of(lost: Mapping[int, Tensor], clean: Tensor, hops: int, level: float) -> Effects:
    kept = ~clean.isnan()
    shares = {hop: quotient(value[kept], clean[kept], level=level).one() for hop, value in lost.items()}
    sure = [hop for hop, found in shares.items() if found.value >= LEAST and found.low > 0]
    if not sure:
        return Effects(shares, None, NO_DIFFERENCE)
    on = max(sure)
    near = max((hop for hop in shares if hop < hops - 1), key=lambda hop: shares[hop].value, default=None)
    nothing = torch.zeros_like(clean)
    step = lost.get(hops - 1, nothing)
    leap = nothing if near is None else lost[near]
    contrast = quotient((leap - step)[kept], clean[kept], level=level).one()
    return Effects(shares, on, contrast)


def _patched(
    model: HookedModel,
    inputs: Tensor,
    here: Mapping[str, Tensor],
    there: Mapping[str, Tensor],
    layer: int,
    heads: list[Reach],
) -> Float[Tensor, "batch head row column"]:
    """The pattern of a layer where some earlier heads write what they do on other prompts, the rest what they did."""
    held: list[Tensor] = []
    hooks: list[tuple[str, Any]] = []
    for before in range(layer):
        name = f"blocks.{before}.attn.hook_z"
        value = here[name].clone()
        for head in (r.head for r in heads if r.layer == before):
            value[:, :, head] = there[name][:, :, head]
        hooks.append((name, lambda z, hook, value=value: value.clone()))
    hooks.append((f"blocks.{layer}.attn.hook_pattern", lambda pattern, hook: held.append(pattern.clone())))
    with torch.no_grad():
        model.run_with_hooks(inputs, fwd_hooks=hooks)
    return held[0]


def verdict(effects: Mapping[tuple[Reach, int], Effects]) -> tuple[str, Interval, str]:
    """The answer, the difference that decides it (leaps less single steps), and why in words."""
    if not effects:
        return "neither", NO_DIFFERENCE, NOTHING
    resting = {key: found for key, found in effects.items() if found.rests_on is not None}
    if not resting:
        return "neither", NO_DIFFERENCE, "no head of find^3 or further rests on heads of nearer hops"
    leaps = {
        key: found
        for key, found in resting.items()
        if (found.rests_on or 0) <= key[1] - 2 and found.beyond_next.low > 0
    }
    if leaps:
        (head, hops), found = max(leaps.items(), key=lambda item: (item[0][1], item[1].beyond_next.value))
        why = f"{head.name} attends find^{hops} and rests on heads of find^{found.rests_on}"
        return "doubling", found.beyond_next, why
    steps = {key: found for key, found in resting.items() if found.beyond_next.high < 0}
    if len(steps) == len(resting):
        (head, hops), found = max(steps.items(), key=lambda item: item[0][1])
        why = (
            f"heads of find^3 or further rest on heads of one hop less, as far as {head.name} of find^{hops}"
        )
        return "one by one", found.beyond_next, why
    return (
        "neither",
        next(iter(resting.values())).beyond_next,
        "heads of find^3 or further rest on nearer hops alike",
    )
