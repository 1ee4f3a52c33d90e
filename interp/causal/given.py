"""Circuits that somebody has already: read from a file, measured as they are, and compared with a found one.

A file of edges is JSON (a list of [sender, receiver], a circuit's own document, or an object with `edges` and, where
known, `positional_edges`, those that carry places only), or text with a line `sender -> receiver` each. In a file the
sender `embed` may be given as its two parts, `token_embed` and `pos_embed`: an edge from `pos_embed` alone carries
places only. Precision is
the share of what was found that is in the known circuit, recall the share of that which was found; over nodes they
count heads and MLPs. Where nothing was found there is no precision, where nothing is to be found no recall. Edges that
carry places only are counted apart: on prompts that all have one length they carry nothing that varies.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp.causal.behaviour import NO_BEHAVIOUR, has_behaviour
from interp.causal.circuit import Circuit
from interp.causal.edge_effects import exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge, check_edges, owners, site_of
from interp.causal.metrics import metric_of
from interp.hooks.protocol import HookedModel
from tasks.base import Pair, Task
from tasks.errors import UserError

FORM = 'a line "L0H1 -> L1H0.k" an edge, or JSON with [["L0H1", "L1H0.k"], ...]'
ENDS = ("embed", "output")
POSITIONS = "pos_embed"
PARTS = {"token_embed": "embed", POSITIONS: "embed", "hook_embed": "embed"}


@dataclasses.dataclass(frozen=True)
class KnownCircuit:
    """Edges that are known, and those of them that carry places only."""

    edges: frozenset[Edge]
    positional: frozenset[Edge] = frozenset()


def known_circuit(given: Any) -> KnownCircuit:
    """A circuit from a file, from edges, or from a `Circuit`. Raises UserError for anything that is none."""
    if isinstance(given, KnownCircuit):
        return given
    if isinstance(given, Circuit):
        return KnownCircuit(frozenset(given.edges))
    if isinstance(given, str | Path):
        return read_circuit(Path(given))
    return KnownCircuit(_edges(given, "edges"))


def read_circuit(path: Path) -> KnownCircuit:
    """The edges in a file. Raises UserError for a file that is missing, or holds something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a file of edges has {FORM}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or 'no UTF-8'})"
        ) from None
    if not text.lstrip().startswith(("[", "{")):
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        return _known([line.split("->") for line in lines if line], [], str(path))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); a file of edges has {FORM}") from None
    if not isinstance(found, dict):
        return _known(found, [], str(path))
    if "edges" not in found:
        raise UserError(f"{path}: has no `edges`: a file of edges has {FORM}")
    return _known(found["edges"], found.get("positional_edges", []), str(path))


def _known(rows: Any, places: Any, where: str) -> KnownCircuit:
    """Edges as listed, with those that are listed to carry places only or start from `pos_embed` alone."""
    listed = _edges(rows, where, parts=True)
    tokens = {(PARTS.get(s, s), r) for s, r in listed if s != POSITIONS}
    positional = {("embed", r) for s, r in listed if s == POSITIONS} - tokens
    positional |= {(PARTS.get(s, s), r) for s, r in _edges(places, where, least=0, parts=True)}
    return KnownCircuit(frozenset(tokens | positional), frozenset(positional))


def _edges(rows: Any, where: str, least: int = 1, parts: bool = False) -> frozenset[Edge]:
    """Edges in the spelling of this package; with `parts` of the embedding as they are given."""
    found = set()
    if not isinstance(rows, Iterable) or isinstance(rows, str):
        raise UserError(f"{where}: expected {FORM}")
    for row in rows:
        ends = row[:2] if isinstance(row, list | tuple) and len(row) in (2, 3) else ()
        if len(ends) < 2 or not all(isinstance(end, str) for end in ends):
            raise UserError(f"{where}: {row!r} is no edge: expected {FORM}")
        sender = ends[0].strip()
        try:
            sender = sender if parts and sender in PARTS else site_of(sender).label
            found.add((sender, site_of(ends[1].strip()).label))
        except UserError as wrong:
            raise UserError(f"{where}: {wrong}") from None
    if len(found) < least:
        raise UserError(f"{where}: holds no edge: expected {FORM}")
    return frozenset(found)


def nodes(circuit: Collection[Edge]) -> frozenset[str]:
    """The heads and MLPs that an edge of the circuit starts from or leads to.

    >>> sorted(nodes([("embed", "L0H1.v"), ("L0H1", "L0.mlp_pre"), ("L0.mlp_out", "output")]))
    ['L0.mlp_out', 'L0H1']
    """
    found = {sender for sender, _ in circuit}.union(*(owners(receiver) for _, receiver in circuit))
    return frozenset(found.difference(ENDS))


def compared(found: Collection[Edge], known: KnownCircuit) -> pd.DataFrame:
    """Precision and recall of a found circuit, a row each: `value`, and `n`, what it is a share of.

    The known circuit says nothing of chance: a circuit of every edge has a recall of 1.
    """
    own, lasting = frozenset(found), known.edges - known.positional
    rows = [
        _share("edge precision", own & known.edges, own, "nothing was found"),
        _share("edge recall", own & known.edges, known.edges, "nothing is to be found"),
        _share("node precision", nodes(own) & nodes(known.edges), nodes(own), "nothing was found"),
        _share("node recall", nodes(own) & nodes(known.edges), nodes(known.edges), "nothing is to be found"),
    ]
    if known.positional:
        rows += [
            _share("edge recall, not positional", own & lasting, lasting, "nothing is to be found"),
            _share("edge recall, positional", own & known.positional, known.positional, ""),
        ]
    return pd.DataFrame(rows).assign(control="none", unit="share")


def _share(metric: str, both: Collection[Any], whole: Collection[Any], without: str) -> dict[str, Any]:
    value = len(both) / len(whole) if whole else math.nan
    return {"metric": metric, "value": value, "n": len(whole), "note": "" if whole else without}


def check_known(model: HookedModel, known: KnownCircuit) -> None:
    """Raises UserError for a circuit with an edge that the model does not have."""
    check_edges(model, known.edges)


def given_circuit(
    model: HookedModel,
    task: Task,
    edges: Collection[Edge],
    pair: Pair,
    *,
    metric: Any = "loss",
    output: str | None = None,
) -> Circuit:
    """A circuit of these edges with the single exact effect of each on a pair, as a search would give it.

    Without a behaviour (full and empty circuit not told apart) it has no edges, and its note says so. Raises UserError
    for an edge that the model does not have.
    """
    check_edges(model, edges)
    clean, other = pair.clean.inputs, pair.corrupt.inputs
    with torch.no_grad():
        measure = metric_of(task, pair, metric, output=output, clean_outputs=model(clean))
        runs = EdgeRuns(model, clean, other)
        full, empty = (measure(runs.outputs(circuit)) for circuit in (runs.known, ()))
    if not has_behaviour(full, empty, measure.name == "loss"):
        return Circuit((), (), {"note": NO_BEHAVIOUR})
    scores = exact_edges(model, clean, other, measure, only=frozenset(edges))
    gap = float((empty - full).double().mean())
    value = {edge: mean / gap for edge, mean in scores.means().items()}
    settings = {"did": f"{len(value)} edges as they were given; nothing was searched", "others": pair.kind}
    return Circuit(scores.edges, tuple(value[e] for e in scores.edges), settings)
