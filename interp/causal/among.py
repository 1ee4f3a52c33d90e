"""Runs through circuits of the edges among a few nodes, with every other edge kept: for models with too many edges.

The edges are those among the chosen heads and MLPs, from the embedding into them, and from both to the output; whatever
touches another node is in every circuit. A run through a circuit is the model's own forward pass on the clean prompts,
but for each receiver that lacks edges: it reads the stream of this run less the change (compared with the other
prompts) that the senders of these edges write in it. So outputs are those of `EdgeRuns` on the circuit with all the
kept edges, at the cost of a forward pass. What a run shares with the one before it, layers before the first that
differs, is not run again. The full circuit is the clean run; the empty one is not the run on the other prompts, since
the kept edges carry clean values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import SLOTS, Edge, label_of, owners, precedes, receivers, senders, site_of
from interp.causal.interventions import cache_of
from interp.causal.metrics import check_eval
from interp.causal.suffix import CLOSE, entered, padded
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from tasks.errors import UserError

Lacking = dict[str, tuple[str, ...]]  # senders whose edges a circuit lacks, by receiver


class RunsAmong:
    """Runs of one batch of prompts through circuits of the edges among `nodes` ("L3H1", "L3.mlp_out").

    `order` lists the edges by receiver, `known` is the set of them. Outputs are worked out at `positions` (None: all)
    and are 0 elsewhere. Raises UserError for a name that is no head and no MLP of the model, and for prompts of
    different shapes.
    """

    def __init__(
        self,
        model: HookedModel,
        inputs: Num[Tensor, "batch pos *token"],
        other: Num[Tensor, "batch pos *token"],
        nodes: Collection[str],
        positions: Collection[int] | None = None,
    ):
        check_eval(model)
        if inputs.shape != other.shape:
            raise UserError(
                f"prompts {list(inputs.shape)} and the others {list(other.shape)} differ in shape"
            )
        self.model, self.inputs, self.elsewhere = model, inputs, other
        self.nodes = frozenset(nodes)
        self.positions = sorted(range(inputs.shape[1]) if positions is None else positions)
        self.writers = _writers(model, self.nodes)
        self.readers = [r for r in receivers(model) if r.layer is None or owners(r.label) & self.nodes]
        self.order: list[Edge] = [
            (s.label, r.label) for r in self.readers for s in self.writers if precedes(model, s, r)
        ]
        self.known = frozenset(self.order)
        self._before = {
            r.label: tuple(s.label for s in self.writers if precedes(model, s, r)) for r in self.readers
        }
        self.other = written_by(model, other, self.writers)
        self.moved: dict[str, Tensor] = {}  # what each sender wrote in the last run, less `other`
        self.streams: dict[int, Tensor] = {}  # the last run's, before each layer and behind the last
        self._lacking: Lacking | None = None
        self._probes: dict[str, Tensor] = {}  # what is added to receivers' inputs, to take gradients there
        self._share = 1.0  # of its change that every kept edge carries
        self._enters = self._can_enter()

    @torch.no_grad()
    def outputs(self, circuit: Collection[Edge]) -> Float[Tensor, "batch pos d_out"]:
        """Outputs of the run through a circuit. Raises UserError for an edge that is not among these."""
        lacking = self._lacked(circuit)
        self._run(lacking, self._first(lacking))
        return self._out(lacking)

    def effects(
        self, circuit: Collection[Edge], metric: Callable[[Tensor], Tensor], share: float = 1.0
    ) -> dict[Edge, Float[Tensor, "batch"]]:
        """First-order estimate of what taking each edge of a circuit away does to the metric, prompt by prompt.

        The gradient is taken at every receiver's input in the run through the circuit, or in one in which every edge
        carries only `share` of its change: 1 is EAP in the circuit, a mean over shares from 0 to 1 its integrated
        gradients.
        """
        lacking = self._lacked(circuit)
        labels = [site.label for site in self.readers]
        with torch.enable_grad():
            self._probes = {r: torch.zeros_like(self.other["embed"]).requires_grad_() for r in labels}
            self._share = share
            try:
                self._run(lacking, 0)
                total = metric(self._out(lacking)).sum()
                slopes = torch.autograd.grad(total, [self._probes[r] for r in labels], allow_unused=True)
            finally:
                self._probes, self._share, self._lacking = {}, 1.0, None
        moved = {sender: change.detach() for sender, change in self.moved.items()}
        self.moved, self.streams = {}, {}
        at = dict(zip(labels, slopes, strict=True))
        none = torch.zeros(len(self.inputs), dtype=total.dtype)
        return {
            (s, r): none if (slope := at[r]) is None else -(moved[s] * slope).sum((1, 2))
            for s, r in self.order
            if (s, r) in circuit
        }

    def _lacked(self, circuit: Collection[Edge]) -> Lacking:
        """What a circuit lacks. Raises UserError for an edge that is not among these."""
        if extra := sorted(set(circuit) - self.known):
            raise UserError(f"{extra[0][0]} -> {extra[0][1]} is no edge among the chosen nodes")
        lacking: Lacking = {}
        for sender, receiver in self.order:
            if (sender, receiver) not in circuit:
                lacking[receiver] = (*lacking.get(receiver, ()), sender)
        return lacking

    def _out(self, lacking: Lacking) -> Float[Tensor, "batch pos d_out"]:
        """Outputs from what the output reads in the last run."""
        x = self._read(self.streams[len(self.model.blocks)], "output", lacking)
        found = ar.unembed(self.model, x[:, self.positions])
        if len(self.positions) == x.shape[1]:
            return found
        out = found.new_zeros(*x.shape[:2], found.shape[-1])
        out[:, self.positions] = found
        return out

    def _first(self, lacking: Lacking) -> int:
        """The first layer that differs from the last run; the number of layers where only the output's edges do."""
        before, last = self._lacking, len(self.model.blocks)
        if before is None:
            return 0
        changed = [r for r in {*before, *lacking} if before.get(r, ()) != lacking.get(r, ())]
        first = min((last if (layer := site_of(r).layer) is None else layer for r in changed), default=last)
        return first if first == last or self._enters else 0

    def _run(self, lacking: Lacking, first: int) -> None:
        """The blocks from `first` on, with streams and writes kept."""
        last = len(self.model.blocks)
        self._lacking = None  # broken off, nothing is known of it
        if first < last:
            hooks: list[tuple[str, Any]] = []
            for layer in range(first, last):
                hooks += self._of_layer(layer, lacking)
            begin = self.inputs if first == 0 else self.streams[first].clone()
            with nullcontext() if first == 0 else entered(self.model):
                self.streams[last] = self.model.run_with_hooks(
                    begin, fwd_hooks=hooks, start_at_layer=first or None, stop_at_layer=last
                )
        self._lacking = lacking

    def _of_layer(self, layer: int, lacking: Lacking) -> list[tuple[str, Any]]:
        """Hooks of one block: keep its stream and what its nodes write, and give receivers what they read."""
        stem, block = f"blocks.{layer}.", self.model.blocks[layer]
        heads = [s for s in self.writers if s.layer == layer and s.head is not None]
        read, write = label_of("mlp_pre", layer), label_of("mlp_out", layer)

        def keep(stream: Tensor, hook: Any) -> None:
            self.streams[layer] = stream
            if layer == 0:
                self.moved["embed"] = stream - self.other["embed"]

        def keep_heads(z: Tensor, hook: Any) -> None:
            for site in heads:
                out = z[:, :, site.head] @ block.attn.W_O[site.head]
                self.moved[site.label] = out - self.other[site.label]

        def keep_mlp(out: Tensor, hook: Any) -> None:
            self.moved[write] = out - self.other[write]

        hooks: list[tuple[str, Any]] = [(stem + "hook_resid_pre", keep)]
        for slot in SLOTS:
            own = [
                r for r in self.readers if (r.layer, r.component) == (layer, slot) and self._apart(r, lacking)
            ]
            if own:
                hooks.append((f"{stem}attn.hook_{slot}", self._slot(block, layer, slot, own, lacking)))
        hooks += [(stem + "attn.hook_z", keep_heads)] if heads else []
        if self._apart(Site("mlp_pre", layer), lacking) and write in self.nodes:
            hooks += self._mlp(layer, read, lacking)
        return hooks + ([(stem + "hook_mlp_out", keep_mlp)] if write in self.nodes else [])

    def _slot(self, block: Any, layer: int, slot: str, own: list[Site], lacking: Lacking) -> Any:
        """A hook that gives some receivers of one slot what they read."""

        def write(value: Tensor, hook: Any) -> Tensor:
            value, normed = value.clone(), {}
            for site in own:
                key = site.label if self._probes else lacking[site.label]
                if key not in normed:
                    normed[key] = ar.norm(block.ln1, self._read(self.streams[layer], site.label, lacking))
                value[:, :, site.head] = ar.head_projects(block, slot, site.head or 0, normed[key])
            return value

        return write

    def _mlp(self, layer: int, read: str, lacking: Lacking) -> list[tuple[str, Any]]:
        """Hooks that give an MLP what it reads."""
        place, held = ar.mlp_entry(self.model, layer, self.other["embed"][:1])[0].hook(None), {}

        def hold(stream: Tensor, hook: Any) -> None:
            held["stream"] = stream

        def attended(out: Tensor, hook: Any) -> None:
            held["stream"] = self.streams[layer] + out

        def write(value: Tensor, hook: Any) -> Tensor:
            x = self._read(held.pop("stream"), read, lacking)
            return ar.mlp_entry(self.model, layer, x)[1]

        parallel = ar.parallel(self.model)
        name = "hook_resid_pre" if parallel else "hook_attn_out"
        return [(f"blocks.{layer}.{name}", hold if parallel else attended), (place, write)]

    def _apart(self, receiver: Site, lacking: Lacking) -> bool:
        """Whether a receiver does not simply read the run's stream."""
        return receiver.label in lacking or bool(self._probes)

    def _read(self, stream: Tensor, receiver: str, lacking: Lacking) -> Tensor:
        """What a receiver reads: the run's stream less the changes on edges that the circuit lacks, and less what the
        kept ones do not carry.
        """
        less = lacking.get(receiver, ())
        for sender in less:
            stream = stream - self.moved[sender]
        if self._share < 1:
            for sender in self._before[receiver]:
                stream = stream if sender in less else stream - (1 - self._share) * self.moved[sender]
        return stream + self._probes[receiver] if receiver in self._probes else stream

    def _can_enter(self) -> bool:
        """Whether a run entered in the middle of the model gives what a whole one does, tried once."""
        last = len(self.model.blocks)
        with torch.no_grad():
            self._run({}, 0)
            if padded(self.model.config, self.inputs):
                return False
            whole = self.streams[last]
            try:
                self._run({}, last // 2)
            except (RuntimeError, UserError):
                self._run({}, 0)
                return False
        near = CLOSE * float(whole.abs().max())
        return whole.shape == self.streams[last].shape and bool(
            ((self.streams[last] - whole).abs() <= near).all()
        )


def _writers(model: HookedModel, nodes: frozenset[str]) -> list[Site]:
    """The embedding and the chosen nodes, in the order in which they write."""
    every = senders(model)
    if unknown := sorted(nodes - {s.label for s in every[1:]}):
        raise UserError(f"{unknown[0]!r} is no head and no MLP of this model: write L3H1 or L3.mlp_out")
    return [s for s in every if s.component == "embed" or s.label in nodes]


def written_by(
    model: HookedModel, inputs: Num[Tensor, "batch pos *token"], sites: Collection[Site]
) -> Mapping[str, Float[Tensor, "batch pos d_model"]]:
    """What some senders write on some prompts, by label."""
    found, out = cache_of(model, inputs, list(sites)), {}
    for site in sites:
        value = site.read(found[site.hook(model.config.n_layers)])
        if site.head is not None:
            value = value @ model.blocks[site.layer].attn.W_O[site.head].detach()
        out[site.label] = value
    return out
