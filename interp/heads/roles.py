"""Roles of heads, by what they attend to and by their ablation effects.

A head *has* a role when it scores at least half-way from uniform attention to all of it on the role's relation. Its
*ablation effect* is (loss without it - loss) / (loss without any head - loss), on the mean loss over output positions;
0: nothing changes, 1: as bad as no attention at all, no bound above. A head with a role is "needed" when its own
ablation has an effect; "redundant" when it has none by itself but has one once every other head of its role is ablated;
"idle" when neither. Heads without a role are "other" when their ablation has an effect, else "none". An effect is
significant when it is at least `LEAST` and its simultaneous 95% interval over prompts, for all heads together, lies
above 0. Mean ablation (per position, over prompts) keeps a head's mean output and removes its dependence on the prompt.
Ablating also changes later heads' attention; nothing here separates direct from indirect effects. A head has no role
for rows that cannot affect an output (`interp.causal.reach`): in the last layer those that are not output positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import CHUNK, Accumulator, Analysis, Direct
from interp.causal.interventions import ablation_values, intervene
from interp.causal.reach import reaching
from interp.heads.heads import HEAD_SHARE, HeadAccumulator, HeadScores, scorable, uniform_scores, unit_of
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from probes.stats import Interval, bootstrap, ratio
from tasks import Batch, Task, UserError

LEAST = 0.05
HeadName = tuple[int, int]
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


def ablated(
    model: HookedModel, inputs: Tensor, heads: Iterable[HeadName], kind: str, cache: Any,
    positions: Sequence[int | None] = (None,),
) -> Float[Tensor, "batch pos d_out"]:  # fmt: skip
    """Outputs with the outputs of some heads ablated all at once, at all `positions` (None) or at some;
    `cache` holds hook_z of the intact run.
    """
    values = []
    for layer, head in heads:
        whole = Site("z", layer, head)
        ablation = ablation_values(kind, whole, cache[whole.hook(model.config.n_layers)])
        sites = [Site("z", layer, head, position) for position in positions]
        values += [(site, site.read(ablation)) for site in sites]
    with torch.no_grad():
        return intervene(model, inputs, values)[0] if values else model(inputs)


class Ablations(Analysis):
    """Effect of ablating each head alone on every output position, at every checkpoint (metric "ablation effect")."""

    name: ClassVar[str] = "ablation"
    runs_model: ClassVar[bool] = True
    chunks: int = 2
    kind: str = "mean per position"

    def hooks(self, model: HookedModel) -> list[str]:
        HeadScores().hooks(model)
        return [f"blocks.{layer}.attn.hook_z" for layer in range(model.config.n_layers)]

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> Accumulator:
        return AblationAccumulator(model, task, self.kind)


class AblationAccumulator:
    """Losses of the intact model, without each head, and without any."""

    def __init__(self, model: HookedModel, task: Task, kind: str):
        self.model, self.task, self.kind = model, task, kind
        self.heads = all_heads(model)
        self.losses: list[Float[Tensor, "batch variant output"]] = []

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        groups = [[], *([head] for head in self.heads), self.heads]
        self.losses.append(group_losses(self.model, self.task, batch, groups, self.kind, cache))

    def table(self) -> pd.DataFrame:
        losses = torch.cat(self.losses).double()
        intact, none = losses[:, :1], losses[:, -1:]
        found = bootstrap(
            torch.cat([losses[:, 1:-1] - intact, none - intact], 1), lambda mean: mean[:, :-1] / mean[:, -1:]
        )
        rows = [
            {"layer": layer, "head": head, "position": read, **found[i, r].row()}
            for i, (layer, head) in enumerate(self.heads)
            for r, read in enumerate(self.task.output_names)
        ]
        return pd.DataFrame(rows).assign(
            metric="ablation effect", control="none", unit="share of all heads' effect"
        )


class Roles(Direct):
    """`roles` at every checkpoint."""

    name: ClassVar[str] = "roles"
    version: ClassVar[int] = 2

    prompts: int = Field(default=512, ge=2)
    kind: str = "mean per position"

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        table = roles(model, task, prompts=self.prompts, seed=self.seed, kind=self.kind)
        return table.assign(metric="ablation effect", control="none")


def all_heads(model: HookedModel) -> list[HeadName]:
    """Every (layer, head)."""
    return [(layer, head) for layer in range(model.config.n_layers) for head in range(model.config.n_heads)]


def group_losses(
    model: HookedModel, task: Task, batch: Batch, groups: Sequence[Iterable[HeadName]], kind: str, cache: Any
) -> Float[Tensor, "batch group output"]:
    """Loss at every output position with each group of heads ablated."""
    outputs = [ablated(model, batch.inputs, group, kind, cache) for group in groups]
    return torch.stack([task.loss(out, batch) for out in outputs], dim=1)


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

    Columns: layer, head, role ("" where none), `score` of its best relation and the `threshold` for it,
    `effect` of its own ablation (value, ci_low, ci_high), `with_peers_ablated`: what its ablation adds once its
    peers are ablated, and `verdict`. `kind`: "zero", "mean" or "mean per position". Raises UserError for a
    model without heads, with signed attention (whose scores are no shares), or a task that names no
    relations.
    """
    refuse_unscorable(model, task)
    batch, cache = run_heads(model, task, prompts, seed)
    scored = _score(model, task, batch, cache)
    peers = _teams(scored)
    heads = list(scored)
    groups: list[list[HeadName]] = [[], heads, *([head] for head in heads)]
    groups += [group for team in peers.values() for group in (team, *(_without(team, head) for head in team))]
    losses = group_losses(model, task, batch, groups, kind, cache).mean(-1).double()
    level = 1 - 0.05 / len(heads)
    loss_of = {frozenset(group): losses[:, i] for i, group in enumerate(groups)}
    effects = _Effects(loss_of, frozenset(heads), level)
    return pd.DataFrame([_row(head, best, peers, effects) for head, best in scored.items()])


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


@dataclass(frozen=True)
class _Effects:
    """Effects of ablating groups, from the losses of each."""

    losses: Mapping[frozenset, Float[Tensor, " prompt"]]
    everything: frozenset
    level: float

    def of(self, group: Iterable[HeadName], beyond: Iterable[HeadName] = ()) -> Interval:
        """Ablation effect of `group` in addition to `beyond`, as a share of ablating everything."""
        intact = self.losses[frozenset()]
        gap = self.losses[frozenset(group)] - self.losses[frozenset(beyond)]
        return ratio(gap, self.losses[self.everything] - intact, level=self.level).one()


def counts(effect: Interval) -> bool:
    """Whether an ablation effect is significant: at least `LEAST`, and its lower confidence limit above 0."""
    return effect.value >= LEAST and effect.low > 0


def _row(
    head: HeadName, best: _Scored, peers: Mapping[str, list[HeadName]], effects: _Effects
) -> dict[str, Any]:
    own = effects.of([head])
    team = peers.get(best.role, []) if best.holds else []
    last = effects.of(team, _without(team, head)) if len(team) > 1 else own
    if not best.holds:
        verdict = "other" if counts(own) else "none"
    else:
        verdict = "needed" if counts(own) else "redundant" if counts(last) else "idle"
    return {
        "layer": head[0], "head": head[1], "role": best.role if best.holds else "",
        "score": best.score.value, "threshold": best.threshold,
        "value": own.value, "ci_low": own.low, "ci_high": own.high, "n": own.n,
        "with_peers_ablated": last.value, "verdict": verdict,
    }  # fmt: skip
