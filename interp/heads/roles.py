"""Roles of heads, by what they attend to and by their ablation effects.

A head *has* a role when it scores at least half-way from uniform attention to all of it on the role's relation. Its
*ablation effect* (`interp.heads.ablation`) is on the mean loss over output positions. A head with a role is "needed"
when its own ablation has an effect; "redundant" when it has none by itself but has one once every other head of its
role is ablated; "idle" when neither. Heads without a role are "other" when their ablation has an effect, else "none".
Whatever its role, a head "cancels" when another one undoes what it does, and is "redundant" when another one stands in
for it (`interp.heads.cancel`); `partner` is that head. An effect is significant when it is at least `LEAST` and its
simultaneous 95% interval over prompts, for all heads together, lies above 0. A head has no role for rows that cannot
affect an output (`interp.causal.reach`): in the last layer those that are not output positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import CHUNK, Direct
from interp.causal.reach import reaching
from interp.heads.ablation import GroupEffects, HeadName, all_heads, counts, group_losses
from interp.heads.cancel import Partners, partners
from interp.heads.heads import HEAD_SHARE, HeadAccumulator, HeadScores, scorable, uniform_scores, unit_of
from interp.hooks.protocol import HookedModel
from probes.stats import Interval, bootstrap
from tasks import Batch, Task, UserError

_STEP = re.compile(r"link_(\d+) -> link_(\d+)")
_RIVALS = {"rival link -> next": "link_k -> link_k+1", "rival link -> previous": "link_k -> link_k-1"}


def role_of(relation: str) -> str:
    """The role that a relation belongs to: all links of a chain, and all chains, share one.

    >>> role_of("link_2 -> link_3"), role_of("query -> link_2")
    ('link_k -> link_k+1', 'query -> link_2')
    """
    if found := _STEP.fullmatch(relation):
        jump = int(found[2]) - int(found[1])
        return f"link_k -> link_k{jump:+d}"
    return _RIVALS.get(relation, relation)


class Roles(Direct):
    """`roles` at every checkpoint."""

    name: ClassVar[str] = "roles"
    version: ClassVar[int] = 3

    prompts: int = Field(default=512, ge=2)
    kind: str = "mean per position"

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        table = roles(model, task, prompts=self.prompts, seed=self.seed, kind=self.kind)
        return table.assign(metric="ablation effect", control="none")


@dataclass(frozen=True)
class _Scored:
    """A head's best role: the score, and the threshold it had to reach."""

    role: str
    score: Interval
    threshold: float

    @property
    def holds(self) -> bool:
        return self.score.value >= self.threshold


NO_ROLE = _Scored("", Interval(float("nan"), float("nan"), float("nan"), 0, "none"), float("nan"))


def roles(
    model: HookedModel, task: Task, *, prompts: int = 512, seed: int = 0, kind: str = "mean per position"
) -> pd.DataFrame:
    """The role of every head and whether the model needs it: one row a head.

    Columns: layer, head, role ("" where none), `score` of its best relation and the `threshold` for it, `effect` of its
    own ablation (value, ci_low, ci_high), `with_peers_ablated`: what its ablation adds once its peers are ablated,
    `verdict`, and the `partner` that it cancels or is redundant with ("" where by its role). `kind`: "zero", "mean" or
    "mean per position". Raises UserError for a model without heads, with signed attention (whose scores are no shares),
    or a task that names no relations.
    """
    refuse_unscorable(model, task)
    batch, cache = run_heads(model, task, prompts, seed)
    scored = _score(model, task, batch, cache)
    peers = _teams(scored)
    heads = list(scored)
    groups: list[list[HeadName]] = [[], heads, *([head] for head in heads)]
    groups += [group for team in peers.values() for group in (team, *(_without(team, head) for head in team))]

    def losses(some: Sequence[Sequence[HeadName]]) -> Float[Tensor, "prompt group"]:
        return group_losses(model, task, batch, some, kind, cache).mean(-1).double()

    empty = GroupEffects({}, frozenset(heads), 1 - 0.05 / len(heads))
    effects = empty.with_losses(groups, losses(groups))
    paired = partners(effects, heads, losses)
    return pd.DataFrame([_row(head, best, peers, effects, paired) for head, best in scored.items()])


def refuse_unscorable(model: HookedModel, task: Task) -> None:
    """Raises UserError where heads cannot have roles."""
    if not scorable(model.config, task):
        raise UserError(f"roles need heads and relations: model {model.config.kind!r}, task {task.kind!r}")
    if unit_of(model.config) != "attention":
        raise UserError("roles need softmax attention: signed scores have no level that counts as attending")


def _teams(scored: Mapping[HeadName, _Scored]) -> dict[str, list[HeadName]]:
    peers: dict[str, list[HeadName]] = {}
    for head, best in scored.items():
        if best.holds:
            peers.setdefault(best.role, []).append(head)
    return peers


def _without(team: list[HeadName], head: HeadName) -> list[HeadName]:
    return [other for other in team if other != head]


def run_heads(model: HookedModel, task: Task, prompts: int, seed: int) -> tuple[Batch, Any]:
    """Prompts of stream "roles" and the patterns and outputs of every head on them."""
    batch = task.sample(seed, "roles", 0, prompts)
    batch = batch.double() if model.config.dtype == "float64" else batch
    names = [
        f"blocks.{layer}.attn.hook_{part}"
        for layer in range(model.config.n_layers)
        for part in ("pattern", "z")
    ]
    with torch.no_grad():
        return batch, model.run_with_cache(batch.inputs, names_filter=names)[1]


def _score(model: HookedModel, task: Task, batch: Batch, cache: Any) -> dict[HeadName, _Scored]:
    """Every head's highest role, by how far it gets from uniform attention to all of it."""
    found: dict[HeadName, _Scored] = {}
    for (head, _), here in _score_all(model, task, batch, cache).items():
        before = found.get(head)
        if before is None or here.score.value - here.threshold > before.score.value - before.threshold:
            found[head] = here
    return {head: found.get(head, NO_ROLE) for head in all_heads(model)}


def roles_met(model: HookedModel, task: Task, batch: Batch, cache: Any) -> dict[str, list[HeadName]]:
    """Every role with the heads that score high enough on it, be it their highest or not: a head may do one
    thing in the query's row and another in the links'. `batch` and `cache` from `run_heads`.
    """
    found: dict[str, list[HeadName]] = {}
    for (head, role), here in _score_all(model, task, batch, cache).items():
        if here.holds:
            found.setdefault(role, []).append(head)
    return found


def _score_all(
    model: HookedModel, task: Task, batch: Batch, cache: Any
) -> dict[tuple[HeadName, str], _Scored]:
    """Every head's score on every role that can matter in its layer, and the threshold."""
    accumulator = HeadAccumulator(HeadScores().hooks(model), task, "attention")
    for rows in torch.arange(len(batch)).split(CHUNK):
        part = {hook: cache[hook][rows] for hook in accumulator.hooks}
        accumulator.add(0, batch.select(rows), torch.zeros(len(rows), 1, 1), part)
    level = uniform_scores(model, task).set_index("metric")["value"]
    merged: dict[str, list[str]] = {}
    for relation in accumulator.masses:
        merged.setdefault(role_of(relation), []).append(relation)
    known = reaching(model.config, task, task.relations(batch))
    found: dict[tuple[HeadName, str], _Scored] = {}
    for role, relations in merged.items():
        masses = torch.stack([torch.cat(accumulator.masses[name]) for name in relations]).nanmean(0)
        masses = masses[~masses[:, 0, 0].isnan()]  # prompts that have a pair of the relation
        if not len(masses):
            continue
        means = bootstrap(masses)
        uniform = float(level[relations].mean())
        threshold = uniform + HEAD_SHARE * (1 - uniform)
        for layer, head in all_heads(model):
            if any(known[name][layer] for name in relations):
                found[(layer, head), role] = _Scored(role, means[layer, head], threshold)
    return found


def _row(
    head: HeadName,
    best: _Scored,
    peers: Mapping[str, list[HeadName]],
    effects: GroupEffects,
    paired: Partners,
) -> dict[str, Any]:
    own = effects.of([head])
    team = peers.get(best.role, []) if best.holds else []
    last = effects.of(team, _without(team, head)) if len(team) > 1 else own
    if not best.holds:
        verdict = "other" if counts(own) else "none"
    else:
        verdict = "needed" if counts(own) else "redundant" if counts(last) else "idle"
    by_pair, partner = paired.get(head, ("", None))
    return {
        "layer": head[0], "head": head[1], "role": best.role if best.holds else "",
        "score": best.score.value, "threshold": best.threshold,
        "value": own.value, "ci_low": own.low, "ci_high": own.high, "n": own.n,
        "with_peers_ablated": last.value, "verdict": by_pair or verdict,
        "partner": "" if partner is None else "L{}H{}".format(*partner),
    }  # fmt: skip
