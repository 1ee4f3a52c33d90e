"""Patching of models that are not our transformer, from the patched layer on, with the sites of a layer side by side.

A patch at a layer leaves everything before that layer alone: the layers from it on are run on the base run's stream,
once for as many sites as `STACK` tokens allow, each with its own rows of the batch. That a model can be entered at a
layer is tried once, on the base run itself; where what comes out differs, or prompts are padded, whole passes are run
(`interp.causal.reference.HooksEngine`). Values agree with those to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal.interventions import cache_of
from interp.causal.metrics import Metric
from interp.causal.reference import HooksEngine
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from tasks.errors import UserError

STACK = 2048  # tokens run at once
CLOSE = 1e-5  # of the largest output: how far the base run may be from itself, entered at a layer


class SuffixEngine(HooksEngine):
    """Metric values of one-site patches of a base run, from the patched layer on."""

    def __init__(
        self,
        model: HookedModel,
        inputs: Num[Tensor, "batch pos *token"],
        metric: Metric,
        rows: Tensor | None = None,
    ):
        super().__init__(model, inputs, metric, rows)
        self._streams: dict[int, Tensor] = {}
        self._whole: bool | None = None

    @torch.no_grad()
    def values(
        self, sites: Iterable[Site], replacement: Mapping[str, Float[Tensor, "batch *rest"]]
    ) -> Float[Tensor, "site batch"]:
        """The metric of each prompt after each site alone takes its value from `replacement` (by hook name)."""
        sites = list(sites)
        if self._passes_whole(sites):
            return super().values(sites, replacement)
        groups: dict[tuple[int, str], list[int]] = {}
        for place, site in enumerate(sites):
            groups.setdefault((self.layer(site), site.hook(self.model.config.n_layers)), []).append(place)
        out = torch.empty(len(sites), len(self.inputs), dtype=self.base_value.dtype)
        size = max(1, STACK // (self.inputs.shape[0] * self.inputs.shape[1]))
        for (layer, hook), places in groups.items():
            for some in (places[i : i + size] for i in range(0, len(places), size)):
                out[some] = self._stacked([sites[i] for i in some], layer, hook, replacement[hook])
        return out

    def _stacked(
        self, sites: list[Site], layer: int, hook: str, value: Tensor
    ) -> Float[Tensor, "site batch"]:
        """Sites of one hook, each in its own rows of one batch."""
        batch = len(self.inputs)

        def write(activation: Tensor, hook: Any) -> Tensor:
            changed = activation.clone()
            for rows, site in zip(changed.split(batch), sites, strict=True):
                rows[site.index] = site.read(value).to(changed)
            return changed

        stream = self._stream(layer).repeat(len(sites), 1, 1)
        with entered(self.model):
            outputs = self.model.run_with_hooks(stream, fwd_hooks=[(hook, write)], start_at_layer=layer)
        return torch.stack([self.metric(part, self.rows) for part in outputs.split(batch)])

    @torch.no_grad()
    def hooked(self, hooks: list[tuple[str, Any]], layer: int) -> Float[Tensor, "batch"]:
        """The metric of each prompt under hooks, none of which lies before `layer`."""
        if self._passes_whole([Site("resid_pre", layer)]):
            outputs = self.model.run_with_hooks(self.inputs, fwd_hooks=hooks)
        else:
            with entered(self.model):
                outputs = self.model.run_with_hooks(
                    self._stream(layer).clone(), fwd_hooks=hooks, start_at_layer=layer
                )
        return self.metric(outputs, self.rows)

    def layer(self, site: Site) -> int:
        """The layer before which a patch of the site changes nothing."""
        if site.component == "output":
            return self.model.config.n_layers - 1
        return site.layer or 0

    def _stream(self, layer: int) -> Float[Tensor, "batch pos d_model"]:
        if layer not in self._streams:
            site = Site("resid_pre", layer)
            hook = site.hook(self.model.config.n_layers)
            self._streams[layer] = cache_of(self.model, self.inputs, [site])[hook]
        return self._streams[layer]

    def _passes_whole(self, sites: list[Site]) -> bool:
        """Whether the model cannot be entered at a layer on these prompts."""
        if self._whole is None:
            self._whole = padded(self.model.config, self.inputs) or not self._same(
                max(map(self.layer, sites))
            )
        return self._whole

    def _same(self, layer: int) -> bool:
        """Whether the base run entered at a layer, twice side by side, gives the base run's outputs."""
        if Site("resid_pre", layer).hook(self.model.config.n_layers) not in self.model.hook_dict:
            return False
        try:
            with entered(self.model):
                again = self.model(self._stream(layer).repeat(2, 1, 1), start_at_layer=layer)
        except (
            RuntimeError,
            UserError,
        ):  # it has no layers to enter, or takes the size of its batch from elsewhere
            return False
        positions = sorted(self.metric.positions)
        wanted = self.outputs[:, positions].repeat(2, 1, 1)
        close = CLOSE * float(wanted.abs().max())
        return again.shape[:1] == wanted.shape[:1] and bool(
            ((again[:, positions] - wanted).abs() <= close).all()
        )


def padded(config: Any, inputs: Tensor) -> bool:
    """Whether prompts hold padding, which a stream does not show any more."""
    pad = getattr(config, "pad", None)
    return pad is not None and inputs.ndim == 2 and bool((inputs == pad).any())


def entered(model: HookedModel) -> AbstractContextManager[Any]:
    """Within it a module that runs through all its layers runs those before the one entered on a single prompt."""
    narrow = getattr(model, "narrow", None)
    return nullcontext() if narrow is None else narrow()
