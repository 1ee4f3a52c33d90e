"""Probe directions as sites: move what a probe reads from clean to corrupt, and see whether the prediction
follows.

A probe w that reads a value off a layer's stream x is only a correlation. Here x goes to x + u (w.x_source -
w.x), the smallest move in the activations' own metric that makes the probe read the source's value: u = S w /
(w' S w), S the covariance of x over prompts. The change of the final prediction is then compared with the
change that the algorithm behind the probe predicts. Controls: random directions whose moves have the same
length on every prompt, and a rival algorithm's probe. The part of w that later modules read and the part that nobody
reads are moved alone, too, and a verdict says whether the direction is used (`interp.causal.direction_use`).
`interp.readouts.probe_interventions` fits the probes and does this at every layer of a regression net.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.direction_use import Use, decoded, parts_of, use_of
from interp.causal.engine import FastEngine
from interp.causal.interventions import intervene
from interp.causal.metrics import check_eval, check_pair, custom
from interp.causal.readers import Seen, seen_after
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from probes.interval import Interval
from probes.stats import DRAWS, bootstrap
from tasks.base import Pair
from tasks.errors import UserError
from tasks.renamed import names_of
from tasks.streams import generator

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


def interchange(
    model: HookedModel,
    pair: Pair,
    site: Site,
    probes: Sequence[Probe],
    *,
    output: int = 0,
    random: int = 1,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Move each probe's component from clean to corrupt at a site with a position, and compare the
    prediction's change with the one predicted; two rows a move.

    Metric "causal slope": slope of the observed change of output `output` (at the same position) on the
    predicted one, through the origin: 1 if the network uses the direction as the algorithm does, 0 if not at
    all. Metric "missed change": squared distance of the two changes over the squared predicted change: 0 if
    they are equal, 1 if nothing moves. `correlation` is Pearson's r. Each probe comes with `random` rows of
    control "random", one a `draw`: random directions moved equally far. Where some directions are read by no later
    module, controls "seen part" and "unseen part" are the two parts of the probe moved alone. `decoded` is the squared
    correlation of what a row moves with the algorithm's predictions, `use` the verdict on the probe ("" for models
    whose weights are not laid out as ours). Intervals over prompts. Raises UserError for a site without a position,
    or algorithms that predict no change.
    """
    check_pair(pair)
    check_eval(model)
    check(site, model, pair.clean.inputs.shape[1])
    if site.position is None or site.head is not None:
        raise UserError(
            f"site {site}: moving a probe's direction needs a stream at one position, like L2.resid_post@4"
        )
    clean, corrupt = (_stream(model, batch.inputs, site) for batch in (pair.clean, pair.corrupt))
    changed = _changes(model, pair, site, output)
    seen, both = _seen(model, pair, site, output), torch.cat([clean, corrupt])
    rows = []
    for index, probe in enumerate(probes):
        expected = probe.corrupt - probe.clean
        if float(expected.abs().max()) == 0:
            raise UserError(
                f"probe {probe.name!r}: its algorithm predicts no change from clean to corrupt prompts"
            )
        values = torch.cat([probe.clean, probe.corrupt])
        move = ((corrupt - clean) @ probe.weights)[:, None] * whitened(probe.weights, both)
        moves = [("none", -1, decoded(both @ probe.weights, values), move)]
        if seen is not None and not seen.everything:
            parts = parts_of(probe.weights, seen, clean, corrupt, values)
            moves += [(f"{part.part} part", -1, part.decoded, part.move) for part in parts]
        moves += [("random", i, float("nan"), _random_move(move, seed, index, i)) for i in range(random)]
        found = []
        for control, draw, share, shift in moves:
            what = {"algorithm": probe.name, "control": control, "draw": draw, "decoded": share}
            found += [{**what, **row} for row in _compare(changed(clean + shift), expected, draws)]
        verdict = "" if seen is None else _use(found)
        rows += [{**row, "use": verdict if row["control"] != "random" else ""} for row in found]
    return pd.DataFrame(rows).assign(**site.columns())


def _seen(model: HookedModel, pair: Pair, site: Site, output: int) -> Seen | None:
    """What is read of the stream behind a site; None where that is not known."""
    first = {"resid_pre": 0, "resid_post": 1}.get(site.component)
    if first is None or site.layer is None or site.position is None:
        return None
    n_pos = pair.clean.inputs.shape[1]
    return seen_after(model, site.layer + first - 1, site.position, n_pos, [output])


def _use(rows: Sequence[dict[str, Any]]) -> Use:
    """The verdict from the rows of a probe: of the part that is read, or of the whole where everything is read."""
    own = [row for row in rows if row["control"] == "none"]
    inside = [row for row in rows if row["control"] == "seen part"] or own
    slope, missed = (Interval(r["value"], r["ci_low"], r["ci_high"], r["n"], "bootstrap") for r in inside)
    return use_of(own[0]["decoded"], inside[0]["decoded"], slope, missed)


def _changes(model: HookedModel, pair: Pair, site: Site, output: int) -> Callable[[Tensor], Tensor]:
    """Change of the clean prompts' output when the site takes a value; by the fast engine where there is one."""
    assert site.position is not None
    position = site.position
    inputs = pair.clean.inputs
    if model.config.kind != "transformer":
        with torch.no_grad():
            base = model(inputs)[:, position, output]
        return lambda value: intervene(model, inputs, [(site, value)])[0][:, position, output].detach() - base
    engine = FastEngine(model, inputs, custom("output", lambda out: out[:, position, output], (position,)))
    hook = site.hook(model.config.n_layers)

    def changed(value: Tensor) -> Tensor:
        whole = engine.cache_of(site).clone()
        whole[:, position] = value
        return engine.values([site], {hook: whole})[0] - engine.base_value

    return changed


def _stream(model: HookedModel, inputs: Tensor, site: Site) -> Float[Tensor, "batch d_model"]:
    hook = site.hook(model.config.n_layers)
    with torch.no_grad():
        return site.read(model.run_with_cache(inputs, names_filter=hook, return_cache_object=False)[1][hook])


def _random_move(
    move: Float[Tensor, "batch d_model"], seed: int, index: int, draw: int
) -> Float[Tensor, "batch d_model"]:
    source = generator(seed, f"random direction {index}", draw)
    direction = torch.randn(move.shape[1], generator=source).to(move)
    return move.norm(dim=1, keepdim=True) * direction / direction.norm()


def _compare(
    change: Float[Tensor, "batch"], expected: Float[Tensor, "batch"], draws: int
) -> list[dict[str, Any]]:
    change, expected = change.double(), expected.double()
    parts = torch.stack([change * expected, (change - expected) ** 2, expected**2], 1)
    found = bootstrap(parts, lambda m: m[:, :2] / m[:, 2:], draws=draws)
    a, b = change - change.mean(), expected - expected.mean()
    size = float(a.norm() * b.norm())
    shared = {"correlation": float(a @ b) / size if size else 0.0}
    units = ("observed / predicted change", "share of the predicted change")
    return [
        {"metric": metric, **found[i].row(), "unit": unit, **shared}
        for i, (metric, unit) in enumerate(zip(("causal slope", "missed change"), units, strict=True))
    ]


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
