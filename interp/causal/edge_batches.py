"""A circuit less one edge at a time, many edges at once: what each edge is worth where all the others stay.

The run through the circuit is held: the stream of every receiver (one for all that read the same senders), every head's
queries, keys and values, and what every sender writes. Taking an edge away changes one receiver's stream; only what
reads its sender's change in this circuit is run again, with the edges of one receiver stacked. Outputs are those of
`EdgeRuns.outputs` on the circuit without the edge, at the positions that are read. Models whose arithmetic is not ours
go through `EdgeRuns`, an edge at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.edge_runs import MEMORY, EdgeRuns, Senders
from interp.causal.graph import SLOTS, Edge, label_of, site_of

STACK = 8192  # tokens run at once
Changed = dict[str, Float[Tensor, "edge batch row d_model"]]


class Removals:
    """The run of some prompts through `circuit`, from which single edges can be taken away.

    `output_positions`: the positions, increasing, whose outputs count; `outputs` those of the circuit itself there.
    """

    def __init__(self, runs: EdgeRuns, circuit: Collection[Edge], output_positions: Sequence[int]):
        self.runs, self.circuit, self.output_positions = runs, frozenset(circuit), list(output_positions)
        self.model, self.into = runs.model, runs.into(circuit)
        self.last, self.whole = len(self.model.blocks) - 1, self.circuit == runs.known
        self.moved: dict[str, Tensor] = {"embed": runs.clean.out["embed"] - runs.other.out["embed"]}
        self.streams: dict[tuple[str, int, Senders], Tensor] = {}
        self.slots: dict[str, Tensor] = {}
        with torch.no_grad():
            if runs.mask is None:
                self.outputs = runs.outputs(circuit)[:, self.output_positions]
                return
            for layer, block in enumerate(self.model.blocks):
                self._hold(layer, block)
            self.outputs = ar.unembed(self.model, self.stream("final", 0, "output"))

    def _hold(self, layer: int, block: Any) -> None:
        """Run one block through the circuit and keep what later runs start from."""
        for head in self.runs.live_heads(layer, block.attn.heads, self.into):
            label = label_of("z", layer, head)
            for slot in SLOTS:
                receiver = f"{label}.{slot}"
                x = self.stream("pre", layer, receiver)
                self.slots[receiver] = self._rows_of(slot, layer, ar.head_inputs(block, slot, head, x))
            written = self._attend(layer, [head], {})[label][0]
            self.moved[label] = written - self._other(layer, label)
        read, write = label_of("mlp_pre", layer), label_of("mlp_out", layer)
        if block.mlp is not None and self.into.get(read):
            x = self.stream("mid", layer, read)
            self.moved[write] = ar.mlp(block, x) - x - self._other(layer, write)

    def _rows_of(self, slot: str, layer: int, x: Tensor) -> Tensor:
        """Queries of the last layer at the rows that are read; everything else at every row."""
        return x[..., self.output_positions, :] if slot == "q" and layer == self.last else x

    def _other(self, layer: int, sender: str) -> Float[Tensor, "batch row d_model"]:
        """What a sender writes on the other prompts, at the rows that are run."""
        return self._at(layer == self.last, self.runs.other.out[sender])

    def _at(self, narrow: bool, x: Float[Tensor, "*lead pos d_model"]) -> Float[Tensor, "*lead row d_model"]:
        """A stream at the read positions alone, if it is not already."""
        return x[..., self.output_positions, :] if narrow and x.shape[-2] != len(self.output_positions) else x

    def stream(self, kind: str, layer: int, receiver: str) -> Float[Tensor, "batch row d_model"]:
        """What a receiver reads in the run through the circuit, one tensor for all that read the same senders."""
        senders = self.into.get(receiver, ())
        key = (kind, layer, senders)
        held = self.streams.get(key)
        if held is None:
            other = self.runs.other
            base = other.final if kind == "final" else (other.pre if kind == "pre" else other.mid)[layer]
            narrow = kind == "final" or (kind == "mid" and layer == self.last)
            if self.whole:  # the clean run's own stream, without the rounding of its parts
                clean = self.runs.clean
                return self._at(
                    narrow,
                    clean.final if kind == "final" else (clean.pre if kind == "pre" else clean.mid)[layer],
                )
            found = [self._at(narrow, self.moved[s]) for s in senders if s in self.moved]
            held = _total(self._at(narrow, base), found)
            if held.numel() * held.element_size() * len(self.streams) < 4 * MEMORY:
                self.streams[key] = held
        return held

    @torch.no_grad()
    def without(
        self, edges: Iterable[Edge]
    ) -> Iterator[tuple[list[Edge], Float[Tensor, "edge batch output d_out"]]]:
        """Outputs at the read positions of the circuit without each of some of its edges, stack after stack."""
        if self.runs.mask is None:
            for edge in edges:
                yield [edge], self.runs.outputs(self.circuit - {edge})[None, :, self.output_positions]
            return
        by_receiver: dict[str, list[str]] = {}
        for sender, receiver in edges:
            by_receiver.setdefault(receiver, []).append(sender)
        size = max(1, STACK // self.runs.inputs.shape[:2].numel())
        for receiver, senders in by_receiver.items():
            for start in range(0, len(senders), size):
                some = senders[start : start + size]
                silent = [s for s in some if s not in self.moved]  # what nothing leads to writes no change
                if silent:
                    yield [(s, receiver) for s in silent], self.outputs.expand(len(silent), -1, -1, -1)
                if loud := [s for s in some if s in self.moved]:
                    yield [(s, receiver) for s in loud], self._without(receiver, loud)

    def _without(self, receiver: str, senders: list[str]) -> Float[Tensor, "edge batch output d_out"]:
        site = site_of(receiver)
        layer = self.last + 1 if site.layer is None else site.layer
        kind = {"output": "final", "mlp_pre": "mid"}.get(site.component, "pre")
        base = self.stream(kind, 0 if kind == "final" else layer, receiver)
        x = base - torch.stack([_narrow(self.moved[s], base, self.output_positions) for s in senders])
        if kind == "final":
            return ar.unembed(self.model, x)
        block = self.model.blocks[layer]
        if kind == "mid":
            write = label_of("mlp_out", layer)
            return self._onward({write: ar.mlp(block, x) - x - self._written(layer, write)}, layer + 1)
        head, slot = site.head or 0, site.component
        new = {receiver: self._rows_of(slot, layer, ar.head_inputs(block, slot, head, x))}
        changed = self._attend(layer, [head], new)
        label = label_of("z", layer, head)
        changed[label] = changed[label] - self._written(layer, label)
        self._mlp(layer, block, changed)
        return self._onward(changed, layer + 1)

    def _written(self, layer: int, sender: str) -> Float[Tensor, "batch row d_model"]:
        """What a sender writes in the run through the circuit."""
        return self.moved[sender] + self._other(layer, sender)

    def _onward(self, changed: Changed, layer: int) -> Float[Tensor, "edge batch output d_out"]:
        """The outputs when some senders' writes have changed, from the block `layer` on."""
        for index in range(layer, self.last + 1):
            block = self.model.blocks[index]
            self._heads(index, block, changed)
            self._mlp(index, block, changed)
        x = self._read("final", 0, "output", changed)
        count = len(next(iter(changed.values())))
        return self.outputs.expand(count, -1, -1, -1) if x is None else ar.unembed(self.model, x)

    def _read(self, kind: str, layer: int, receiver: str, changed: Changed) -> Tensor | None:
        """A receiver's stream with the changes that reach it; None where none does."""
        hits = [changed[s] for s in self.into.get(receiver, ()) if s in changed]
        if not hits:
            return None
        base = self.stream(kind, layer, receiver)
        return _total(base, [_narrow(hit, base, self.output_positions) for hit in hits])

    def _heads(self, layer: int, block: Any, changed: Changed) -> None:
        """Run the heads of a layer that read a change, and add what they write to it."""
        new: dict[str, Tensor] = {}
        normed: dict[Senders, Tensor | None] = {}
        heads = self.runs.live_heads(layer, block.attn.heads, self.into)
        for slot in SLOTS:
            groups: dict[Senders, list[int]] = {}
            for head in heads:
                groups.setdefault(self.into.get(f"{label_of('z', layer, head)}.{slot}", ()), []).append(head)
            for senders, group in groups.items():
                if senders not in normed:
                    x = self._read("pre", layer, f"{label_of('z', layer, group[0])}.{slot}", changed)
                    normed[senders] = None if x is None else ar.norm(block.ln1, x)
                if (x := normed[senders]) is not None:
                    new |= self._project(layer, block, slot, group, x)
        moved = [h for h in heads if any(f"{label_of('z', layer, h)}.{s}" in new for s in SLOTS)]
        if moved:
            for label, out in self._attend(layer, moved, new).items():
                changed[label] = out - self._written(layer, label)

    def _project(self, layer: int, block: Any, slot: str, heads: list[int], x: Tensor) -> dict[str, Tensor]:
        """One slot of some heads that read the same normalised stream."""
        weight, bias = (getattr(block.attn, f"{kind}_{slot.upper()}")[heads] for kind in "Wb")
        x = self._rows_of(slot, layer, x)
        out = (x @ weight.transpose(0, 1).flatten(1)).unflatten(-1, weight.shape[::2]) + bias
        return {f"{label_of('z', layer, head)}.{slot}": out[..., i, :] for i, head in enumerate(heads)}

    def _attend(self, layer: int, heads: list[int], new: dict[str, Tensor]) -> Changed:
        """What heads write when some of their slots have new values (leading axis: the edge)."""
        assert self.runs.mask is not None
        weight = self.model.blocks[layer].attn.W_O
        rows = self.output_positions if layer == self.last else slice(None)
        found = {}
        for head in heads:
            label = label_of("z", layer, head)
            q, k, v = (new[n] if (n := f"{label}.{s}") in new else self.slots[n][None] for s in SLOTS)
            scores = (q @ k.transpose(-1, -2) + self._relative(layer, head, q)) / ar.score_scale(
                self.model.config
            )
            found[label] = self.runs.mask.pattern(scores, rows) @ v @ weight[head]
        return found

    def _relative(self, layer: int, head: int, q: Float[Tensor, "edge batch row k"]) -> Tensor | float:
        """What relative positions add to the scores of some queries, before their scale."""
        attn = self.model.blocks[layer].attn
        if attn.W_rel is None:
            return 0.0
        n_pos = self.runs.inputs.shape[1]
        rows = self.output_positions if layer == self.last else slice(None)
        return attn.relative(q[:, :, None], n_pos, rows, [head])[:, :, 0]

    def _mlp(self, layer: int, block: Any, changed: Changed) -> None:
        read, write = label_of("mlp_pre", layer), label_of("mlp_out", layer)
        if block.mlp is None or not self.into.get(read):
            return
        x = self._read("mid", layer, read, changed)
        if x is not None:
            changed[write] = ar.mlp(block, x) - x - self._written(layer, write)


def _narrow(change: Tensor, base: Tensor, output_positions: list[int]) -> Tensor:
    """A change at the rows of the stream that it is added to."""
    return change if change.shape[-2] == base.shape[-2] else change[..., output_positions, :]


def _total(base: Tensor, changes: list[Tensor]) -> Tensor:
    """`base` plus all changes."""
    if not changes:
        return base
    total = base + changes[0]
    for change in changes[1:]:
        total += change
    return total
