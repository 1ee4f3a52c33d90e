"""By how much integrated gradients of the input stream miss the loss difference they should add up to.

Source: Sundararajan et al. (arXiv 1703.01365), completeness.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interp.causal.attribution import gradients
from interp.causal.interventions import cache_of
from interp.causal.metrics import Metric
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from tasks.errors import UserError


def completeness(
    model: HookedModel, inputs: Tensor, other: Tensor, metric: Metric, ig_steps: int = 32
) -> dict[str, float]:
    """Integrated gradients of the stream entering block 0, and by how much they miss m(inputs) - m(other).

    `error` is the mean size of a prompt's miss over the mean size of its difference; it falls with the number
    of steps (slowly where the way passes a stream of norm 0, at which LayerNorm jumps). The rest are means
    over prompts, in units of the metric.
    """
    if ig_steps < 1:
        raise UserError(f"integrated gradients need at least one step, got {ig_steps}")
    hook = "blocks.0.hook_resid_pre"
    endpoints = [cache_of(model, x, [Site("embed")])[hook] for x in (other, inputs)]
    total = torch.zeros(len(inputs), dtype=torch.float64)
    for step in range(ig_steps):
        at = endpoints[0] + (step + 0.5) / ig_steps * (endpoints[1] - endpoints[0])
        slope = gradients(model, at, [hook], metric, start_at_layer=0)[hook]
        total += ((endpoints[1] - endpoints[0]) * slope).sum((1, 2)).double() / ig_steps
    with torch.no_grad():
        gap = (metric(model(inputs)) - metric(model(other))).double()
    error = float((total - gap).abs().sum() / gap.abs().sum().clamp_min(1e-30))
    endpoints_on_average = {"attributed": float(total.mean()), "difference": float(gap.mean())}
    return {**endpoints_on_average, "error": error, "ig_steps": ig_steps}
