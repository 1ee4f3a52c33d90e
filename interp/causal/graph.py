"""The edge graph of a transformer, and runs in which some edges carry one prompt and the rest another.

Senders write to the residual stream: `embed`, each head, each MLP. Receivers read from it: each head's query,
key and value apart, each MLP, and `output`. Every sender of an earlier layer has an edge to a receiver. In a
run through a circuit each receiver reads, from every sender whose edge is in the circuit, what that sender
writes in this run, and from the others what they write on the other prompts. The full circuit is therefore
the clean run, the empty one the other run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.metrics import check_eval
from interp.causal.sites import Site
from tasks.errors import UserError

Edge = tuple[str, str]
SLOTS = ("q", "k", "v")


def senders(model: Any) -> list[Site]:
    """Every sender, in the order in which they write."""
    ar.require_transformer(model)
    found = [Site("embed")]
    for layer, block in enumerate(model.blocks):
        found += [Site("z", layer, head) for head in range(model.config.n_heads)]
        found += [] if block.mlp is None else [Site("mlp_out", layer)]
    return found


def receivers(model: Any) -> list[Site]:
    """Every receiver, in the order in which they read."""
    found = []
    for layer, block in enumerate(model.blocks):
        found += [Site(slot, layer, head) for head in range(model.config.n_heads) for slot in SLOTS]
        found += [] if block.mlp is None else [Site("mlp_pre", layer)]
    return [*found, Site("output")]


def precedes(sender: Site, receiver: Site) -> bool:
    """Whether a sender writes before a receiver reads."""
    if sender.component == "embed" or receiver.component == "output":
        return True
    assert sender.layer is not None
    assert receiver.layer is not None
    inside = receiver.component == "mlp_pre" and sender.component == "z"
    return sender.layer < receiver.layer or (inside and sender.layer == receiver.layer)


def edges(model: Any) -> list[Edge]:
    """Every edge as (sender label, receiver label)."""
    writers = senders(model)
    return [(s.label, r.label) for r in receivers(model) for s in writers if precedes(s, r)]


def check_edges(model: Any, wanted: Iterable[Edge]) -> None:
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


def written(model: Any, inputs: Num[Tensor, "batch pos *token"]) -> Written:
    """Run the model and keep what each sender writes."""
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
        mid.append(pre[-1] + cache[stem + "hook_attn_out"])
    return Written(out, pre, mid, cache[f"blocks.{len(pre) - 1}.hook_resid_post"])


class EdgeRuns:
    """Runs of one batch of prompts through circuits, everything outside them carrying the `other` prompts."""

    def __init__(
        self, model: Any, inputs: Num[Tensor, "batch pos *token"], other: Num[Tensor, "batch pos *token"]
    ):
        if inputs.shape != other.shape:
            raise UserError(
                f"prompts {list(inputs.shape)} and the others {list(other.shape)} differ in shape"
            )
        self.model = model
        self.clean, self.other = written(model, inputs), written(model, other)
        self.mask = ar.Mask.of(model.config, inputs.shape[1], self.clean.final)
        self.known = set(edges(model))

    @torch.no_grad()
    def outputs(self, circuit: Collection[Edge]) -> Float[Tensor, "batch pos d_out"]:
        """Outputs of the run through a circuit. Raises UserError for an edge that the model does not have."""
        if not self.known.issuperset(circuit):
            check_edges(self.model, circuit)
        into: dict[str, list[str]] = {}
        for sender, receiver in circuit:
            into.setdefault(receiver, []).append(sender)
        moved = {"embed": self.clean.out["embed"] - self.other.out["embed"]}
        for layer, block in enumerate(self.model.blocks):
            self._heads(layer, block, into, moved)
            if block.mlp is not None:
                self._mlp(layer, block, into, moved)
        return ar.unembed(self.model, self._read(self.other.final, "output", into, moved))

    def _read(
        self, base: Tensor, receiver: str, into: dict[str, list[str]], moved: dict[str, Tensor]
    ) -> Tensor:
        """A receiver's input: the other prompts' stream, plus the change of every sender in the circuit."""
        changes = [moved[s] for s in into.get(receiver, ()) if s in moved]
        return (
            base if not changes else base + (changes[0] if len(changes) == 1 else torch.stack(changes).sum(0))
        )

    def _heads(self, layer: int, block: Any, into: dict[str, list[str]], moved: dict[str, Tensor]) -> None:
        attn, base = block.attn, self.other.pre[layer]
        live = [h for h in range(attn.heads) if any(into.get(f"L{layer}H{h}.{s}") for s in SLOTS)]
        for head in live:
            slots = []
            for slot in SLOTS:
                x = self._read(base, f"L{layer}H{head}.{slot}", into, moved)
                weight, bias = (
                    getattr(attn, f"W_{slot.upper()}")[head],
                    getattr(attn, f"b_{slot.upper()}")[head],
                )
                slots.append(ar.norm(block.ln1, x) @ weight + bias)
            scores = slots[0] @ slots[1].transpose(-1, -2) / ar.score_scale(self.model.config)
            pattern = self.mask.pattern(scores, slice(None))
            label = f"L{layer}H{head}"
            moved[label] = pattern @ slots[2] @ attn.W_O[head] - self.other.out[label]

    def _mlp(self, layer: int, block: Any, into: dict[str, list[str]], moved: dict[str, Tensor]) -> None:
        receiver, label = Site("mlp_pre", layer).label, Site("mlp_out", layer).label
        if into.get(receiver):
            x = self._read(self.other.mid[layer], receiver, into, moved)
            moved[label] = ar.mlp(block, x) - x - self.other.out[label]
