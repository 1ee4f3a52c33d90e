"""The edge graph of a transformer, and what its senders write.

Senders write to the residual stream: `embed`, each head, each MLP. Receivers read from it: each head's query,
key and value apart (one key and value for the heads that share them), each MLP, and `output`. Every sender of
an earlier layer has an edge to a receiver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from functools import cache

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.metrics import check_eval
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, slot_site
from tasks.errors import UserError

Edge = tuple[str, str]
SLOTS = ("q", "k", "v")


@cache
def label_of(component: str, layer: int, head: int | None = None) -> str:
    """A site's short name, without making the site anew."""
    return Site(component, layer, head).label


@cache
def site_of(label: str) -> Site:
    """The site of a short name, parsed once."""
    return Site.parse(label)


@cache
def owners(receiver: str) -> frozenset[str]:
    """The senders that a receiver belongs to: an MLP, a head, or the heads that share a key or value.

    >>> sorted(owners("L0H1.q")), sorted(owners("L2.mlp_pre")), sorted(owners("output"))
    (['L0H1'], ['L2.mlp_out'], ['output'])
    """
    site = site_of(receiver)
    if site.layer is None:
        return frozenset({receiver})
    if site.component == "mlp_pre":
        return frozenset({label_of("mlp_out", site.layer)})
    return frozenset(label_of("z", site.layer, head) for head in site.heads)


def connected(found: Collection[Edge]) -> set[Edge]:
    """The edges that lie on a way from `embed` to `output`."""
    kept = set(found)
    while True:
        fed = {"embed"}.union(*(owners(receiver) for _, receiver in kept))
        used = {"output"} | {sender for sender, _ in kept}
        alive = {(s, r) for s, r in kept if s in fed and (r == "output" or used & owners(r))}
        if alive == kept:
            return kept
        kept = alive


def senders(model: HookedModel) -> list[Site]:
    """Every sender, in the order in which they write."""
    ar.require_edges(model)
    found = [Site("embed")]
    for layer, block in enumerate(model.blocks):
        found += [Site("z", layer, head) for head in range(model.config.n_heads)]
        found += [] if block.mlp is None else [Site("mlp_out", layer)]
    return found


def receivers(model: HookedModel) -> list[Site]:
    """Every receiver, in the order in which they read."""
    found = []
    for layer, block in enumerate(model.blocks):
        found += [
            slot_site(model, slot, layer, head) for head in range(model.config.n_heads) for slot in SLOTS
        ]
        found += [] if block.mlp is None else [Site("mlp_pre", layer)]
    return [*dict.fromkeys(found), Site("output")]


def precedes(model: HookedModel, sender: Site, receiver: Site) -> bool:
    """Whether a sender writes before a receiver reads. In parallel blocks an MLP does not read its own heads."""
    if sender.component == "embed" or receiver.component == "output":
        return True
    assert sender.layer is not None
    assert receiver.layer is not None
    inside = receiver.component == "mlp_pre" and sender.component == "z" and not ar.parallel(model)
    return sender.layer < receiver.layer or (inside and sender.layer == receiver.layer)


def edges(model: HookedModel) -> list[Edge]:
    """Every edge as (sender label, receiver label)."""
    writers = senders(model)
    return [(s.label, r.label) for r in receivers(model) for s in writers if precedes(model, s, r)]


def check_edges(model: HookedModel, wanted: Iterable[Edge]) -> None:
    """Raises UserError for an edge that the model does not have."""
    missing = sorted(set(wanted) - set(edges(model)))
    if missing:
        raise UserError(f"the model has no edge {missing[0][0]} -> {missing[0][1]}")


@dataclasses.dataclass(frozen=True)
class Written:
    """What every sender writes on some prompts, and the stream that each layer reads (biases included)."""

    out: dict[str, Float[Tensor, "batch pos d_model"]]
    pre: list[Float[Tensor, "batch pos d_model"]]
    mid: list[Float[Tensor, "batch pos d_model"]]
    final: Float[Tensor, "batch pos d_model"]


def written(model: HookedModel, inputs: Num[Tensor, "batch pos *token"]) -> Written:
    """Run the model and keep what each sender writes. Raises UserError for a model whose edges are not known."""
    ar.require_edges(model)
    check_eval(model)
    ends = ("hook_resid_pre", "hook_attn_out", "hook_resid_post", "attn.hook_z", "hook_mlp_out")
    with torch.no_grad():
        cache = model.run_with_cache(
            inputs, names_filter=lambda n: n.endswith(ends), return_cache_object=False
        )[1]
    out = {"embed": cache["blocks.0.hook_resid_pre"]}
    pre, mid = [], []
    for layer, block in enumerate(model.blocks):
        stem = f"blocks.{layer}."
        heads = torch.einsum("bphk,hkd->hbpd", cache[stem + "attn.hook_z"], block.attn.W_O.detach())
        out |= {Site("z", layer, head).label: heads[head] for head in range(len(heads))}
        if block.mlp is not None:
            out[Site("mlp_out", layer).label] = cache[stem + "hook_mlp_out"]
        pre.append(cache[stem + "hook_resid_pre"])
        mid.append(pre[-1] if ar.parallel(model) else pre[-1] + cache[stem + "hook_attn_out"])
    return Written(out, pre, mid, cache[f"blocks.{len(pre) - 1}.hook_resid_post"])
