"""Interpretability illusions planted in nets by hand, and how often the tools see through them.

Directions (in-context regression; the stream is turned at random, so that no part is an axis):

used: a net of one to three steps of gradient descent; its iterate is what the next layer reads.
readable, unused: the same first step is written where no module reads; the net answers from all but one of the
coordinates.
dormant path: as before, and the direction tested has a second part that is read but is 0 on every prompt. Moving
along both changes the output as the iterate predicts (Makelov et al., arXiv 2311.17030).

Heads (retrieval of one to three hops, among distractor heads, seats at random):

needed: the planted heads as they are.
backup: a planted head has a copy in a free seat; the logits of one suffice.
cancel: two heads attend from the query to a link and write large random logits that sum to zero.

Each case is taken over many seeds: `found` is how often the verdict is the planted one, `wrongly used` how often a
direction or head of an illusion is called used (or needed, or of another effect); `naive` how often the plain
instrument, the direction moved whole without regard to variance, or the head's single ablation, is wrong about it.

    python -m interp.calibration.illusions [--seeds 100]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.calibration.illusion_nets import (
    DirectionNet,
    HeadNet,
    backup_heads,
    cancelling_heads,
    descending,
    dormant_path,
    needed_heads,
    unused_iterate,
)
from interp.causal.directions import Probe, interchange
from interp.causal.interventions import intervene
from interp.heads.ablation import LEAST
from interp.heads.roles import roles
from interp.hooks.sites import Site
from interp.readouts.probe_interventions import probe_interventions
from probes.algorithms import iterates
from probes.algorithms.iterates import Algorithm, Problems
from probes.rivals import Ladder
from probes.stats import shares

PROMPTS = 128


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One seed: whether the verdict is the planted one, whether an illusion is called used, and whether the plain
    instrument is wrong.
    """

    found: bool
    wrongly_used: bool
    naive: bool


def _ladder(net: DirectionNet) -> Ladder:
    """Gradient descent at the planted rate, one to three steps."""
    ks, eta = (1, 2, 3), net.rate / net.task.n
    return Ladder("gd", ks, tuple(Algorithm("gd", k, sizes={"eta": eta}) for k in ks))


def probed(net: DirectionNet, seed: int, use: str) -> Outcome:
    """The verdict of the probes that are fitted on a net at its layers, as `interp probe --causal` does."""
    table = probe_interventions(
        net.model,
        net.task,
        rivals=(_ladder(net),),
        prompts=PROMPTS,
        fit_prompts=512,
        random=0,
        seed=seed,
        draws=200,
    )
    own = table[(table["control"] == "none") & (table["metric"] == "causal slope")]
    verdicts, whole = set(own["use"]), float(own["ci_low"].max())
    return Outcome(verdicts == {use}, use != "used" and "used" in verdicts, use != "used" and whole > 0.5)


def handed(net: DirectionNet, seed: int) -> Outcome:
    """The verdict on a direction that was handed in, at the last layer (`interp.causal.directions.interchange`)."""
    pair = net.task.pair("replace-w", seed, "illusion", 0, PROMPTS)
    pair = dataclasses.replace(pair, clean=pair.clean.double(), corrupt=pair.corrupt.double())
    at, site = net.task.n, Site("resid_post", net.model.config.n_layers - 1, None, net.task.n)
    values = [_iterate(net, batch, at) for batch in (pair.clean, pair.corrupt)]
    probe = Probe("gd", net.direction, *values)
    table = interchange(net.model, pair, site, [probe], random=0, seed=seed, draws=200)
    verdicts = set(table["use"])
    return Outcome(verdicts == {"not read"}, "used" in verdicts, _plain_slope(net, pair, site, probe) > 0.5)


def _iterate(net: DirectionNet, batch: Any, at: int) -> Float[Tensor, "batch"]:
    member = _ladder(net).members[0]
    return iterates.predictions(Problems.of(batch.x, batch.y, (at,)), [member])[0, :, 0]


def _plain_slope(net: DirectionNet, pair: Any, site: Site, probe: Probe) -> float:
    """Slope of the output's change on the predicted one when the stream is moved along the direction as it stands."""
    hook = site.hook(net.model.config.n_layers)
    with torch.no_grad():
        base, clean = net.model.run_with_cache(pair.clean.inputs, names_filter=hook)
        _, corrupt = net.model.run_with_cache(pair.corrupt.inputs, names_filter=hook)
        here, there = site.read(clean[hook]), site.read(corrupt[hook])
        w = probe.weights
        moved = here + ((there - here) @ w)[:, None] * w / w.square().sum()
        out, _ = intervene(net.model, pair.clean.inputs, [(site, moved)])
    change, expected = (out - base)[:, site.position, 0], probe.corrupt - probe.clean
    return float(change @ expected / expected.square().sum())


def judged(net: HeadNet, seed: int) -> Outcome:
    """The verdicts of roles and pairs on the heads of a net, as `interp heads --view roles` gives them."""
    table = roles(net.model, net.task, prompts=PROMPTS, seed=seed)
    named = table.assign(name=[f"L{row.layer}H{row.head}" for row in table.itertuples()]).set_index("name")
    verdicts = named.loc[list(net.heads), "verdict"]
    found = bool((verdicts == net.verdict).all())
    used = net.verdict != "needed" and bool(verdicts.isin(("needed", "other")).any())
    alone = named.loc[list(net.heads), "value"] >= LEAST
    naive = alone.any() if net.verdict == "cancels" else not alone.all()
    return Outcome(found, used, bool(naive))


CASES: dict[str, tuple[str, Callable[[int], Outcome]]] = {
    "direction: used": ("used", lambda seed: probed(descending(seed), seed, "used")),
    "direction: readable, unused": ("not read", lambda seed: probed(unused_iterate(seed), seed, "not read")),
    "direction: dormant path": ("not read", lambda seed: handed(dormant_path(seed), seed)),
    "heads: needed": ("needed", lambda seed: judged(needed_heads(seed), seed)),
    "heads: backup": ("redundant", lambda seed: judged(backup_heads(seed), seed)),
    "heads: cancel": ("cancels", lambda seed: judged(cancelling_heads(seed), seed)),
}


def measured(seeds: int) -> pd.DataFrame:
    """One row a case, with counts over seeds and the 95% interval of the share found."""
    rows = []
    for case, (verdict, once) in CASES.items():
        outcomes = [once(seed) for seed in range(seeds)]
        found = torch.tensor([float(o.found) for o in outcomes])
        rows.append({
            "case": case, "planted": verdict, "seeds": seeds, "found": int(found.sum()), **shares(found).one().row(),
            "wrongly used": sum(o.wrongly_used for o in outcomes), "naive": sum(o.naive for o in outcomes),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(measured(asked.seeds).to_string(index=False, float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    main()
