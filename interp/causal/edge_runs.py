"""Runs of a model in which some edges carry one prompt and the rest another.

In a run through a circuit each receiver reads, from every sender whose edge is in the circuit, what that sender
writes in this run, and from the others what they write on the other prompts. The full circuit is therefore
the clean run, the empty one the other run. Searches run circuits that differ in an edge or two, so what a sender
writes is kept over the last runs and computed anew only where the sub-circuit before it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import SLOTS, Edge, check_edges, edges, label_of, written
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, slot_site
from tasks.errors import UserError

REMEMBERED = 3  # what each sender wrote in the last different runs
MEMORY = 1 << 28  # bytes that may hold it
Senders = tuple[str, ...]
Into = dict[str, Senders]  # by receiver


class EdgeRuns:
    """Runs of one batch of prompts through circuits, everything outside them carrying the `other` prompts."""

    def __init__(
        self,
        model: HookedModel,
        inputs: Num[Tensor, "batch pos *token"],
        other: Num[Tensor, "batch pos *token"],
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
        self.order = edges(model)
        self.known = set(self.order)
        size = self.clean.final.numel() * self.clean.final.element_size() * len(self.clean.out)
        self.remembered = min(REMEMBERED, MEMORY // size)
        self._memory: dict[str, dict[int, Tensor]] = {}
        self._normed: tuple[int, dict[Senders, Tensor]] = (-1, {})
        self._slots: dict[tuple[str, int, int], Site] = {}
        self.seconds = 0.0
        self._numbers: dict[tuple[Any, ...], int] = {}

    def into(self, circuit: Collection[Edge]) -> Into:
        """The senders that each receiver reads from in a circuit. Raises UserError for an edge that there is not."""
        if not self.known.issuperset(circuit):
            check_edges(self.model, circuit)
        wanted = set(circuit)
        found: dict[str, list[str]] = {}
        for sender, receiver in (edge for edge in self.order if edge in wanted):
            found.setdefault(receiver, []).append(sender)
        return {receiver: tuple(read) for receiver, read in found.items()}

    @torch.no_grad()
    def outputs(self, circuit: Collection[Edge]) -> Float[Tensor, "batch pos d_out"]:
        """Outputs of the run through a circuit. Raises UserError for an edge that the model does not have."""
        into = self.into(circuit)
        self._normed = (-1, {})
        moved = {"embed": self.clean.out["embed"] - self.other.out["embed"]}
        if self.mask is None:
            return _Hooked(self, into, moved).outputs()
        names = {"embed": 0}
        for layer, block in enumerate(self.model.blocks):
            for head in self.live_heads(layer, block.attn.heads, into):
                label = label_of("z", layer, head)
                names[label] = self._name(
                    label, [self.slot(s, layer, head).label for s in SLOTS], into, names
                )
                moved[label] = self._kept(label, names, partial(self._head, layer, block, head, into, moved))
            receiver, label = label_of("mlp_pre", layer), label_of("mlp_out", layer)
            if block.mlp is not None and into.get(receiver):
                names[label] = self._name(label, [receiver], into, names)
                moved[label] = self._kept(label, names, partial(self._mlp, layer, block, into, moved))
        return ar.unembed(self.model, self.read(self.other.final, "output", into, moved))

    def _name(self, label: str, receivers: Iterable[str], into: Into, names: dict[str, int]) -> int:
        """A number for the sub-circuit that leads to a sender: the same sub-circuit, the same number."""
        read = tuple(tuple((s, names.get(s)) for s in into.get(r, ())) for r in receivers)
        return self._numbers.setdefault((label, read), 1 + len(self._numbers))

    def _kept(self, label: str, names: dict[str, int], compute: Callable[[], Tensor]) -> Tensor:
        """A sender's change, from one of the last runs if the same sub-circuit led to it there."""
        kept, number = self._memory.setdefault(label, {}), names[label]
        value = kept.pop(number, None)
        value = compute() if value is None else value
        kept[number] = value  # the newest stands last
        if len(kept) > self.remembered:
            del kept[next(iter(kept))]
        return value

    def read(self, base: Tensor, receiver: str, into: Into, moved: dict[str, Tensor]) -> Tensor:
        """A receiver's input: the other prompts' stream, plus the change of every sender in the circuit."""
        changes = [moved[s] for s in into.get(receiver, ()) if s in moved]
        if not changes:
            return base
        stream = base + changes[0]
        for change in changes[1:]:
            stream += change
        return stream

    def _head(
        self, layer: int, block: Any, head: int, into: Into, moved: dict[str, Tensor]
    ) -> Float[Tensor, "batch pos d_model"]:
        assert self.mask is not None
        slots = [self.head_slot(layer, block, head, slot, into, moved) for slot in SLOTS]
        scores = slots[0] @ slots[1].transpose(-1, -2)
        if block.attn.W_rel is not None:
            scores = scores + block.attn.relative(slots[0][:, None], scores.shape[-1], heads=[head])[:, 0]
        scores = scores / ar.score_scale(self.model.config)
        pattern = self.mask.pattern(scores, slice(None))
        return pattern @ slots[2] @ block.attn.W_O[head] - self.other.out[f"L{layer}H{head}"]

    def head_slot(
        self,
        layer: int,
        block: Any,
        head: int,
        slot: str,
        into: Into,
        moved: dict[str, Tensor],
    ) -> Float[Tensor, "batch pos k"]:
        """A head's query, key or value in the run through the circuit; slots that read the same senders share a
        stream, which is summed and normalised once.
        """
        site = self.slot(slot, layer, head)
        if self._normed[0] != layer:
            self._normed = (layer, {})
        normed, senders = self._normed[1], into.get(site.label, ())
        if senders not in normed:
            normed[senders] = ar.norm(block.ln1, self.read(self.other.pre[layer], site.label, into, moved))
        return ar.head_projects(block, slot, site.head or 0, normed[senders])

    def slot(self, slot: str, layer: int, head: int) -> Site:
        """The query, key or value of a head."""
        key = (slot, layer, head)
        if key not in self._slots:
            self._slots[key] = slot_site(self.model, slot, layer, head)
        return self._slots[key]

    def live_heads(self, layer: int, heads: int, into: Into) -> list[int]:
        """Heads of a layer that some edge of the circuit leads to."""
        return [h for h in range(heads) if any(into.get(self.slot(s, layer, h).label) for s in SLOTS)]

    def _mlp(
        self, layer: int, block: Any, into: Into, moved: dict[str, Tensor]
    ) -> Float[Tensor, "batch pos d_model"]:
        x = self.read(self.other.mid[layer], label_of("mlp_pre", layer), into, moved)
        return ar.mlp(block, x) - x - self.other.out[label_of("mlp_out", layer)]


class _Hooked:
    """A run through a circuit by the model's own forward pass, for models whose arithmetic is not ours.

    It runs on the other prompts. Every head of the circuit is given its queries, keys and values (whatever stream the
    pass itself carries), and what the head makes of them is read at `hook_z`; MLPs likewise, and the output last. Heads
    outside the circuit may see a stream that the circuit has changed: nothing of theirs is read.
    """

    def __init__(self, runs: EdgeRuns, into: Into, moved: dict[str, Tensor]):
        self.runs, self.into, self.moved = runs, into, moved

    def outputs(self) -> Float[Tensor, "batch pos d_out"]:
        model = self.runs.model
        hooks: list[tuple[str, Any]] = []
        for layer, block in enumerate(model.blocks):
            hooks += self._heads(layer, block)
            if self.into.get(label_of("mlp_pre", layer)):
                hooks += self._mlp(layer, block)
        last = Site("output").hook(len(model.blocks))
        hooks.append((last, lambda stream, hook: self._final()))
        return model.run_with_hooks(self.runs.inputs, fwd_hooks=hooks)

    def _final(self) -> Float[Tensor, "batch pos d_model"]:
        return self.runs.read(self.runs.other.final, "output", self.into, self.moved).clone()

    def _heads(self, layer: int, block: Any) -> list[tuple[str, Any]]:
        live = self.runs.live_heads(layer, block.attn.heads, self.into)
        if not live:
            return []
        stem = f"blocks.{layer}.attn.hook_"

        def write(slot: str) -> Any:
            def hook(value: Tensor, hook: Any) -> Tensor:
                value = value.clone()
                for place, head in {self.runs.slot(slot, layer, h).head: h for h in live}.items():
                    value[:, :, place] = self.runs.head_slot(layer, block, head, slot, self.into, self.moved)
                return value

            return hook

        def read(z: Tensor, hook: Any) -> None:
            for head in live:
                label = f"L{layer}H{head}"
                self.moved[label] = z[:, :, head] @ block.attn.W_O[head] - self.runs.other.out[label]

        return [*((stem + slot, write(slot)) for slot in SLOTS), (stem + "z", read)]

    def _mlp(self, layer: int, block: Any) -> list[tuple[str, Any]]:
        receiver, label = label_of("mlp_pre", layer), label_of("mlp_out", layer)

        def write(pre: Tensor, hook: Any) -> Tensor:
            x = self.runs.read(self.runs.other.mid[layer], receiver, self.into, self.moved)
            return ar.mlp_entry(self.runs.model, layer, x)[1]

        def read(out: Tensor, hook: Any) -> None:
            self.moved[label] = out - self.runs.other.out[label]

        place, _ = ar.mlp_entry(self.runs.model, layer, self.runs.other.mid[layer])
        return [(place.hook(None), write), (f"blocks.{layer}.hook_mlp_out", read)]
