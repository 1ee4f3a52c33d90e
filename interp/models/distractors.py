"""Distractor heads of hand-constructed models: they attend strongly and write as much as the planted ones, unread.

A distractor head matches one slot with itself by large random scores and writes unit vectors into the slot "sink",
which no head and no readout reads. A quarter of them read a slot of the task, the others features of the tokens
("junk") that they alone read. Their writes are scaled to the planted heads' median norm, measured on prompts of the
task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.constructed_weights import build_constructed
from interp.models.construction import Construction, Copy, Head, PlantedCircuit, PlantedMatch
from interp.models.transformer import HookedTransformer
from tasks.base import Task

JUNK = 12  # width of the token features that distractors alone read, and of the slot that they write
TASK_SHARE = 0.25  # share of the distractors that read the task's own tokens


def build_with_distractors(
    construction: Construction,
    task: Task,
    n_layers: int,
    distractors: int,
    strengths: Mapping[str, float],
    seed: int,
    **settings: Any,
) -> tuple[HookedTransformer, PlantedCircuit]:
    """A hand-constructed model with `distractors` distractor heads added. `strengths`: size of their scores on the
    task's slot and on "junk", in this order. `settings` as in `build_constructed`.
    """
    extra = _distractor_heads(distractors, n_layers, construction, strengths, seed)
    construction = dataclasses.replace(construction, heads=[*construction.heads, *extra])
    model, circuit = build_constructed(construction, task.interface, n_layers, seed, **settings)
    if distractors:
        norms = head_norms(model, task)
        target = torch.cat([norms[head] for head in circuit.heads]).median()
        with torch.no_grad():
            for head in circuit.distractors:
                layer, seat = (int(part) for part in head[1:].split("H"))
                model.typed_blocks()[layer].attn.W_O[seat] *= target / norms[head].median()
    return model, circuit


def _distractor_heads(
    count: int, n_layers: int, construction: Construction, strengths: Mapping[str, float], seed: int
) -> list[Head]:
    source = torch.Generator().manual_seed(seed + 1)
    task_slot, other = strengths
    heads = []
    for index in range(count):
        slot = task_slot if index < round(TASK_SHARE * count) else other
        width = construction.slots[slot]
        scores = strengths[slot] * torch.randn(width, width, generator=source)
        written = torch.randn(width, JUNK, generator=source)
        written = torch.linalg.qr(written).Q if width == JUNK else written / written.norm(dim=1, keepdim=True)
        match, copy = PlantedMatch(slot, slot, scores), Copy(slot, "sink", written)
        heads.append(Head(index % n_layers, f"distractor on {slot}", (match,), (copy,), planted=False))
    return heads


def codes(count: int, seed: int) -> Float[Tensor, "count junk"]:
    """A unit vector for each symbol or coordinate: the features that distractor heads read."""
    drawn = torch.randn(count, JUNK, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=1, keepdim=True)


def head_norms(model: HookedTransformer, task: Task) -> dict[str, Float[Tensor, "position"]]:
    """Norm of what each head writes, at every position of 64 prompts."""
    with torch.no_grad():
        batch = task.sample(0, "wired norms", 0, 64)
        _, cache = model.run_with_cache(batch.inputs, names_filter=lambda name: name.endswith("hook_z"))
        norms = {}
        for layer, block in enumerate(model.typed_blocks()):
            z = cache[f"blocks.{layer}.attn.hook_z"]
            written = torch.einsum("bphk,hkd->hbpd", z, block.attn.W_O).norm(dim=-1).flatten(1)
            norms |= {f"L{layer}H{head}": row for head, row in enumerate(written)}
    return norms
