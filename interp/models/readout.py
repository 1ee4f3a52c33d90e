"""What each component of the residual stream adds to the outputs, with the final LayerNorm folded in.

The final norm's scale is held at its value in the run, which makes the outputs a sum over components; its
gain multiplies every component and its bias goes to a row of its own, "bias". (TransformerLens' `logit_attrs`
leaves gain and bias out.)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks.lens import ActivationCache
from interp.models.transformer import HookedTransformer
from tasks.errors import UserError


def readout_attribution(
    model: HookedTransformer, cache: ActivationCache, position: int = -1
) -> tuple[Float[Tensor, "component batch d_out"], list[str]]:
    """Contribution of the embedding, the positions, each head, each MLP and the biases to the outputs at a
    position.

    Units are those of the outputs; the components sum to the outputs, which is checked before they are
    returned. Needs a cache with hook_embed, hook_pos_embed, every hook_z, every hook_mlp_out, and
    ln_final.hook_scale. Raises UserError if the cache lacks one of them, if the position does not exist, or
    if the sum is not the output (the cache comes from another model, or from a run in which a hook changed
    the stream).
    """
    parts, labels = _components(model, cache, position)
    stack = torch.stack(parts)
    folded, bias = _fold(model, cache, stack, position)
    contributions = torch.cat([folded @ model.W_U, bias.expand(1, stack.shape[1], -1)])
    _check_sum(model, cache, contributions, position)
    return contributions, [*labels, "bias"]


def _at(cache: ActivationCache, name: str, position: int) -> Tensor:
    if name not in cache.cache_dict:
        raise UserError(f"readout attribution needs {name!r} in the cache: add it to names_filter")
    activation = cache.cache_dict[name]
    if not -activation.shape[1] <= position < activation.shape[1]:
        raise UserError(f"position {position} is outside the cached {activation.shape[1]} positions")
    return activation[:, position]


def _components(
    model: HookedTransformer, cache: ActivationCache, position: int
) -> tuple[list[Float[Tensor, "batch d_model"]], list[str]]:
    names = [name for name in ("hook_embed", "hook_pos_embed") if name in model.hook_dict]
    parts, labels = [_at(cache, name, position) for name in names], [name[5:] for name in names]
    for layer, block in enumerate(model.typed_blocks()):
        z = _at(cache, f"blocks.{layer}.attn.hook_z", position)
        parts.extend(torch.einsum("bhk,hkd->hbd", z, block.attn.W_O))
        labels.extend(f"L{layer}H{head}" for head in range(z.shape[1]))
        parts.append(block.attn.b_O.expand_as(parts[0]))
        labels.append(f"L{layer} b_O")
        if block.mlp is not None:
            parts.append(_at(cache, f"blocks.{layer}.hook_mlp_out", position))
            labels.append(f"L{layer} MLP")
    return parts, labels


def _fold(
    model: HookedTransformer, cache: ActivationCache, stack: Tensor, position: int
) -> tuple[Float[Tensor, "component batch d_model"], Float[Tensor, "d_out"]]:
    """Components after the final norm at the run's scale, and what the norm's and the unembedding's biases
    add.
    """
    if model.config.layer_norm == "none":
        return stack, model.b_U
    stack = (stack - stack.mean(-1, keepdim=True)) / _at(cache, "ln_final.hook_scale", position)
    norm = model.ln_final
    if norm.w is None or norm.b is None:
        return stack, model.b_U
    return stack * norm.w, norm.b @ model.W_U + model.b_U


def _check_sum(model: HookedTransformer, cache: ActivationCache, parts: Tensor, position: int) -> None:
    last = f"blocks.{model.config.n_layers - 1}.hook_resid_post"
    outputs = model.unembed(_at(cache, last, position))
    tolerance = 1e-4 if outputs.dtype == torch.float32 else 1e-9
    size = parts.abs().sum(0).max()
    error = (parts.sum(0) - outputs).abs().max() / size.clamp_min(1e-30)
    if not error <= tolerance:
        raise UserError(
            f"contributions miss the outputs by {error.item():.1e} of their size: "
            "the cache is of another model, or of a run that hooks changed"
        )
