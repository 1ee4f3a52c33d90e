"""Compiled programs by arithmetic of their own: every edge replaced by brute force, other bases, distractor heads.

Shares nothing with the package but the names of edges: attention and ReLU MLPs without norms and biases, written out.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

Weights = dict[str, Tensor]


class Plain:
    """A compiled net on some tokens, in which one receiver may read something else from one sender."""

    def __init__(self, weights: Weights, settings: dict):
        self.w = {name: value.double() for name, value in weights.items()}
        self.s = settings

    def _heads(self, layer: int, name: str) -> Tensor:
        return self.w[f"blocks.{layer}.attn.{name}"].unflatten(1, (self.s["n_heads"], self.s["d_head"]))

    def run(
        self, tokens: Tensor, edge=None, instead: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs, and what every sender writes. With `edge` its receiver reads `instead` from its sender."""
        out = {"embed": self.w["token_embed.W_E"][tokens] + self.w["positions.W_pos"][: tokens.shape[1]]}

        def read(receiver: str) -> Tensor:
            stream = sum(out.values())
            return stream if edge is None or edge[1] != receiver else stream - out[edge[0]] + instead

        for layer in range(self.s["n_layers"]):
            written = {}
            for head in range(self.s["n_heads"]):
                q, k, v = (
                    torch.einsum(
                        "bpd,dk->bpk", read(f"L{layer}H{head}.{c}"), self._heads(layer, f"w_{c}")[:, head]
                    )
                    for c in "qkv"
                )
                scores = q @ k.transpose(1, 2) / math.sqrt(self.s["d_head"])
                if self.s["mask"] == "causal":
                    scores = scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), -math.inf)
                w_o = self.w[f"blocks.{layer}.attn.w_o"].unflatten(0, (self.s["n_heads"], self.s["d_head"]))[
                    head
                ]
                written[f"L{layer}H{head}"] = scores.softmax(-1) @ v @ w_o
            out |= written
            hidden = (read(f"L{layer}.mlp_pre") @ self.w[f"blocks.{layer}.mlp.W_in"]).relu()
            out[f"L{layer}.mlp_out"] = hidden @ self.w[f"blocks.{layer}.mlp.W_out"]
        return read("output") @ self.w["W_U"], out


def moving_edges(
    weights: Weights, settings: dict, edges, clean: Tensor, other: Tensor, counted: Tensor
) -> set:
    """The edges whose single exact replacement moves some prompt's counted output by more than 1e-5."""
    net = Plain(weights, settings)
    whole, _ = net.run(clean)
    _, there = net.run(other)
    moved = {edge: (net.run(clean, edge, there[edge[0]])[0] - whole).abs().amax(-1) for edge in edges}
    return {edge for edge, change in moved.items() if float((change * counted).max()) > 1e-5}


def turned(weights: Weights, width: int, seed: int = 0) -> Weights:
    """The same net in another orthonormal basis of its stream."""
    basis = torch.linalg.qr(
        torch.randn(width, width, generator=torch.Generator().manual_seed(seed)).double()
    ).Q
    found = {}
    for name, value in weights.items():
        writes = name.endswith(("w_o", "W_out", "W_E", "W_pos"))
        found[name] = (value.double() @ basis if writes else basis.T @ value.double()).to(value.dtype)
    return found


def distracted(weights: Weights, settings: dict, heads: int, seed: int = 0) -> tuple[Weights, dict]:
    """The same net with `heads` heads more in all, which read the stream and write where nobody reads."""
    source, sink = torch.Generator().manual_seed(seed), 8
    layers, own, width = settings["n_layers"], settings["n_heads"], settings["d_head"]
    more = -(-heads // layers)
    found = {}
    for name, value in weights.items():
        writes = name.endswith(("w_o", "W_out", "W_E", "W_pos"))
        found[name] = torch.nn.functional.pad(value, (0, sink) if writes else (0, 0, 0, sink))
    for layer in range(layers):
        for part in ("w_q", "w_k", "w_v"):
            name = f"blocks.{layer}.attn.{part}"
            drawn = torch.randn(found[name].shape[0], more * width, generator=source)
            drawn[-sink:] = 0
            found[name] = torch.cat([found[name], drawn], 1)
        name = f"blocks.{layer}.attn.w_o"
        rows = torch.zeros(more * width, found[name].shape[1])
        rows[:, -sink:] = torch.randn(more * width, sink, generator=source)
        found[name] = torch.cat([found[name], rows], 0)
    return found, {**settings, "n_heads": own + more, "d_model": settings["d_model"] + sink}


def area(scores: dict, truth: set) -> float:
    """Area under the precision-recall curve (average precision); edges of equal score count as one step."""
    found = hits = 0
    total = Fraction()  # of counts, so that a perfect order has exactly 1
    for value in sorted(set(scores.values()), reverse=True):
        step = [edge for edge, score in scores.items() if score == value]
        new = len(truth.intersection(step))
        found, hits = found + len(step), hits + new
        total += Fraction(new * hits, len(truth) * found)
    return float(total)
