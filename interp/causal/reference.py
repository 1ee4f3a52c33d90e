"""Slow engines, to check the fast one against: one whole hooked forward pass a site.

`LensEngine` is TransformerLens' own loop (`generic_activation_patch`) with our sites as its index, so its
token-only axes are not used. `HooksEngine` is ours, and the one that serves models the fast engine does not
know (the LSTM).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal.interventions import cache_of, intervene
from interp.causal.metrics import Metric
from interp.hooks.lens import patching
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site


class HooksEngine:
    """Metric values of one-site patches, by a hooked forward pass for each."""

    def __init__(
        self,
        model: HookedModel,
        inputs: Num[Tensor, "batch pos *token"],
        metric: Metric,
        rows: Tensor | None = None,
    ):
        self.model, self.inputs, self.metric, self.rows = model, inputs, metric, rows
        with torch.no_grad():
            self.outputs = model(inputs)
            self.base_value = metric(self.outputs, rows)

    def cache_of(self, site: Site) -> Float[Tensor, "batch *rest"]:
        """The base run's activation at a site's hook."""
        return cache_of(self.model, self.inputs, [site])[site.hook(self.model.config.n_layers)]

    @torch.no_grad()
    def values(
        self, sites: Iterable[Site], replacement: Mapping[str, Float[Tensor, "batch *rest"]]
    ) -> Float[Tensor, "site batch"]:
        """The metric of each prompt after each site alone takes its value from `replacement` (by hook name)."""
        values = []
        for site in sites:
            value = site.read(replacement[site.hook(self.model.config.n_layers)])
            outputs, _ = intervene(self.model, self.inputs, [(site, value)])
            values.append(self.metric(outputs, self.rows))
        return torch.stack(values)


class LensEngine(HooksEngine):
    """The same by TransformerLens' own loop."""

    @torch.no_grad()
    def values(
        self, sites: Iterable[Site], replacement: Mapping[str, Float[Tensor, "batch *rest"]]
    ) -> Float[Tensor, "site batch"]:
        """The metric of each prompt after each site alone takes its value from `replacement` (by hook name)."""
        sites = list(sites)
        out = torch.empty(len(sites), len(self.inputs), dtype=self.base_value.dtype)
        for component in dict.fromkeys(site.component for site in sites):
            places = [i for i, site in enumerate(sites) if site.component == component]
            out[places] = self._loop([sites[i] for i in places], replacement)
        return out

    def _loop(self, sites: list[Site], replacement: Mapping[str, Tensor]) -> Float[Tensor, "site batch"]:
        def setter(activation: Tensor, index: list[int], clean: Tensor) -> Tensor:
            place = sites[index[1]].index
            activation[place] = clean[place]
            return activation

        n_layers = self.model.config.n_layers
        layers = [_lens_layer(site, n_layers) for site in sites]
        # its annotations ask for an ActivationCache where any mapping does
        loop = cast(Any, patching.generic_activation_patch)
        return loop(
            self.model,
            self.inputs,
            replacement,
            lambda outputs: self.metric(outputs, self.rows),
            setter,
            _lens_name(sites[0].component),
            index_df=pd.DataFrame({"layer": layers, "site": range(len(sites))}),
            reduce="none",
        ).values


def _lens_layer(site: Site, n_layers: int) -> int:
    if site.layer is not None:
        return site.layer
    return 0 if site.component == "embed" else n_layers - 1


def _lens_name(component: str) -> str:
    return {"embed": "resid_pre", "output": "resid_post", "mlp_pre": "pre"}.get(component, component)
