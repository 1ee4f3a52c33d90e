"""This project's figures on the net and prompts that the peers were given, beside theirs, edge by edge.

A row says what was compared, how many numbers, the largest difference and what it is held against: where both define
the same number a tolerance (TOLERANCE of the largest one, unless the row says another), where they do not, why.
`python -m tests.peers.run` writes the rows to `measured.md` with versions and day.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from interp.causal.attribution import attribute_edges, attribute_sites
from interp.causal.edge_effects import exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.patching import run_patches
from interp.hooks.sites import Site
from interp.landscape.langevin import chain, model_slopes
from probes.stats import student
from tasks.streams import generator
from tests.peers.material import LLC, LOSSES, SIZE, Material

TOLERANCE = 1e-5
Scores = dict[Edge, float]


class Row(BaseModel):
    """One comparison. `apart`: largest difference; `size`: the largest number compared (edges kept: edges on which both
    differ, and all edges); `holds`: whether it is within `tolerance` of it, None where the two define other numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peer: str
    what: str
    numbers: int
    apart: float
    size: float
    tolerance: float
    holds: bool | None
    note: str = ""

    @property
    def cells(self) -> list[str]:
        """As the page has it."""
        verdict = {True: "yes", False: "**no**", None: "by definition not"}[self.holds]
        apart = f"{self.apart:.2g} of {self.size:.3g}"
        held = "" if self.holds is None else f"{self.tolerance:.2g}"
        return [self.peer, self.what, str(self.numbers), apart, held, verdict, self.note]

    @property
    def other(self) -> Row:
        """The same where the two do not define the same number: nothing is held."""
        return self.model_copy(update={"holds": None})


def read(folder: Path, peer: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Facts and arrays that a peer wrote. Raises FileNotFoundError where it has not run."""
    with np.load(folder / f"{peer}.npz") as file:
        return json.loads((folder / f"{peer}.json").read_text()), {n: file[n] for n in file.files}


def by_edge(arrays: dict[str, np.ndarray], name: str) -> Scores:
    """Scores that a peer wrote, by edge."""
    named = (tuple(edge.split(" -> ")) for edge in arrays[f"{name}/edges"].tolist())
    return dict(zip(named, arrays[f"{name}/values"].tolist(), strict=True))  # type: ignore[arg-type]


def edges_row(peer: str, what: str, theirs: Scores, ours: Scores, note: str = "") -> Row:
    """Scores of every edge. Raises ValueError where the two do not have the same edges."""
    if set(theirs) != set(ours):
        raise ValueError(f"{peer}, {what}: edges differ: {sorted(set(theirs) ^ set(ours))[:4]}")
    return numbers_row(peer, what, [theirs[e] for e in ours], list(ours.values()), note)


def numbers_row(
    peer: str, what: str, theirs: Any, ours: Any, note: str = "", tolerance: float = TOLERANCE
) -> Row:
    """Numbers in the same order."""
    a, b = np.asarray(theirs, dtype=float).ravel(), np.asarray(ours, dtype=float).ravel()
    apart, size = float(np.abs(a - b).max()), float(np.abs(b).max())
    return Row(peer=peer, what=what, numbers=len(b), apart=apart, size=size, tolerance=tolerance,
               holds=apart <= tolerance * size, note=note)  # fmt: skip


def kept_row(peer: str, what: str, theirs: set[Edge], ours: set[Edge], among: int, note: str = "") -> Row:
    """Edges kept: how many are in one circuit alone."""
    apart = len(theirs ^ ours)
    said = f"{len(theirs)} and {len(ours)} edges kept" + (f"; {note}" if note else "")
    return Row(
        peer=peer,
        what=what,
        numbers=among,
        apart=apart,
        size=among,
        tolerance=0.0,
        holds=apart == 0,
        note=said,
    )


def estimates(at: Material, steps: int) -> Scores:
    """EAP (0 steps) or EAP-IG of every edge, mean over prompts."""
    clean, other = at.pair.clean.inputs, at.pair.corrupt.inputs
    return attribute_edges(at.model, clean, other, at.metric, ig_steps=steps).means()


def auto_circuit(at: Material, folder: Path) -> list[Row]:
    """EAP; ACDC, its decisions repeated with this project's runs in its own order; single effects beside it."""
    name = "auto-circuit"
    _, arrays = read(folder, "auto_circuit")
    rows = [edges_row(name, "EAP", by_edge(arrays, "eap"), estimates(at, 0))]
    runs = EdgeRuns(at.model, at.pair.clean.inputs, at.pair.corrupt.inputs)
    single = single_distances(at, runs)
    for key in (key for key in arrays if key.startswith("acdc/") and key.endswith("/edges")):
        key = key.removesuffix("/edges")
        tau, visited = float(key.removeprefix("acdc/")), by_edge(arrays, key)
        theirs = {edge for edge, kept in visited.items() if kept}
        rows.append(kept_row(name, f"ACDC, tau {tau:g}, in its order", theirs, acdc(at, runs, list(visited), tau),
                             len(visited)))  # fmt: skip
        alone = {edge for edge, value in single.items() if value >= tau}
        what = f"ACDC, tau {tau:g}, against single exact effects"
        rows.append(kept_row(name, what, theirs, alone, len(visited), WHY_ACDC).other)
    return rows


WHY_ACDC = (
    "not the same circuit by definition: ACDC asks what an edge adds once others are gone, from the output down, and "
    "adds up to tau for every edge that goes; a single effect is asked while all others stay"
)


WHY_POINTS = "its 8 points begin at the corrupt end and leave the clean one out; this project's are midpoints"


def distance(at: Material, outputs: torch.Tensor, clean: torch.Tensor) -> float:
    """Mean square distance to the clean outputs at the last position."""
    (last,) = at.metric.positions
    return float((outputs[:, last] - clean[:, last]).pow(2).mean())


def acdc(at: Material, runs: EdgeRuns, order: list[Edge], tau: float) -> set[Edge]:
    """What ACDC (Conmy et al., arXiv 2304.14997) keeps: an edge goes if the distance rises by less than tau."""
    kept, before = set(runs.known), 0.0
    clean = runs.outputs(kept)
    for edge in order:
        after = distance(at, runs.outputs(kept - {edge}), clean)
        if after - before < tau:
            kept.remove(edge)
            before = after
    return kept


def single_distances(at: Material, runs: EdgeRuns) -> Scores:
    """Distance of the outputs when each edge alone carries the corrupt prompts."""
    clean = runs.outputs(runs.known)
    return {edge: distance(at, runs.outputs(runs.known - {edge}), clean) for edge in runs.order}


def eap_ig(at: Material, folder: Path) -> list[Row]:
    """EAP, EAP-IG and exact effects. Its rule takes k / n of the way, k from 0; this project's (k + 1/2) / n."""
    name = "EAP-IG"
    _, arrays = read(folder, "eap_ig")
    few, many = by_edge(arrays, "eap-ig/8"), by_edge(arrays, "eap-ig/16")
    midpoint = {edge: 2 * many[edge] - few[edge] for edge in few}
    clean, other = at.pair.clean.inputs, at.pair.corrupt.inputs
    exact = exact_edges(at.model, clean, other, at.metric).means()
    ours = estimates(at, 8)
    return [
        edges_row(name, "EAP", by_edge(arrays, "eap"), estimates(at, 0)),
        edges_row(name, "EAP-IG, midpoints of 8 steps (theirs: twice 16 steps less 8)", midpoint, ours),
        edges_row(name, "EAP-IG, 8 steps of each as it is", few, ours, WHY_POINTS).other,
        edges_row(name, "exact effects of single edges", by_edge(arrays, "exact"), exact),
    ]


def transformer_lens(at: Material, folder: Path) -> list[Row]:
    """Attribution patching and exact patches of the corrupt run, site by site."""
    name = "TransformerLens"
    _, arrays = read(folder, "transformer_lens")
    layers, heads = at.model.config.n_layers, at.model.config.n_heads
    positions = at.pair.clean.inputs.shape[1]
    sites = {
        "resid_pre": [
            Site("resid_pre", layer, position=p) for layer in range(layers) for p in range(positions)
        ],
        "z": [Site("z", layer, head) for layer in range(layers) for head in range(heads)],
        "mlp_out": [Site("mlp_out", layer, position=p) for layer in range(layers) for p in range(positions)],
    }
    rows = []
    for part, own in sites.items():
        found = attribute_sites(at.model, at.pair, own, at.metric).mean(1)
        rows.append(numbers_row(name, f"attribution patching, {part}", arrays[part], found))
    for part in ("resid_pre", "z"):
        exact = run_patches(at.model, at.pair, sites[part], at.metric, direction="denoise")
        rows.append(
            numbers_row(name, f"activation patching, {part}", arrays[f"exact/{part}"], exact.values.mean(1))
        )
    return rows


def devinterp(at: Material, folder: Path) -> list[Row]:
    """A chain without noise, step by step, and the coefficient of chains that draw their own minibatches and noise."""
    name = "devinterp"
    facts, arrays = read(folder, "devinterp")
    size = LLC["minibatch"]
    batches = [at.config.task.sample(0, "llc", k, size) for k in range(LOSSES // size)]
    slopes, start = model_slopes(at.model, at.config.task, batches)
    centre, beta_n = torch.stack([slope(start)[0] for slope in slopes]), SIZE / np.log(SIZE)
    w, losses = start.clone(), []
    for k in range(LLC["still"]):
        loss, slope = slopes[k % len(slopes)](w)
        losses.append(float(loss))
        w = w - LLC["step"] / 2 * (beta_n * slope + LLC["gamma"] * (w - start))
    settings = {key: LLC[key] for key in ("draws", "burn_in", "step", "gamma")}
    own = [
        beta_n * float(chain(slopes, start, centre, beta_n, noise=generator(0, "llc", k), **settings).mean())
        for k in range(LLC["chains"])
    ]
    theirs = facts["behind its burn-in"]
    with_it = f"with its burn-in, as it reports: {student(facts['with its burn-in']).value:.3g}"
    return [
        numbers_row(name, "loss at the weights", [facts["init_loss"]], [float(centre.mean())]),
        numbers_row(name, f"{LLC['still']} steps without noise", arrays["still"], losses),
        apart_row(name, "learning coefficient", theirs, own, with_it),
    ]  # fmt: skip


def apart_row(peer: str, what: str, theirs: list[float], ours: list[float], note: str) -> Row:
    """Two means over chains: their difference within its 95% interval (Welch, Student's t of the fewer chains)."""
    a, b = student(theirs), student(ours)
    half = float(np.hypot((a.high - a.low) / 2, (b.high - b.low) / 2))
    said = f"theirs {a.value:.3g} [{a.low:.3g}, {a.high:.3g}], ours {b.value:.3g} [{b.low:.3g}, {b.high:.3g}]; {note}"
    return Row(peer=peer, what=what, numbers=1, apart=abs(a.value - b.value), size=abs(b.value),
               tolerance=half / abs(b.value), holds=abs(a.value - b.value) <= half, note=said)  # fmt: skip
