"""The linear transformer of in-context regression, as tokens with hooks and as a recursion on Gram matrices.

Tokens are z = [x; y], the query last with label slot 0. Layer l adds (1/n) P sum_i z_i (z_i' Q z) to every
token z, the sum over the n examples only: the query is never a key. The prediction is MINUS the label slot,
so descent has a negative A. This module is the one place that knows the sign, the mask and the 1/n (n is
the prompt's own length). Without a nonlinearity a layer is z -> T z with T = I + P G Q and G = (1/n) sum_i
z_i z_i', hence G -> T G T': all layers run on (d+1) by (d+1) matrices. `forward` takes that form unless a
hook, a nonlinearity or a layer range needs the tokens; the two agree to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from interp.config.model_linear import FeatureLinearConfig, LinearSettings
from interp.hooks.lens import HookPoint
from interp.models import linear_gram
from interp.models.feature_map import FeatureMap
from interp.models.fused import softmax
from interp.models.hooked import layer_range, residual
from interp.models.initialise import draw
from interp.models.surface import LensConfig, LensSurface
from tasks.base import Interface
from tasks.errors import UserError


class LinearAttention(nn.Module):
    """One head, whose keys are the tokens themselves. Hooks: q, k, v, z [batch pos 1 d_model], attn_scores
    and pattern [batch 1 row key]; columns are all tokens, the query's column being 0 in the pattern.
    """

    hook_q_input: HookPoint
    hook_k_input: HookPoint
    hook_v_input: HookPoint
    hook_q: HookPoint
    hook_k: HookPoint
    hook_v: HookPoint
    hook_attn_scores: HookPoint
    hook_pattern: HookPoint
    hook_z: HookPoint
    hook_result: HookPoint
    corner: Tensor

    def __init__(self, config: LinearSettings, width: int):
        super().__init__()
        self.config, self.width = config, width
        d = width - 1
        if config.family == "full":
            self.P_full = nn.Parameter(torch.zeros(width, width))
            self.Q_full = nn.Parameter(torch.zeros(width, width))
        else:
            self.A = nn.Parameter(torch.zeros(d, d))
            self.register_buffer("corner", functional.pad(torch.ones(1, 1), (d, 0, d, 0)), persistent=False)
        if config.family == "gd++":
            self.B = nn.Parameter(torch.zeros(d, d))
        self.use_attn_result = False
        self.padded = True
        for name in ("q_input", "k_input", "v_input", "q", "k", "v", "attn_scores", "pattern", "z", "result"):
            setattr(self, f"hook_{name}", HookPoint())

    @property
    def P(self) -> Float[Tensor, "d_model d_model"]:
        """Value matrix: what an attended token adds."""
        if self.config.family == "full":
            return self.P_full
        if self.config.family == "gd":
            return self.corner
        return functional.pad(self.B, (0, 1, 0, 1)) + self.corner

    @property
    def Q(self) -> Float[Tensor, "d_model d_model"]:
        """Query-key matrix: the score of key k for query q is k' Q q."""
        if self.config.family == "full":
            return self.Q_full
        return functional.pad(self.A, (0, 1, 0, 1))

    @property
    def W_Q(self) -> Float[Tensor, "head d_model d_head"]:
        """Q' in TransformerLens orientation; keys are the tokens themselves."""
        return self.Q.T[None]

    @property
    def W_K(self) -> Float[Tensor, "head d_model d_head"]:
        """The identity."""
        return torch.eye(self.width, dtype=self.Q.dtype, device=self.Q.device)[None]

    @property
    def W_V(self) -> Float[Tensor, "head d_model d_head"]:
        """P' in TransformerLens orientation."""
        return self.P.T[None]

    @property
    def W_O(self) -> Float[Tensor, "head d_head d_model"]:
        """The identity."""
        return self.W_K

    @property
    def b_O(self) -> Float[Tensor, "d_model"]:
        """There are no biases."""
        return self.Q.new_zeros(self.width)

    def _pattern(self, scores: Float[Tensor, "batch 1 pos pos"]) -> Float[Tensor, "batch 1 pos pos"]:
        examples = torch.arange(scores.shape[-1], device=scores.device) < scores.shape[-1] - 1
        if self.config.attention == "softmax":
            return softmax(scores.masked_fill(~examples, -torch.inf), self.padded)
        scores = scores.relu() if self.config.attention == "relu" else scores
        return scores * examples / (scores.shape[-1] - 1)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "batch pos d_model"]:
        split = query.ndim == 4
        made = [query @ self.Q.T, key + 0.0, value @ self.P.T]
        q, k, v = (
            hook(x if split else x[:, :, None])
            for hook, x in zip((self.hook_q, self.hook_k, self.hook_v), made, strict=True)
        )
        scores = self.hook_attn_scores(q.transpose(1, 2) @ k.permute(0, 2, 3, 1))
        pattern = self.hook_pattern(self._pattern(scores))
        z = self.hook_z((pattern @ v.transpose(1, 2)).transpose(1, 2))
        return (self.hook_result(z + 0.0) if self.use_attn_result else z)[:, :, 0]


class LinearBlock(nn.Module):
    """Attention added to the residual stream; there is no MLP and no LayerNorm."""

    mlp = None

    def __init__(self, config: LinearSettings, width: int):
        super().__init__()
        self.attn = LinearAttention(config, width)
        self.hook_resid_pre, self.hook_attn_out, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()
        self.use_split_qkv_input = False

    def _inputs(self, resid: Tensor) -> list[Tensor]:
        if not self.use_split_qkv_input:
            return [resid] * 3
        hooks = (self.attn.hook_q_input, self.attn.hook_k_input, self.attn.hook_v_input)
        return [hook(resid[:, :, None] + 0.0) for hook in hooks]

    def forward(self, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        resid = self.hook_resid_pre(resid)
        return self.hook_resid_post(resid + self.hook_attn_out(self.attn(*self._inputs(resid))))


class LinearTransformer(LensSurface):
    """L layers of `LinearAttention`; `model(inputs)` is [batch, pos, 1], of which the last position is the
    answer. `features`, where there is one, maps the tokens before anything else.
    """

    def __init__(
        self, config: LinearSettings, interface: Interface, seed: int, features: FeatureMap | None = None
    ):
        super().__init__()
        self.config, self.interface, width = config, interface, interface.d_in
        self.features, self.hook_embed = features, HookPoint()
        self.blocks = nn.ModuleList(LinearBlock(config, width) for _ in range(config.n_layers))
        readout = torch.zeros(width, 1)
        readout[-1] = -1.0
        self.register_buffer("W_U", readout, persistent=False)
        self.to(getattr(torch, config.dtype))
        self._lens = LensConfig(
            n_layers=config.n_layers, n_heads=1, d_model=width, d_head=width, d_mlp=None,
            n_ctx=interface.n_ctx, d_vocab_out=1, attn_only=True, normalization_type=None,
            device=readout.device, dtype=getattr(torch, config.dtype),
        )  # fmt: skip
        self._initialise(seed)
        self.setup()

    def _initialise(self, seed: int) -> None:
        if self.features is not None:
            self.features.initialise(seed)
        for name, parameter in self.blocks.named_parameters(prefix="blocks"):
            draw(seed, name, parameter, self.config.init_std)
            if name.endswith("P_full") and not isinstance(self.config.corner, str):
                with torch.no_grad():
                    parameter[-1, -1] = self.config.corner

    def typed_blocks(self) -> list[LinearBlock]:  # type: ignore[override]
        """The blocks, with their type."""
        return [cast(LinearBlock, block) for block in cast(Iterable[nn.Module], self.blocks)]

    @property
    def layers(self) -> list[LinearAttention]:
        """The attention layers, with their type."""
        return [block.attn for block in self.typed_blocks()]

    def forward(
        self,
        inputs: Float[Tensor, "batch pos d_model"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """Outputs [batch, pos, 1] (minus the label slot), or the residual stream before `stop_at_layer`.

        Raises UserError for layers outside the model and inputs of another width.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, self.config.n_layers)
        self._check(inputs)
        if start is None and stop is None and self.config.attention == "linear" and not self._hooked():
            tokens = self.read_in(inputs)
            return tokens @ -self.label_rows(tokens)[:, :, None]
        if start is not None:
            resid = residual(inputs, self.interface.d_in)
        else:
            resid = self.hook_embed(self.read_in(inputs) + 0.0)
        for block in self.blocks[start:stop]:
            resid = block(resid)
        return resid if stop is not None else resid @ self.W_U

    def read_in(self, inputs: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """The tokens that the first layer sees."""
        return inputs if self.features is None else self.features(inputs)

    def label_rows(self, tokens: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """t with label slot = t'z after all layers, for every token z that the first layer sees."""
        return linear_gram.label_rows(tokens, self.weights())

    def weights(self) -> list[tuple[Tensor, Tensor]]:
        """(P, Q) of every layer."""
        return [(layer.P, layer.Q) for layer in self.layers]

    def averaged_loss(
        self,
        x: Float[Tensor, "batch n d"],
        prior: Float[Tensor, "d d"],
        covariance: Float[Tensor, "d d"],
    ) -> Float[Tensor, " batch"]:
        """Squared error with w and the query integrated out (see `linear_gram.averaged_loss`).

        Raises UserError for family "full", whose labels act on each other, for non-linear attention, and for a
        net on features.
        """
        if self.config.family == "full" or self.config.attention != "linear" or self.features is not None:
            raise UserError(
                "averaging over w and the query needs kind 'linear', family 'gd' or 'gd++', linear attention"
            )
        blocks = [(layer.B if self.config.family == "gd++" else None, layer.A) for layer in self.layers]
        return linear_gram.averaged_loss(x, blocks, prior, covariance)

    def _check(self, inputs: Tensor) -> None:
        if inputs.ndim != 3 or inputs.shape[-1] != self.interface.d_in or inputs.shape[1] < 2:
            wanted = f"[batch, at least 2, {self.interface.d_in}]"
            raise UserError(f"inputs must be tokens [x; y] of shape {wanted}, not {list(inputs.shape)}")

    def _hooked(self) -> bool:
        return any(point.fwd_hooks or point.bwd_hooks for point in self.hook_dict.values())


def feature_linear(config: FeatureLinearConfig, interface: Interface, seed: int) -> LinearTransformer:
    """The linear transformer whose covariates go through a trained ReLU net first."""
    return LinearTransformer(config, interface, seed, FeatureMap(interface.d_in - 1, config.hidden))
