"""Probe directions as sites: move what a probe reads from clean to corrupt, and see whether the prediction
follows.

A probe w that reads a value off a layer's stream x is only a correlation. Here x goes to x + u (w.x_source -
w.x), the smallest move in the activations' own metric that makes the probe read the source's value: u = S w /
(w' S w), S the covariance of x over prompts. The change of the final prediction is then compared with the
change that the algorithm behind the probe predicts. Controls: a random direction whose move has the same
length on every prompt, and a rival algorithm's probe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.interventions import intervene
from interp.causal.metrics import check_pair
from interp.causal.sites import Site, check
from probes.stats import DRAWS, bootstrap
from tasks.base import Pair, generator
from tasks.errors import UserError

RIDGE = (
    1e-6  # of the mean variance: keeps the covariance of few prompts invertible in directions that never vary
)


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear probe at one site and what its algorithm says of a pair.

    `weights` reads the stream at the site's position; `clean` and `corrupt` are the algorithm's own
    predictions there, in the units of the model's output.
    """

    name: str
    weights: Float[Tensor, "d_model"]
    clean: Float[Tensor, "batch"]
    corrupt: Float[Tensor, "batch"]


def whitened(
    weights: Float[Tensor, "d_model"], stream: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "d_model"]:
    """The direction u = S w / (w' S w) along which moving by 1 moves the probe by 1.

    Raises UserError for a probe that reads nothing that varies.
    """
    centred = (stream - stream.mean(0)).double()
    covariance = centred.T @ centred / max(1, len(stream) - 1)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    moved = covariance @ weights.double()
    size = weights.double() @ moved
    if not float(size) > 0:
        raise UserError("the probe's direction does not vary over these prompts: nothing to move")
    return (moved / size).to(weights)


def swap(
    model: Any,
    pair: Pair,
    site: Site,
    probes: Sequence[Probe],
    *,
    output: int = 0,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Move each probe's component from clean to corrupt at a site with a position, and compare the
    prediction's change.

    `value` is the slope of the observed change of output `output` (at the same position) on the change that
    the probe's algorithm predicts, through the origin: 1 if the network uses the direction as the algorithm
    does, 0 if not at all. `correlation` is Pearson's r. Each probe comes with control "random": a random
    direction moved equally far. Intervals over prompts. Raises UserError for a site without a position, or
    algorithms that predict no change.
    """
    check_pair(pair)
    check(site, model, pair.clean.inputs.shape[1])
    if site.position is None or site.head is not None:
        raise UserError(
            f"site {site}: moving a probe's direction needs a stream at one position, like L2.resid_post@4"
        )
    streams = [_stream(model, batch.inputs, site) for batch in (pair.clean, pair.corrupt)]
    with torch.no_grad():
        base = model(pair.clean.inputs)[:, site.position, output]
    rows = []
    for index, probe in enumerate(probes):
        expected = probe.corrupt - probe.clean
        if float(expected.abs().max()) == 0:
            raise UserError(
                f"probe {probe.name!r}: its algorithm predicts no change from clean to corrupt prompts"
            )
        move = ((streams[1] - streams[0]) @ probe.weights)[:, None] * whitened(
            probe.weights, torch.cat(streams)
        )
        for control, shift in (("none", move), ("random", _random_move(move, seed, index))):
            moved, _ = intervene(model, pair.clean.inputs, [(site, streams[0] + shift)])
            change = moved[:, site.position, output].detach() - base
            rows.append({"algorithm": probe.name, "control": control, **_compare(change, expected, draws)})
    return pd.DataFrame(rows).assign(**site.columns(), metric="causal slope")


def _stream(model: Any, inputs: Tensor, site: Site) -> Float[Tensor, "batch d_model"]:
    hook = site.hook(model.config.n_layers)
    with torch.no_grad():
        return site.read(model.run_with_cache(inputs, names_filter=hook, return_cache_object=False)[1][hook])


def _random_move(
    move: Float[Tensor, "batch d_model"], seed: int, index: int
) -> Float[Tensor, "batch d_model"]:
    direction = torch.randn(move.shape[1], generator=generator(seed, "random direction", index)).to(move)
    return move.norm(dim=1, keepdim=True) * direction / direction.norm()


def _compare(
    change: Float[Tensor, "batch"], expected: Float[Tensor, "batch"], draws: int
) -> Mapping[str, Any]:
    products = torch.stack([change * expected, expected**2], 1)
    slope = bootstrap(products, lambda m: m[:, 0] / m[:, 1], draws=draws).one()
    a, b = change.double() - change.double().mean(), expected.double() - expected.double().mean()
    size = float(a.norm() * b.norm())
    return {
        **slope.row(),
        "unit": "observed / predicted change",
        "correlation": float(a @ b) / size if size else 0.0,
    }
