"""Nets by hand in which a direction or a head is not what it seems; `interp.calibration.illusions` describes each.

Every net is drawn from a seed: rates, the coordinates answered from, number of hops, seats of the heads, and, for
directions, an orthogonal change of the stream's basis, which changes no output.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.constructed import ConstructedModel, constructed_retrieval
from interp.models.constructed_algorithms import constructed_gradient_descent
from interp.models.constructed_weights import build_constructed
from interp.models.construction import Construction, Copy, Head, PlantedMatch
from interp.models.transformer import HookedTransformer
from tasks.base import Task
from tasks.regression import InContextRegression
from tasks.streams import generator

D, N = 4, 16
DISTRACTORS = 6
LOUD = 30.0  # logits of a head that cancels another


@dataclasses.dataclass(frozen=True)
class DirectionNet:
    """A regression net, the rate of the descent step it holds, and the direction to test (of its stream)."""

    model: HookedTransformer
    task: InContextRegression
    rate: float
    direction: Float[Tensor, "d_model"]


@dataclasses.dataclass(frozen=True)
class HeadNet:
    """A retrieval net, the heads in question, and what they are."""

    model: HookedTransformer
    task: Task
    heads: tuple[str, ...]
    verdict: str


def descending(seed: int) -> DirectionNet:
    """One to three steps of gradient descent; every layer's iterate is used."""
    steps, rate = 1 + seed % 3, _rate(seed)
    model, _ = constructed_gradient_descent([rate] * steps, D, N, seed=seed)
    turn = turned(model, seed)
    return DirectionNet(model, _task(), rate, turn[D])


def unused_iterate(seed: int) -> DirectionNet:
    """The first iterate stands in a slot that nobody reads; the answer comes from all but one coordinate."""
    return _beside(seed)


def dormant_path(seed: int) -> DirectionNet:
    """As `unused_iterate`, with the readout also of a slot that is always 0; the direction is of both slots."""
    return _beside(seed)


def _beside(seed: int) -> DirectionNet:
    rate, some = _rate(seed), torch.ones(D)
    some[int(torch.randint(D, (), generator=generator(seed, "left out", 0)))] = 0.0
    match = PlantedMatch("x", "x", torch.eye(D))
    masked = PlantedMatch("x", "x", torch.diag(some))
    step = torch.tensor([[rate]])
    plan = Construction(
        slots={"x": D, "label": 1, "unread": 1, "answer": 1, "dormant": 1},
        tables={"token_embed.W_E": {"x": torch.eye(D + 1)[:, :D], "label": torch.eye(D + 1)[:, D:]}},
        heads=[
            Head(0, "iterate", (match,), (Copy("label", "unread", step),)),
            Head(0, "answer", (masked,), (Copy("label", "answer", step),)),
        ],
        readout=[("answer", torch.ones(1, 1)), ("dormant", torch.full((1, 1), 2.0))],
    )
    task = _task()
    model, _ = build_constructed(
        plan, task.interface, 1, seed, attention="linear", mask="full", mask_query=True, positions="none",
        dtype="float64",
    )  # fmt: skip
    turn = turned(model, seed)
    return DirectionNet(model, task, rate, turn[plan.span("unread")][0] + turn[plan.span("dormant")][0])


def _task() -> InContextRegression:
    return InContextRegression(d=D, n=N, layout="merged")


def _rate(seed: int) -> float:
    return 0.2 + 0.3 * float(torch.rand((), generator=generator(seed, "rate", 0)))


def turned(model: HookedTransformer, seed: int) -> Float[Tensor, "d_model d_model"]:
    """Turn a net's stream at random, in place; row i of the matrix is where axis i went. Outputs stay as they are."""
    width = model.config.d_model
    drawn = torch.randn(width, width, generator=generator(seed, "turn", 0), dtype=torch.float64)
    turn = torch.linalg.qr(drawn).Q.to(model.W_U)
    with torch.no_grad():
        reads: list[Any] = [model.W_U]
        for block in model.typed_blocks():
            reads += [block.attn.w_q, block.attn.w_k, block.attn.w_v]
            block.attn.w_o.copy_(block.attn.w_o @ turn)
        for weight in reads:
            weight.copy_(turn.T @ weight)
        model.token_embed.W_E.copy_(model.token_embed.W_E @ turn)
    return turn


def _retrieval(seed: int) -> ConstructedModel:
    return constructed_retrieval(
        1 + seed % 3, "chain", vocab=16, chains=3, distractors=DISTRACTORS, seed=seed
    )


def needed_heads(seed: int) -> HeadNet:
    """The planted heads of a retrieval net."""
    net = _retrieval(seed)
    return HeadNet(net.model, net.task, tuple(sorted(net.circuit.heads)), "needed")


def backup_heads(seed: int) -> HeadNet:
    """The head of the last hop and a copy of it in the place of a distractor head."""
    net = _retrieval(seed)
    last = max(net.circuit.heads)
    layer, seat = _place(last)
    (free, *_) = _others(net, layer)
    attn = net.model.typed_blocks()[layer].attn
    with torch.no_grad():
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            getattr(attn, name)[free] = getattr(attn, name)[seat]
    return HeadNet(net.model, net.task, (last, f"L{layer}H{free}"), "redundant")


def cancelling_heads(seed: int) -> HeadNet:
    """Two distractor heads of the last layer turned to the last hop's link; they write opposite random logits."""
    net = _retrieval(seed)
    layer, seat = _place(max(net.circuit.heads))
    a, b = _others(net, layer)[:2]
    attn = net.model.typed_blocks()[layer].attn
    with torch.no_grad():
        for name in ("W_Q", "W_K", "W_V"):
            getattr(attn, name)[[a, b]] = getattr(attn, name)[seat]
        written = attn.W_O[seat]
        mixed = torch.randn(
            len(written), len(written), generator=generator(seed, "noise", 0), dtype=torch.float64
        )
        attn.W_O[a] = LOUD / 20 * mixed.to(written) @ written
        attn.W_O[b] = -attn.W_O[a]
    return HeadNet(net.model, net.task, (f"L{layer}H{a}", f"L{layer}H{b}"), "cancels")


def _place(head: str) -> tuple[int, int]:
    layer, seat = head[1:].split("H")
    return int(layer), int(seat)


def _others(net: ConstructedModel, layer: int) -> list[int]:
    """Seats of a layer without a planted head."""
    planted = {_place(head) for head in net.circuit.heads}
    return [h for h in range(net.model.config.n_heads) if (layer, h) not in planted]
