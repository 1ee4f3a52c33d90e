"""What changes in a model when heads, MLPs or edges are ablated or patched: its outputs and its attention.

The project's own interventions (`interp.causal.interventions`, `interp.causal.paths`): a site gets another value at
every position, an edge's receiver reads what its sender would write instead. An edge of a sender that is itself changed
adds nothing and is left out. What takes the place: "pair" is what the other prompts of the pair give, all else an
ablation over the clean prompts of the pair ("mean per position", "mean", "zero").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.attribution import replaced
from interp.causal.graph import Edge, check_edges, written
from interp.causal.graph import Written as Writing
from interp.causal.interventions import Change, ablation_values, hooks_for
from interp.causal.paths import path_hooks
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from tasks import UserError

ARROW = " -> "
CHANGED = ("z", "mlp_out")  # what can be selected besides edges: a head's output, an MLP's
REPLACEMENTS = {
    "pair": "patch from the pair's other prompt",
    "mean per position": "ablate: mean per position",
    "mean": "ablate: mean",
    "zero": "ablate: zero",
}


@dataclass(frozen=True)
class Selection:
    """Sites and edges that are changed together."""

    sites: tuple[Site, ...] = ()
    edges: tuple[Edge, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sites or self.edges)

    @classmethod
    def of(cls, labels: Sequence[str], model: HookedModel, n_pos: int) -> Selection:
        """What labels such as "L0H1", "L1.mlp_out" or "L0H1 -> L2H3.k" name in a model.

        Raises UserError for what the model does not have, or what is neither head, MLP nor edge.
        """
        sites, edges = [], []
        for label in labels:
            sender, arrow, receiver = label.partition("->")
            if arrow:
                edges.append((Site.parse(sender).label, Site.parse(receiver).label))
                continue
            site = Site.parse(label)
            if site.component not in CHANGED or (site.component == "z" and site.head is None):
                raise UserError(
                    f"{label!r}: select a head (L0H1), an MLP (L0.mlp_out) or an edge (L0H1 -> L2H3.k)"
                )
            sites.append(check(site, model, n_pos))
        if edges:
            check_edges(model, edges)
        whole = {site.label for site in sites}
        return cls(tuple(sites), tuple(edge for edge in edges if edge[0] not in whole))


@dataclass
class Intact:
    """A model on some prompts, as it is. The model must not be given other weights while this is in use."""

    model: HookedModel
    inputs: Tensor

    @cached_property
    def ran(self) -> tuple[Float[Tensor, "batch pos d_out"], dict[str, Tensor]]:
        """Outputs, and what heads and MLPs give, by hook."""
        there = self.model.hook_dict
        names = [name for name in there if name.endswith(("attn.hook_z", "hook_mlp_out"))]
        with torch.no_grad():
            return self.model.run_with_cache(self.inputs, names_filter=names, return_cache_object=False)

    @property
    def outputs(self) -> Float[Tensor, "batch pos d_out"]:
        return self.ran[0]

    @cached_property
    def writing(self) -> Writing:
        """What every sender of an edge writes. Raises UserError for a model whose edges are not known."""
        return written(self.model, self.inputs)

    @cached_property
    def attention(self) -> dict[str, Float[Tensor, "batch head dest source"]]:
        """Attention patterns by hook."""
        return run(self, (), None, None, "mean")[1]


def run(
    here: Intact,
    selection: Selection | tuple[()],
    there: Intact | None,
    pool: Intact | None,
    replacement: str,
) -> tuple[Float[Tensor, "batch pos d_out"], dict[str, Tensor]]:
    """Outputs and attention patterns on the prompts of `here` with a selection changed.

    `there`: the other prompts, as long as these; `pool`: the prompts over which means are taken. Raises UserError for
    an intervention that did not fire.
    """
    model = here.model
    changes: list[Change] = []
    hooks = _hooks(here, selection, there, pool, replacement, changes) if selection else []
    names = [name for name in model.hook_dict if name.endswith("attn.hook_pattern")]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        outputs, cache = model.run_with_cache(here.inputs, names_filter=names, return_cache_object=False)
    if selection and len(changes) != len(selection.sites):
        raise UserError(f"{len(selection.sites)} interventions were asked for and {len(changes)} fired")
    return outputs, dict(cache)


def _hooks(
    here: Intact,
    selection: Any,
    there: Intact | None,
    pool: Intact | None,
    replacement: str,
    changes: list[Change],
) -> list[tuple[str, Any]]:
    model, length, layers = here.model, here.inputs.shape[1], here.model.config.n_layers
    source = _source(there, pool, replacement)
    values = []
    for site in selection.sites:
        whole = source.ran[1][site.hook(layers)]
        if replacement != "pair":
            whole = _shared(ablation_values(replacement, site, whole), here)
        values.append((site, site.read(whole)))
    hooks = hooks_for(model, values, length, changes)
    for receiver in dict.fromkeys(receiver for _, receiver in selection.edges):
        senders = [sender for sender, reader in selection.edges if reader == receiver]
        change = {sender: _instead(source, sender, replacement, here) for sender in senders}
        hooks += path_hooks(model, change, [receiver])
    return hooks


def _source(there: Intact | None, pool: Intact | None, replacement: str) -> Intact:
    found = there if replacement == "pair" else pool
    if found is None:
        raise UserError("there is no other prompt to patch from: choose an ablation")
    return found


def _shared(ablation: Tensor, here: Intact) -> Tensor:
    """An ablation, which is the same for every prompt, for the prompts of `here`."""
    return ablation[:1, : here.inputs.shape[1]].expand(len(here.inputs), *(-1,) * (ablation.ndim - 1))


def _instead(
    source: Intact, sender: str, replacement: str, here: Intact
) -> Float[Tensor, "batch pos d_model"]:
    """What a sender writes instead, minus what it writes."""
    kind = "resample" if replacement == "pair" else replacement
    other = replaced(source.writing, source.writing, sender, kind)
    return (other if replacement == "pair" else _shared(other, here)) - here.writing.out[sender]
