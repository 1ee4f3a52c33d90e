"""The parts of the hooked transformer's blocks: LayerNorm, attention, MLP.

Every hook point receives a fresh tensor, never a parameter or an expanded view, so that hooks may write in
place. Attention rows are destinations, columns sources. Attention scores are hooked before masking, so they
are finite and an intervention on them cannot let a row see what the mask hides. Weights are stored in two
dimensions, heads side by side, and shown per head as views in TransformerLens orientation. After `fuse` a
part uses torch's fused kernel in training where no hook needs what that kernel hides: the same function up to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.config.model_base import ModelSettings
from interp.config.model_transformer import TransformerConfig
from interp.hooks.lens import HookPoint
from interp.models.fused import When, fused, padded_attention, short, softmax
from interp.models.readin import parameter
from tasks.errors import UserError

EPS = 1e-5
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


class LayerNorm(nn.Module):
    """LayerNorm with the scale hooked; the affine part is there if asked for.

    `hook_scale` is sqrt(variance + 1e-5) and divides; `hook_normalized` is what comes out.
    """

    def __init__(self, d_model: int, affine: bool):
        super().__init__()
        self.fused: When = "never"
        self.w = parameter(d_model) if affine else None
        self.b = parameter(d_model) if affine else None
        self.hook_scale = HookPoint()
        self.hook_normalized = HookPoint()

    def _affine(self, x: Tensor) -> Tensor:
        return x if self.w is None or self.b is None else x * self.w + self.b

    def plain(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The same function without hooks, for inputs forked per head."""
        x = x - x.mean(-1, keepdim=True)
        return self._affine(x / (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt())

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        if fused(self, self.hook_scale, self.hook_normalized):
            return F.layer_norm(x, x.shape[-1:], self.w, self.b, EPS)
        x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale((x.pow(2).mean(-1, keepdim=True) + EPS).sqrt())
        return self.hook_normalized(self._affine(x / scale))


def allowed(pos: int, config: ModelSettings, device: torch.device) -> Bool[Tensor, "pos pos"]:
    """Which key (column) each row may see, by the settings' `mask` and, where they have it, `mask_query`."""
    mask = torch.ones(pos, pos, dtype=torch.bool, device=device)
    if getattr(config, "mask", "full") == "causal":
        mask = mask.tril()
    if getattr(config, "mask_query", False):
        if pos < 2:
            raise UserError("mask_query hides the only position of a one-token prompt")
        mask = mask & (torch.arange(pos, device=device) < pos - 1)
    return mask


def attention_pattern(
    scores: Float[Tensor, "batch head pos pos"], config: TransformerConfig, padded: bool = True
) -> Float[Tensor, "batch head pos pos"]:
    """Scores to weights: the one place that applies mask, nonlinearity and the 1/n scale.

    Softmax rows sum to 1 (`padded`: see `softmax`). Linear and relu rows need not; "n" divides by the number of keys
    the last row may see (n examples when the query is hidden), "position" each row by its own number of keys.
    """
    mask = allowed(scores.shape[-1], config, scores.device)
    if config.attention == "softmax":
        return softmax(scores.masked_fill(~mask, -torch.inf), padded)
    if config.attention == "relu":
        scores = scores.relu()
    keys = mask.sum(-1, keepdim=True)
    scale = {"n": keys[-1:], "position": keys, "none": torch.ones_like(keys)}[config.scale]
    return scores.masked_fill(~mask, 0.0) / scale


class Attention(nn.Module):
    """Multi-head attention with 2-D weights. `b_O` and the per-head biases exist only if the model has
    biases, `W_rel` [head, distance, d_head] only if positions are relative (`distances` of them; no matrix among
    others, so that Muon leaves it to AdamW as it does tables of positions).
    """

    hook_q_input: HookPoint
    hook_k_input: HookPoint
    hook_v_input: HookPoint
    hook_attn_scores: HookPoint
    hook_pattern: HookPoint
    hook_z: HookPoint
    hook_result: HookPoint

    def __init__(self, config: TransformerConfig, distances: int = 0):
        super().__init__()
        self.config = config
        self.heads, self.width = config.n_heads, config.head_width
        inner = self.heads * self.width
        for name in "qkv":
            setattr(self, f"w_{name}", parameter(config.d_model, inner))
            setattr(self, f"b_{name}", parameter(inner) if config.biases else None)
        self.w_o = parameter(inner, config.d_model)
        self.bias_o = parameter(config.d_model) if config.biases else None
        self.W_rel = parameter(self.heads, distances, self.width) if distances else None
        self.use_attn_result = False
        self.fused: When = "never"
        self.padded = True
        for name in ("q_input", "k_input", "v_input", "q", "k", "v", "attn_scores", "pattern", "z", "result"):
            setattr(self, f"hook_{name}", HookPoint())

    def _per_head(self, name: str) -> Float[Tensor, "head d_model d_head"]:
        return getattr(self, f"w_{name}").unflatten(1, (self.heads, self.width)).transpose(0, 1)

    def _bias_per_head(self, name: str) -> Float[Tensor, "head d_head"]:
        bias = getattr(self, f"b_{name}")
        if bias is None:
            return self.w_o.new_zeros(self.heads, self.width)
        return bias.unflatten(0, (self.heads, self.width))

    @property
    def W_Q(self) -> Float[Tensor, "head d_model d_head"]:
        """Query weights per head, a view."""
        return self._per_head("q")

    @property
    def W_K(self) -> Float[Tensor, "head d_model d_head"]:
        """Key weights per head, a view."""
        return self._per_head("k")

    @property
    def W_V(self) -> Float[Tensor, "head d_model d_head"]:
        """Value weights per head, a view."""
        return self._per_head("v")

    @property
    def b_Q(self) -> Float[Tensor, "head d_head"]:
        """Query bias per head; zeros if the model has none."""
        return self._bias_per_head("q")

    @property
    def b_K(self) -> Float[Tensor, "head d_head"]:
        """Key bias per head; zeros if the model has none."""
        return self._bias_per_head("k")

    @property
    def b_V(self) -> Float[Tensor, "head d_head"]:
        """Value bias per head; zeros if the model has none."""
        return self._bias_per_head("v")

    @property
    def W_O(self) -> Float[Tensor, "head d_head d_model"]:
        """Output weights per head, a view."""
        return self.w_o.unflatten(0, (self.heads, self.width))

    @property
    def b_O(self) -> Float[Tensor, "d_model"]:
        """Output bias; zeros if the model has none."""
        return self.w_o.new_zeros(self.w_o.shape[1]) if self.bias_o is None else self.bias_o

    def _project(self, name: str, x: Tensor) -> Float[Tensor, "batch pos head d_head"]:
        """Queries, keys or values; `x` is shared by the heads (3-D) or forked per head (4-D)."""
        if x.ndim == 4:
            out = torch.einsum("bphd,hdk->bphk", x, self._per_head(name)) + self._bias_per_head(name)
        else:
            out = x @ getattr(self, f"w_{name}")
            bias = getattr(self, f"b_{name}")
            out = (out if bias is None else out + bias).unflatten(-1, (self.heads, self.width))
        return getattr(self, f"hook_{name}")(out)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "batch pos d_model"]:
        q, k, v = self._project("q", query), self._project("k", key), self._project("v", value)
        usual = self.config.attention == "softmax" and self.W_rel is None
        quick = usual and fused(self, self.hook_attn_scores, self.hook_pattern)
        z = self.hook_z(self._fused_mix(q, k, v) if quick else self._mix(q, k, v))
        if self.use_attn_result:
            out = self.hook_result(torch.einsum("bphk,hkd->bphd", z, self.W_O)).sum(2)
        else:
            out = z.flatten(2) @ self.w_o
        return out if self.bias_o is None else out + self.bias_o

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch pos head d_head"]:
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
        if self.W_rel is not None:
            scores = scores + self.relative(q.transpose(1, 2), q.shape[1])
        if self.config.scale == "sqrt_d_head":
            scores = scores / self.width**0.5
        weights = attention_pattern(self.hook_attn_scores(scores), self.config, self.padded)
        pattern = self.hook_pattern(weights)
        return (pattern @ v.transpose(1, 2)).transpose(1, 2)

    def relative(
        self,
        q: Float[Tensor, "*lead head row d_head"],
        pos: int,
        rows: Any = slice(None),
        heads: Any = slice(None),
    ) -> Float[Tensor, "*lead head row pos"]:
        """What relative positions add to the scores, before their scale, of the queries of some heads at some rows.

        Raises UserError for more positions than there are distances.
        """
        assert self.W_rel is not None
        reach = self.W_rel.shape[1] if self.config.mask == "causal" else (self.W_rel.shape[1] + 1) // 2
        if pos > reach:
            raise UserError(
                f"{pos} positions, but this model has vectors for distances below {reach}: shorten the prompt"
            )
        place = torch.arange(pos, device=q.device)
        ahead = (place[:, None] - place)[rows]
        index = ahead.clamp(min=0) if self.config.mask == "causal" else ahead + reach - 1
        every = q @ self.W_rel[heads].transpose(-1, -2)
        return every.gather(-1, index.expand(*q.shape[:-1], pos))

    def _fused_mix(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch pos head d_head"]:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if self.padded and short(q):
            return padded_attention(q, k, v, allowed(q.shape[2], self.config, q.device)).transpose(1, 2)
        causal = self.config.mask == "causal" and not self.config.mask_query
        mask = allowed(q.shape[2], self.config, q.device) if self.config.mask_query else None
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal).transpose(1, 2)


class MLP(nn.Module):
    """One hidden layer; `hook_pre` and `hook_post` are the neurons before and after the activation."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.activation = ACTIVATIONS[config.mlp]
        self.W_in = parameter(config.d_model, config.mlp_width)
        self.b_in = parameter(config.mlp_width) if config.biases else None
        self.W_out = parameter(config.mlp_width, config.d_model)
        self.bias_out = parameter(config.d_model) if config.biases else None
        self.hook_pre = HookPoint()
        self.hook_post = HookPoint()

    @property
    def b_out(self) -> Float[Tensor, "d_model"]:
        """Output bias; zeros if the model has none."""
        return self.W_out.new_zeros(self.W_out.shape[1]) if self.bias_out is None else self.bias_out

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        pre = x @ self.W_in
        pre = self.hook_pre(pre if self.b_in is None else pre + self.b_in)
        out = self.hook_post(self.activation(pre)) @ self.W_out
        return out if self.bias_out is None else out + self.bias_out


class Block(nn.Module):
    """Attention, then (unless attention-only) an MLP, each reading a normalised residual stream and adding to
    it.
    """

    def __init__(self, config: TransformerConfig, distances: int = 0):
        super().__init__()
        norm, affine = config.layer_norm != "none", config.layer_norm == "affine"
        self.ln1 = LayerNorm(config.d_model, affine) if norm else None
        self.attn = Attention(config, distances)
        self.hook_resid_pre, self.hook_attn_out, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()
        self.use_split_qkv_input = False
        self.mlp = None
        if config.mlp != "none":
            self.ln2 = LayerNorm(config.d_model, affine) if norm else None
            self.mlp = MLP(config)
            self.hook_resid_mid, self.hook_mlp_out = HookPoint(), HookPoint()

    def _attention_inputs(self, resid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.use_split_qkv_input:
            x = resid if self.ln1 is None else self.ln1(resid)
            return x, x, x
        hooks = (self.attn.hook_q_input, self.attn.hook_k_input, self.attn.hook_v_input)
        forks = [hook(resid.unsqueeze(2).repeat(1, 1, self.attn.heads, 1)) for hook in hooks]
        q, k, v = forks if self.ln1 is None else [self.ln1.plain(x) for x in forks]
        return q, k, v

    def forward(self, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        resid = self.hook_resid_pre(resid)
        resid = resid + self.hook_attn_out(self.attn(*self._attention_inputs(resid)))
        if self.mlp is not None:
            resid = self.hook_resid_mid(resid)
            x = resid if self.ln2 is None else self.ln2(resid)
            resid = resid + self.hook_mlp_out(self.mlp(x))
        return self.hook_resid_post(resid)
