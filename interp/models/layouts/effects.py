"""Whether hook points are causes: each, when replaced, changes what comes after it and leaves bit-equal what is before.

The first and the last block are tried, on one prompt of at most 8 tokens, as many copies as a block has points; of the
first block nothing behind it is run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp.models.layouts.proof import Proof
from tasks.streams import generator

LONGEST = 8  # tokens of the prompt
EFFECTS = {
    "hook_resid_pre": "hook_resid_post", "hook_attn_out": "hook_resid_post", "hook_resid_mid": "hook_resid_post",
    "hook_mlp_out": "hook_resid_post", "attn.hook_q": "attn.hook_attn_scores", "attn.hook_k": "attn.hook_attn_scores",
    "attn.hook_v": "attn.hook_z", "attn.hook_attn_scores": "attn.hook_pattern", "attn.hook_pattern": "attn.hook_z",
    "attn.hook_z": "hook_attn_out", "mlp.hook_in": "mlp.hook_post", "mlp.hook_pre": "mlp.hook_post",
    "mlp.hook_pre_linear": "mlp.hook_post", "mlp.hook_post": "hook_mlp_out", "ln1.hook_normalized": "hook_attn_out",
    "ln1.hook_scale": "hook_attn_out", "ln2.hook_normalized": "hook_mlp_out", "ln2.hook_scale": "hook_mlp_out",
}  # fmt: skip


def effects(model: Any, inputs: Tensor, cache: Any) -> list[Proof]:
    """Every point of the first and the last block, each replaced in its own copy of a prompt, in one run a block."""
    found: list[Proof] = []
    tried = 0
    inputs = _short(model, inputs)
    for layer in dict.fromkeys((0, model.config.n_layers - 1)):
        count, failed = _of_block(model, inputs, cache, layer)
        tried += count
        found += [proof for proof in failed if proof not in found]
    claim = "replacing a point changes what comes after, and nothing before"
    return found or [Proof(claim, True, None, (), f"{tried} tried")]


def _short(model: Any, inputs: Tensor) -> Tensor:
    """The beginning of a prompt, where the module reads shorter prompts than the task's."""
    try:
        model(inputs[:1, :LONGEST], stop_at_layer=1)
    except (RuntimeError, ValueError, IndexError):
        return inputs[:1]
    return inputs[:1, :LONGEST]


def _of_block(model: Any, inputs: Tensor, cache: Any, layer: int) -> tuple[int, list[Proof]]:
    """How many points of a block were tried, and those that failed."""
    stem = f"blocks.{layer}."
    tried = [(n, after) for n, after in EFFECTS.items() if {stem + n, stem + after} <= cache.keys()]
    copies = inputs.repeat(len(tried), *[1] * (inputs.ndim - 1))
    replaced = [(stem + name, _replacing(stem + name, row)) for row, (name, _) in enumerate(tried)]
    still = [
        (name, lambda value, hook: value) for name, _ in replaced
    ]  # the same ways through, the same rounding
    wanted = sorted({stem + seen for _, after in tried for seen in (after, "hook_resid_pre")})
    base, changed = (_seen(model, copies, hooks, wanted, layer + 1) for hooks in (still, replaced))
    failed = []
    for row, (name, after) in enumerate(tried):
        own, other = base[stem + after][row], changed[stem + after][row]
        entry = (values[stem + "hook_resid_pre"][row] for values in (base, changed))
        before = name == "hook_resid_pre" or torch.equal(*entry)
        dead = bool((own == own.flatten()[0]).all())  # weights of zero pass nothing on
        if not before or (torch.equal(own, other) and not dead):
            claim = f"replacing {name} changes {after}, and nothing before"
            failed.append(Proof(claim, False, None, (name,)))
    return len(tried), failed


def _replacing(name: str, row: int) -> Any:
    def hook(value: Tensor, hook: Any) -> Tensor:
        own = value[row]
        noise = torch.randn(own.shape, generator=generator(1, name, 0)).to(value)
        spread = own[own.isfinite()].std() if own.numel() > 1 else own.new_ones(())
        value = value.clone()
        value[row] = own + noise * (spread + 1e-3)
        return value

    return hook


def _seen(model: Any, inputs: Tensor, hooks: list[Any], names: list[str], stop: int) -> dict[str, Tensor]:
    """What passes through some points, after whatever `hooks` put there."""
    kept: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        kept[hook.name] = value.clone()

    with model.hooks(fwd_hooks=[*hooks, *((name, keep) for name in names)]):
        model(inputs, stop_at_layer=stop)
    return kept
