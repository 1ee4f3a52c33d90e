"""Nets of odd shape, as others might write them: one class by settings, small and untrained."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, CONTEXT, WIDTH = 13, 8, 20


class RMS(nn.Module):
    """A norm with a learned gain around 1, which does not take the mean away and is not called RMSNorm."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.gain)


class ScaleNorm(nn.Module):
    """One learned number times the direction of the stream."""

    def __init__(self, width: int):
        super().__init__()
        self.g = nn.Parameter(torch.tensor(float(width) ** 0.5))

    def forward(self, x):
        return self.g * x / x.norm(dim=-1, keepdim=True).clamp_min(1e-5)


NORMS = {"layer": nn.LayerNorm, "rms": RMS, "scale": ScaleNorm, "none": lambda width: nn.Identity()}


class Attention(nn.Module):
    """Heads of any width, biases on some of the maps, torch's kernel or a softmax by hand in several layouts."""

    def __init__(self, heads=3, width=7, bias=(True, False, True, False), way="sdpa", scale=None):
        super().__init__()
        self.heads, self.width, self.way, self.scale = heads, width, way, scale
        inner = heads * width
        self.wq, self.wk, self.wv = (nn.Linear(WIDTH, inner, bias=b) for b in bias[:3])
        self.wo = nn.Linear(inner, WIDTH, bias=bias[3])

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (
            m(x).view(B, T, self.heads, self.width).transpose(1, 2) for m in (self.wq, self.wk, self.wv)
        )
        if self.way == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        elif self.way == "flat":
            q, k, v = (t.reshape(B * self.heads, T, self.width) for t in (q, k, v))
            scores = torch.bmm(q, k.transpose(1, 2)) / self.width**0.5
            hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
            y = torch.bmm(scores.masked_fill(hidden, -1e9).softmax(-1), v).view(B, self.heads, T, self.width)
        elif self.way == "one by one":
            hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
            parts = [
                (q[:, h] @ k[:, h].transpose(1, 2)).masked_fill(hidden, -torch.inf).softmax(-1) @ v[:, h]
                for h in range(self.heads)
            ]
            y = torch.stack(parts, 1)
        elif self.way == "linear":
            y = (q @ k.transpose(-1, -2)).tril() @ v / T
        else:
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * 0.4
            distance = torch.arange(T)[:, None] - torch.arange(T)
            scores = scores - 0.1 * distance.clamp(min=0)
            y = F.softmax(scores.masked_fill(distance < 0, float("-inf")), dim=-1) @ v
        return self.wo(y.transpose(1, 2).reshape(B, T, -1))


class Feed(nn.Module):
    """An MLP as a sequence, gated, or whatever is inside."""

    def __init__(self, gated=False, bias=(False, True)):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 30, bias=bias[0]), nn.Linear(30, WIDTH, bias=bias[1])
        self.gate = nn.Linear(WIDTH, 30, bias=False) if gated else None

    def forward(self, x):
        return self.down(self.up(x) * F.silu(self.gate(x)) if self.gate is not None else F.relu(self.up(x)))


class Mixture(nn.Module):
    """Two experts and a router: no maps that a layout could name."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, 2)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def forward(self, x):
        weight = self.router(x).softmax(-1)
        return sum(weight[..., i : i + 1] * e(x).tanh() for i, e in enumerate(self.experts))


class OddBlock(nn.Module):
    def __init__(self, norm="layer", form="pre", attention=None, feed=None, bare=False):
        super().__init__()
        self.form = form
        self.n1, self.n2 = NORMS[norm](WIDTH), NORMS[norm](WIDTH)
        self.att = Attention(**(attention or {}))
        self.ff = None if bare else (feed or Feed)()
        self.gamma = nn.Parameter(torch.full((WIDTH,), 0.5)) if form == "scaled" else None

    def forward(self, x):
        if self.form == "parallel":
            h = self.n1(x)
            return x + self.att(h) + self.ff(h)
        if self.form == "post":
            x = self.n1(x + self.att(x))
            return self.n2(x + self.ff(x))
        if self.form == "sandwich":
            x = x + self.n1(self.att(x))
            return x + self.n2(self.ff(x))
        if self.form == "scaled":
            x = x + self.gamma * self.att(self.n1(x))
            return x + self.gamma * self.ff(self.n2(x))
        x = x + self.att(self.n1(x))
        return x if self.ff is None else x + self.ff(self.n2(x))


class Odd(nn.Module):
    """Tokens, some blocks, and an unembedding that is a map, the embedding inside, or nothing."""

    def __init__(
        self, final="layer", head="map", positions="learned", blocks=2, shared=False, looped=1, turned=False,
        start=False, scale=1.0, pooled=False, different=False, **block,
    ):  # fmt: skip
        super().__init__()
        self.tok = nn.Embedding(VOCABULARY, WIDTH)
        self.pos = nn.Parameter(torch.zeros(CONTEXT, WIDTH)) if positions == "learned" else None
        made = [OddBlock(**block) for _ in range(blocks)]
        if different:
            made[0] = OddBlock(**{**block, "attention": {"heads": 2}})
        self.layers = nn.ModuleList(made[:1] * blocks if shared else made)
        self.last = NORMS[final](WIDTH) if final != "none" else None
        self.out = nn.Linear(WIDTH, VOCABULARY, bias=True) if head == "map" else None
        self.head, self.looped, self.turned, self.scale, self.pooled = head, looped, turned, scale, pooled
        self.start = nn.Parameter(torch.zeros(WIDTH)) if start else None

    def forward(self, ids):
        x = self.tok(ids) * self.scale
        x = x if self.pos is None else x + self.pos[: ids.shape[1]]
        if self.start is not None:
            x = torch.cat([self.start.expand(len(x), 1, -1), x], 1)
        x = x.transpose(0, 1) if self.turned else x
        for layer in self.layers:
            for _ in range(self.looped):
                x = layer(x)
        x = x.transpose(0, 1) if self.turned else x
        x = x if self.last is None else self.last(x)
        x = x.mean(1) if self.pooled else x
        if self.head == "tied":
            return F.linear(x, self.tok.weight)
        return x if self.out is None else self.out(x)


LAYOUT = {
    "blocks": "layers", "embed": "tok", "norm_final": "last", "unembed": "out", "attention": "att",
    "qkv": ["att.wq", "att.wk", "att.wv"], "out": "att.wo", "norm1": "n1", "norm2": "n2", "mlp": "ff",
    "mlp_in": "ff.up", "mlp_out": "ff.down",
}  # fmt: skip


def without(*names, **more):
    return {**{k: v for k, v in LAYOUT.items() if k not in names}, **more}


def gated():
    return Feed(True)


WHOLE = {  # nothing is refused
    "a head width of its own, biases here and there": (Odd, LAYOUT),
    "one norm, attention and MLP side by side": (
        lambda: Odd(form="parallel"), {**LAYOUT, "norm2": "n1", "parallel": True},
    ),
    "tied inside, scaled embedding, no positions": (
        lambda: Odd(head="tied", scale=4.0, positions="none"), without("unembed"),
    ),
    "a gain around 1, gated": (
        lambda: Odd(norm="rms", final="rms", feed=gated), {**LAYOUT, "mlp_gate": "ff.gate"},
    ),
    "one learned number": (lambda: Odd(norm="scale", final="scale"), LAYOUT),
    "no norm at all": (lambda: Odd(norm="none", final="none"), without("norm_final")),
    "attention alone": (lambda: Odd(bare=True), without("norm2", "mlp", "mlp_in", "mlp_out")),
    "heads beside the prompts": (lambda: Odd(attention={"way": "flat"}), LAYOUT),
    "a bias by distance, by hand": (lambda: Odd(attention={"way": "einsum", "heads": 4, "width": 3}), LAYOUT),
    "a scale of its own": (lambda: Odd(attention={"scale": 0.7}), LAYOUT),
    "experts": (lambda: Odd(feed=Mixture), without("mlp_in", "mlp_out")),
    "one block, one head": (lambda: Odd(blocks=1, attention={"heads": 1, "width": 5}), LAYOUT),
}  # fmt: skip
PART = {  # adopted, and what cannot be had is refused by name
    "post-norm": (lambda: Odd(form="post", final="none"), without("norm_final"), "edges"),
    "norms behind": (lambda: Odd(form="sandwich"), LAYOUT, "edges"),
    "layers scaled": (lambda: Odd(form="scaled"), LAYOUT, "edges"),
    "heads one by one": (lambda: Odd(attention={"way": "one by one"}), LAYOUT, "attn.hook_pattern"),
    "no softmax": (lambda: Odd(attention={"way": "linear"}), LAYOUT, "attn.hook_pattern"),
    "other heads in each block": (lambda: Odd(different=True), LAYOUT, "attn.hook_pattern"),
}  # fmt: skip
REFUSED = {  # in one line
    "one block twice in the list": (lambda: Odd(shared=True), LAYOUT, "are one module"),
    "each block run twice": (lambda: Odd(looped=2), LAYOUT, "runs 2 times"),
    "places first": (lambda: Odd(turned=True), LAYOUT, r"stream of its blocks is \[8, 2, 20\]"),
    "a token of its own": (lambda: Odd(start=True), LAYOUT, r"stream of its blocks is \[2, 9, 20\]"),
    "one output a prompt": (lambda: Odd(pooled=True), LAYOUT, r"outputs are \[2, 13\]"),
    "half precision": (lambda: Odd().half(), LAYOUT, "weights of float16"),
}  # fmt: skip
