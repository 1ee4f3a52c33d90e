"""Interventions through hooks: write values at sites, run, and say what was changed there.

The plain and slow way, exact for every site and any number of them at once; `engine` is the fast one. A hook
replaces its activation by a changed copy, so nothing is written into tensors that others hold; writing back
what was there changes no bit. Norms are L2 over the site's entries, averaged over prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal.choices import Ablation
from interp.causal.metrics import check_eval
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import ROW_COMPONENTS, Site, check
from tasks.errors import UserError
from tasks.streams import generator

Cache = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Change:
    """What an intervention did at its site: mean norm before, after, and of the difference."""

    site: Site
    before: float
    after: float
    moved: float

    def row(self) -> dict[str, Any]:
        """The row of a table."""
        norms = {"norm_before": self.before, "norm_after": self.after, "norm_change": self.moved}
        return {**self.site.columns(), **norms}


def measure_change(site: Site, before: Float[Tensor, "batch *a"], after: Float[Tensor, "batch *b"]) -> Change:
    """The change from one part of an activation to another."""
    before = before.detach().flatten(1) if before.ndim > 1 else before.detach()[:, None]
    after = after.detach().reshape(before.shape)
    norms = (before.norm(dim=1), after.norm(dim=1), (after - before).norm(dim=1))
    return Change(site, *(float(n.mean()) for n in norms))


def hooks_for(
    model: HookedModel, values: Sequence[tuple[Site, Tensor]], n_pos: int, changes: list[Change]
) -> list[tuple[str, Any]]:
    """Forward hooks that write each value at its site and append what they changed.

    Raises UserError for a site outside the model.
    """
    return [
        (check(site, model, n_pos).hook(model.config.n_layers), _Write(site, value, changes))
        for site, value in values
    ]


class _Write:
    """A hook that replaces a site's part of the activation."""

    def __init__(self, site: Site, value: Tensor, changes: list[Change]):
        self.site, self.value, self.changes = site, value, changes

    def __call__(self, activation: Tensor, hook: Any) -> Tensor:
        part = self.site.read(activation)
        if self.value.shape != part.shape:
            raise UserError(
                f"site {self.site}: the value has shape {list(self.value.shape)}, the place {list(part.shape)}"
            )
        self.changes.append(measure_change(self.site, part, self.value))
        changed = activation.clone()
        changed[self.site.index] = self.value.to(activation)
        return changed


def intervene(
    model: HookedModel, inputs: Num[Tensor, "batch pos *token"], values: Sequence[tuple[Site, Tensor]]
) -> tuple[Float[Tensor, "batch pos d_out"], pd.DataFrame]:
    """Outputs of a run with values written at sites, and a table of what that changed (norm before, after).

    Raises UserError for a model in train mode, a site outside the model, a value of another shape, or an
    intervention that did not fire.
    """
    check_eval(model)
    changes: list[Change] = []
    outputs = model.run_with_hooks(inputs, fwd_hooks=hooks_for(model, values, inputs.shape[1], changes))
    if len(changes) != len(values):
        raise UserError(f"{len(values)} interventions were asked for and {len(changes)} fired")
    return outputs, pd.DataFrame([change.row() for change in changes])


def cache_of(
    model: HookedModel, inputs: Num[Tensor, "batch pos *token"], sites: Sequence[Site]
) -> dict[str, Tensor]:
    """Activations at the hooks of some sites, without gradients. Raises UserError for a site outside the
    model.
    """
    return run_of(model, inputs, sites)[1]


def run_of(
    model: HookedModel, inputs: Num[Tensor, "batch pos *token"], sites: Sequence[Site]
) -> tuple[Float[Tensor, "batch pos d_out"], dict[str, Tensor]]:
    """Outputs, and what `cache_of` gives."""
    names = sorted({check(s, model, inputs.shape[1]).hook(model.config.n_layers) for s in sites})
    with torch.no_grad():
        return model.run_with_cache(inputs, names_filter=names, return_cache_object=False)


def ablation_values(
    kind: str, site: Site, activation: Float[Tensor, "batch *rest"]
) -> Float[Tensor, "batch *rest"]:
    """The hook's activation with everything replaced by an ablation of itself.

    zero; mean: over prompts and positions (patterns and scores: over prompts, since a mean over rows would
    attend where the mask forbids); mean per position: over prompts. Resampling needs other prompts, so it is
    the caller's to give their activation. Raises UserError for another kind.
    """
    if kind not in get_args(Ablation):
        raise UserError(f"unknown replacement {kind!r}: use 'pair' or one of {list(get_args(Ablation))}")
    if kind == "zero":
        return torch.zeros_like(activation)
    over = (0,) if kind == "mean per position" or site.component in ROW_COMPONENTS else (0, 1)
    return activation.mean(over, keepdim=True).expand_as(activation)


def partners(prompts: int, seed: int) -> Tensor:
    """For each prompt another one, by a random cyclic order: nobody is its own partner.

    Raises UserError for a single prompt.
    """
    if prompts < 2:
        raise UserError("resampling needs at least two prompts")
    order = torch.randperm(prompts, generator=generator(seed, "resample", 0))
    return torch.empty_like(order).scatter_(0, order, order.roll(1))
