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
    ar.require_edges(model)
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


def precedes(model: Any, sender: Site, receiver: Site) -> bool:
    """Whether a sender writes before a receiver reads. In parallel blocks an MLP does not read its own heads."""
    if sender.component == "embed" or receiver.component == "output":
        return True
    assert sender.layer is not None
    assert receiver.layer is not None
    inside = receiver.component == "mlp_pre" and sender.component == "z" and not ar.parallel(model)
    return sender.layer < receiver.layer or (inside and sender.layer == receiver.layer)


def edges(model: Any) -> list[Edge]:
    """Every edge as (sender label, receiver label)."""
    writers = senders(model)
    return [(s.label, r.label) for r in receivers(model) for s in writers if precedes(model, s, r)]


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
        mid.append(pre[-1] if ar.parallel(model) else pre[-1] + cache[stem + "hook_attn_out"])
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
        self.inputs = other
        own = ar.is_transformer(model)
        self.mask = ar.Mask.of(model.config, inputs.shape[1], self.clean.final) if own else None
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
        if self.mask is None:
            return _Hooked(self, into, moved).outputs()
        for layer, block in enumerate(self.model.blocks):
            self._heads(layer, block, into, moved)
            if block.mlp is not None:
                self._mlp(layer, block, into, moved)
        return ar.unembed(self.model, self.read(self.other.final, "output", into, moved))

    def read(
        self, base: Tensor, receiver: str, into: dict[str, list[str]], moved: dict[str, Tensor]
    ) -> Tensor:
        """A receiver's input: the other prompts' stream, plus the change of every sender in the circuit."""
        changes = [moved[s] for s in into.get(receiver, ()) if s in moved]
        return (
            base if not changes else base + (changes[0] if len(changes) == 1 else torch.stack(changes).sum(0))
        )

    def _heads(self, layer: int, block: Any, into: dict[str, list[str]], moved: dict[str, Tensor]) -> None:
        assert self.mask is not None
        attn = block.attn
        for head in live_heads(layer, attn.heads, into):
            slots = [self.head_slot(layer, block, head, slot, into, moved) for slot in SLOTS]
            scores = slots[0] @ slots[1].transpose(-1, -2) / ar.score_scale(self.model.config)
            pattern = self.mask.pattern(scores, slice(None))
            label = f"L{layer}H{head}"
            moved[label] = pattern @ slots[2] @ attn.W_O[head] - self.other.out[label]

    def head_slot(
        self,
        layer: int,
        block: Any,
        head: int,
        slot: str,
        into: dict[str, list[str]],
        moved: dict[str, Tensor],
    ) -> Float[Tensor, "batch pos k"]:
        """A head's query, key or value in the run through the circuit."""
        x = self.read(self.other.pre[layer], f"L{layer}H{head}.{slot}", into, moved)
        return ar.head_reads(block, slot, head, x)

    def _mlp(self, layer: int, block: Any, into: dict[str, list[str]], moved: dict[str, Tensor]) -> None:
        receiver, label = Site("mlp_pre", layer).label, Site("mlp_out", layer).label
        if into.get(receiver):
            x = self.read(self.other.mid[layer], receiver, into, moved)
            moved[label] = ar.mlp(block, x) - x - self.other.out[label]


def live_heads(layer: int, heads: int, into: dict[str, list[str]]) -> list[int]:
    """Heads of a layer that some edge of the circuit leads to."""
    return [h for h in range(heads) if any(into.get(f"L{layer}H{h}.{s}") for s in SLOTS)]


class _Hooked:
    """A run through a circuit by the model's own forward pass, for models whose arithmetic is not ours.

    It runs on the other prompts. Every head of the circuit is given its queries, keys and values (whatever stream the
    pass itself carries), and what the head makes of them is read at `hook_z`; MLPs likewise, and the output last. Heads
    outside the circuit may see a stream that the circuit has changed: nothing of theirs is read.
    """

    def __init__(self, runs: EdgeRuns, into: dict[str, list[str]], moved: dict[str, Tensor]):
        self.runs, self.into, self.moved = runs, into, moved

    def outputs(self) -> Float[Tensor, "batch pos d_out"]:
        model = self.runs.model
        hooks: list[tuple[str, Any]] = []
        for layer, block in enumerate(model.blocks):
            hooks += self._heads(layer, block)
            if self.into.get(Site("mlp_pre", layer).label):
                hooks += self._mlp(layer, block)
        last = Site("output").hook(len(model.blocks))
        hooks.append((last, lambda stream, hook: self._final()))
        return model.run_with_hooks(self.runs.inputs, fwd_hooks=hooks)

    def _final(self) -> Float[Tensor, "batch pos d_model"]:
        return self.runs.read(self.runs.other.final, "output", self.into, self.moved).clone()

    def _heads(self, layer: int, block: Any) -> list[tuple[str, Any]]:
        live = live_heads(layer, block.attn.heads, self.into)
        if not live:
            return []
        stem = f"blocks.{layer}.attn.hook_"

        def write(slot: str) -> Any:
            def hook(value: Tensor, hook: Any) -> Tensor:
                value = value.clone()
                for head in live:
                    value[:, :, head] = self.runs.head_slot(layer, block, head, slot, self.into, self.moved)
                return value

            return hook

        def read(z: Tensor, hook: Any) -> None:
            for head in live:
                label = f"L{layer}H{head}"
                self.moved[label] = z[:, :, head] @ block.attn.W_O[head] - self.runs.other.out[label]

        return [*((stem + slot, write(slot)) for slot in SLOTS), (stem + "z", read)]

    def _mlp(self, layer: int, block: Any) -> list[tuple[str, Any]]:
        receiver, label = Site("mlp_pre", layer).label, Site("mlp_out", layer).label

        def write(pre: Tensor, hook: Any) -> Tensor:
            x = self.runs.read(self.runs.other.mid[layer], receiver, self.into, self.moved)
            return ar.mlp_reads(block, x)

        def read(out: Tensor, hook: Any) -> None:
            self.moved[label] = out - self.runs.other.out[label]

        return [(f"blocks.{layer}.mlp.hook_pre", write), (f"blocks.{layer}.hook_mlp_out", read)]
