"""What a view draws, as plain numbers and words: JSON of a pane, rounded, with None where there is no value."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interp.explore.change import ARROW
from interp.explore.pane import Pane
from interp.pictures.labels import relation_label

MOST_TOKENS = 96  # of an attention map; of a longer prompt the last ones
DIGITS = 4
Attention = dict[str, Float[Tensor, "1 head dest source"]]


def number(value: Any) -> float | None:
    """A number that JSON has: rounded, None for what is not finite."""
    return round(float(value), DIGITS) if value is not None and math.isfinite(value) else None


def drawn_pane(pane: Pane, parts: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Scores, effects and the circuit of one pane."""
    circuit, model = pane.circuit(), pane.net.config
    if pane.step not in pane.drawn_scores:
        pane.drawn_scores[pane.step] = _scores(parts["heads"])
    return {
        "title": f"{pane.run.name}, step {pane.step:,}",
        "step": pane.step,
        "layers": int(model.n_layers),
        "heads": int(model.n_heads),
        "scores": pane.drawn_scores[pane.step],
        "effects": [_row(row) for row in parts["effects"].to_dict("records")],
        "downstream": [
            {"head": head, "value": number(value)}
            for head, value in zip(parts["attention"]["head"], parts["attention"]["change"], strict=True)
        ],
        "circuit": [_edge(row) for row in circuit.to_dict("records")],
        "circuit_words": pane.circuit_words(circuit),
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else number(value) for name, value in row.items()}


def _edge(row: dict[str, Any]) -> dict[str, Any]:
    ends = {
        "label": f"{row['sender']}{ARROW}{row['receiver']}",
        "sender": row["sender"],
        "receiver": row["receiver"],
    }
    return {**ends, **{name: number(row.get(name)) for name in ("value", "ci_low", "ci_high")}}


def _scores(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a relation: its chance level, and value and interval of every head."""
    if table.empty:
        return []
    found = []
    for name, rows in table.groupby("metric", sort=False):
        own = rows[rows["control"] == "none"]
        uniform = rows.loc[rows["control"] == "uniform", "value"]
        cells = {
            f"L{int(row['layer'])}H{int(row['head'])}": [
                number(row[part]) for part in ("value", "ci_low", "ci_high")
            ]
            for row in own.to_dict("records")
        }
        chance = number(uniform.iloc[0]) if len(uniform) else None
        shown = {"relation": relation_label(str(name)), "chance": chance, "unit": _first(own["unit"])}
        found.append({**shown, "cells": cells})
    return [each for each in found if each["cells"]]


def _first(values: pd.Series) -> str:
    return str(values.iloc[0]) if len(values) else ""


def drawn_attention(
    chosen: Any, heads: pd.DataFrame, before: Attention, after: Attention | None, moved: dict[str, float]
) -> list[dict[str, Any]]:
    """Attention maps: of the head that was selected last, and of the one asked for, or whose attention changed most."""
    there = [f"L{layer}H{head}" for layer, size in _sizes(before).items() for head in range(size)]
    if not there:
        return []
    picked = [label for label in chosen.selected if label in there][-1:]
    asked = [chosen.head] if chosen.head in there else []
    moving = max(moved, key=lambda label: moved[label]) if moved and max(moved.values()) > 0 else None
    found: list[tuple[str, str, Attention | None]] = [
        (label, "selected", None) for label in picked if label not in asked
    ]
    if asked:
        found.append((asked[0], "chosen", after))
    elif after is not None:
        found += [(moving, "its attention changed most", after)] if moving else []
    if not found:
        found = [(_strongest(heads) or there[0], "the highest score", after)]
    return [_map(label, why, before, now) for label, why, now in found]


def _sizes(patterns: Attention) -> dict[int, int]:
    return {int(name.split(".")[1]): pattern.shape[1] for name, pattern in patterns.items()}


def _strongest(heads: pd.DataFrame) -> str | None:
    own = heads[heads["control"] == "none"] if len(heads) else heads
    if own.empty or own["value"].isna().all():
        return None
    best = own.loc[own["value"].idxmax()]
    return f"L{int(best['layer'])}H{int(best['head'])}"


def _map(label: str, why: str, before: Attention, after: Attention | None) -> dict[str, Any]:
    layer, _, head = label[1:].partition("H")
    name = f"blocks.{layer}.attn.hook_pattern"
    runs = {"before": before[name], "after": None if after is None else after[name]}
    maps = {key: None if run is None else _cells(run[0, int(head)]) for key, run in runs.items()}
    return {"head": label, "why": why, "first": max(0, before[name].shape[-1] - MOST_TOKENS), **maps}


def _cells(pattern: Float[Tensor, "dest source"]) -> list[list[float]]:
    return [[round(v, 3) for v in row] for row in pattern[-MOST_TOKENS:, -MOST_TOKENS:].tolist()]
