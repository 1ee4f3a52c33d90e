"""Path patching: what a set of senders tells a set of receivers directly, past everything in between.

The base run goes on as it is, but each receiver reads, besides what reaches it, the change of the senders
that precede it (their direct edges, through no head and no MLP in between). Queries, keys and values are
receivers apart ("L1H2.k"); a bare head ("L1H2") stands for its three. Effects are normalised as in
`patching`. Sources: Goldowsky-Dill et al. (arXiv 2304.05969); Wang et al. (arXiv 2211.00593).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import SLOTS, Edge, precedes, receivers, senders
from interp.causal.interventions import cache_of
from interp.causal.metrics import Metric, check_eval, check_pair, metric_of, normalised
from interp.causal.suffix import SuffixEngine
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, slot_site
from probes.stats import DRAWS
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords


def expand_receivers(model: HookedModel, names: Sequence[str]) -> list[Site]:
    """Receivers by name; a head stands for its query, key and value. Raises UserError for what receives
    nothing.
    """
    known = set(receivers(model))
    found: list[Site] = []
    for name in names:
        site = Site.parse(name)
        forked = _slots(model, site) if site.component == "z" else [site]
        if not known.issuperset(forked):
            raise UserError(
                f"{name!r} is no receiver of this model: use a head, its .q, .k or .v, an MLP's .mlp_pre or output"
            )
        found += forked
    return list(dict.fromkeys(found))


@keywords
def patch_paths(
    model: HookedModel,
    task: Task,
    pair: Pair,
    paths: Sequence[tuple[Sequence[str], Sequence[str]]],
    *,
    direction: str = "denoise",
    metric: str | Metric = "loss",
    output: str | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Effect of each path, a pair (senders, receivers) of names, with its interval over prompts.

    Raises UserError for names that are no sender or receiver, and for a path on which no sender precedes a
    receiver.
    """
    check_pair(pair)
    check_eval(model)
    if direction not in ("denoise", "noise"):
        raise UserError(f"unknown direction {direction!r}: use 'denoise' or 'noise'")
    measure = metric if isinstance(metric, Metric) else _metric(model, task, pair, metric, output)
    base, source = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
    change = sender_changes(model, base.inputs, source.inputs, [s for path in paths for s in path[0]])
    with torch.no_grad():
        engine = SuffixEngine(model, base.inputs, measure)
        runs = [_run(engine, change, *path) for path in paths]
        references = [measure(model(batch.inputs)) for batch in (pair.clean, pair.corrupt)]
    found = normalised(torch.stack(runs, 1), references[0], references[1], draws)
    names = [{"sender": "+".join(s), "receiver": "+".join(r)} for s, r in paths]
    return pd.DataFrame(names).assign(
        metric=measure.name,
        target=measure.target,
        value=found.value.numpy(),
        unit="normalised effect",
        ci_low=found.low.numpy(),
        ci_high=found.high.numpy(),
        n=found.n,
        direction=direction,
    )


def _metric(model: HookedModel, task: Task, pair: Pair, name: str, output: str | None) -> Metric:
    with torch.no_grad():
        return metric_of(task, pair, name, output=output, clean_outputs=model(pair.clean.inputs))


def all_paths(model: HookedModel, pairs: Sequence[Edge] | None = None) -> list[tuple[list[str], list[str]]]:
    """Every single edge as a path, or those given."""
    if pairs is not None:
        return [([s], [r]) for s, r in pairs]
    writers = senders(model)
    return [([s.label], [r.label]) for r in receivers(model) for s in writers if precedes(model, s, r)]


def path_hooks(
    model: HookedModel, change: Mapping[str, Tensor], receivers: Sequence[str]
) -> list[tuple[str, Any]]:
    """Forward hooks by which receivers read, on top of what reaches them in a run, the changes of what senders write.

    `change` is [batch, pos, d_model] for each sender by its label. A sender that does not precede a receiver does not
    reach it. Raises UserError for names that are no sender or receiver, and where no sender precedes a receiver.
    """
    known = {site.label: site for site in senders(model)}
    _require_senders(change, known)
    hooks: list[tuple[str, Any]] = []
    for receiver in expand_receivers(model, receivers):
        before = [s for s in change if precedes(model, known[s], receiver)]
        if before:
            hooks += _shift(model, receiver, torch.stack([change[s] for s in before]).sum(0))
    if not hooks:
        raise UserError(f"no sender of {'+'.join(change)} comes before a receiver of {'+'.join(receivers)}")
    return hooks


def _require_senders(names: Iterable[str], known: Container[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{name!r} is no sender of this model: use embed, a head, or an MLP's .mlp_out")


def sender_changes(
    model: HookedModel, here: Tensor, there: Tensor, names: Iterable[str]
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """What each of some senders writes on the prompts `there` less what it writes on `here`, by its label.

    Raises UserError for a name that is no sender.
    """
    known = {site.label: site for site in senders(model)}
    check_eval(model)
    labels = [Site.parse(name).label for name in names]
    _require_senders(labels, known)
    sites = [known[label] for label in dict.fromkeys(labels)]
    first, second = (cache_of(model, inputs, sites) for inputs in (here, there))
    found = {}
    for site in sites:
        moved = site.read(second[hook := site.hook(model.config.n_layers)]) - site.read(first[hook])
        found[site.label] = moved if site.head is None else moved @ _out(model, site)
    return found


def _out(model: HookedModel, head: Site) -> Float[Tensor, "k d_model"]:
    assert head.layer is not None
    return model.blocks[head.layer].attn.W_O[head.head].detach()


def _run(
    engine: SuffixEngine, changes: Mapping[str, Tensor], sends: Sequence[str], receivers: Sequence[str]
) -> Float[Tensor, "batch"]:
    change = {label: changes[label] for label in (Site.parse(name).label for name in sends)}
    first = min(engine.layer(site) for site in expand_receivers(engine.model, receivers))
    return engine.hooked(path_hooks(engine.model, change, receivers), first)


def _shift(
    model: HookedModel, receiver: Site, change: Float[Tensor, "batch pos d_model"]
) -> list[tuple[str, Any]]:
    """Hooks that add a change to what one receiver alone reads, on top of what reaches it in this run."""
    hook_name = receiver.hook(model.config.n_layers)
    if receiver.component == "output":
        return [(hook_name, lambda stream, hook: stream + change)]
    block = model.blocks[receiver.layer]
    held: dict[str, Tensor] = {}

    def hold(stream: Tensor, hook: Any) -> None:
        held["stream"] = stream

    def neurons(pre: Tensor, hook: Any) -> Tensor:
        return ar.mlp_entry(model, receiver.layer or 0, held["stream"] + change)[1]

    def project(values: Tensor, hook: Any) -> Tensor:
        changed = values.clone()
        read = ar.head_inputs(block, receiver.component, receiver.head or 0, held["stream"] + change)
        changed[:, :, receiver.head] = read
        return changed

    inside = receiver.component == "mlp_pre"
    before = (
        ar.mlp_stream(model, receiver.layer or 0) if inside else f"blocks.{receiver.layer}.hook_resid_pre"
    )
    if inside:
        place, _ = ar.mlp_entry(model, receiver.layer or 0, change)
        return [(before, hold), (place.hook(model.config.n_layers), neurons)]
    return [(before, hold), (hook_name, project)]


def _slots(model: HookedModel, head: Site) -> list[Site]:
    assert head.layer is not None
    assert head.head is not None
    return [slot_site(model, slot, head.layer, head.head) for slot in SLOTS]
