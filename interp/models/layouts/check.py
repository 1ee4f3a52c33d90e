"""Proof that an adopted model is the module: what holds was measured, what fails is named and refused.

Run whenever weights are loaded (`AdoptedModel.take_weights`) and by `interp check RUN`. Errors are the largest absolute
difference over the largest absolute value of what it should be. What is not proven: that other prompts than the two
drawn here behave alike (a module may branch on its inputs), and anything about training mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from interp.models.layouts.effects import effects
from interp.models.layouts.proof import Proof
from tasks.errors import UserError
from tasks.streams import generator

_ODD = (RuntimeError, IndexError, KeyError, ValueError, TypeError, AttributeError)  # of parts that do not fit
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 0.05}


@torch.no_grad()
def prove(model: Any) -> list[Proof]:
    """Everything that is claimed of an adopted model, tried on two prompts of random inputs."""
    inputs = drawn(model)
    try:
        outputs, cache = model.run_with_cache(inputs, return_cache_object=False)
    except _ODD as error:
        raise UserError(
            f"{model.config.name} does not run with the hook points of layout {model.config.layout.name!r} "
            f"({_line(error)}): check the layout"
        ) from None
    proofs = [_outputs(model, inputs, outputs), _readout(model, cache, outputs)]
    for tried in (_patterns, _sums, _maps):
        proofs += _unless_odd(tried, model, cache)
    proofs.append(_own_values(model, inputs, outputs))
    return [*proofs, *effects(model, inputs, cache)]


def _unless_odd(tried: Any, model: Any, cache: Any) -> list[Proof]:
    """What some proofs say; where shapes do not even fit, that edges are not to be had."""
    try:
        return tried(model, cache)
    except _ODD as error:
        what = {
            "_patterns": "attention is a pattern of the layout's heads",
            "_sums": "a block adds to the stream",
        }
        claim = what.get(tried.__name__, "queries, keys, values and the MLP follow from the stream")
        return [Proof(claim, False, None, ("edges",), _line(error))]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def refusals(proofs: list[Proof], name: str) -> dict[str, str]:
    """What is not offered, and why. Raises UserError where the model is not the module at all."""
    found: dict[str, str] = {}
    for proof in proofs:
        if proof.holds:
            continue
        if not proof.refuses:
            raise UserError(
                f"{name}: {proof.claim}: does not hold (off by {proof.error or 0:.1e}); {proof.note}"
            )
        measured = "" if proof.error is None else f" (off by {proof.error:.1e})"
        for key in proof.refuses:
            found.setdefault(key, f"it was not so that {proof.claim}{measured}")
    return found


def drawn(model: Any) -> Tensor:
    """Two prompts of random inputs, without padding."""
    interface, source = model.interface, generator(0, "proof", 0)
    if interface.inputs != "token":
        draw = torch.randn(2, interface.n_ctx, interface.d_in, generator=source)
        return draw.to(next(model.parameters()).dtype)
    inputs = torch.randint(interface.d_vocab, (2, interface.n_ctx), generator=source)
    return (
        inputs if model.config.pad is None else inputs.masked_fill(inputs == model.config.pad, _other(model))
    )


def _other(model: Any) -> int:
    return 0 if model.config.pad != 0 else 1


def error_of(found: Tensor, wanted: Tensor) -> float:
    """Largest absolute difference over the largest absolute value wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))


def _near(
    model: Any, claim: str, errors: list[float], refuses: tuple[str, ...] = (), note: str = ""
) -> Proof:
    worst = max(errors)
    return Proof(claim, worst <= TOLERANCE[getattr(torch, model.config.dtype)], worst, refuses, note)


def _reads(model: Any, pos: int) -> list[int]:
    return sorted({p for p in model.interface.output_positions if p < pos})


def _outputs(model: Any, inputs: Tensor, outputs: Tensor) -> Proof:
    theirs = model.own_outputs(inputs)
    rows = _reads(model, inputs.shape[1])
    if theirs.shape[1] == 1 < inputs.shape[1]:
        rows, theirs = [inputs.shape[1] - 1], theirs.expand(-1, inputs.shape[1], -1)
        if rows[0] not in _reads(model, inputs.shape[1]):
            return Proof(
                "outputs equal the module's own",
                True,
                None,
                (),
                "it gives the last position alone, not read here",
            )
    note = "norm_final or unembed of the layout is wrong, or attention is not computed as assumed"
    return _near(
        model, "outputs equal the module's own", [error_of(outputs[:, rows], theirs[:, rows])], (), note
    )


def _readout(model: Any, cache: Any, outputs: Tensor) -> Proof:
    claim, refused = (
        "the outputs are the unembedding of the normalised last stream, gain and bias included",
        ("unembed",),
    )
    rows = _reads(model, outputs.shape[1])
    found = model.unembed(cache[f"blocks.{model.config.n_layers - 1}.hook_resid_post"])
    if found.shape != outputs.shape:
        return Proof(claim, False, None, refused, "the layout's norm_final and unembed give other outputs")
    return _near(model, claim, [error_of(found[:, rows], outputs[:, rows])], refused)


def _layers(model: Any, cache: Any) -> Iterator[tuple[Any, Any]]:
    """Each block with its part of the cache, by bare names."""
    for layer, block in enumerate(model.blocks):
        stem = f"blocks.{layer}."
        yield (
            block,
            {name.removeprefix(stem): value for name, value in cache.items() if name.startswith(stem)},
        )


def _patterns(model: Any, cache: Any) -> list[Proof]:
    hooks = ("attn.hook_pattern", "attn.hook_attn_scores")
    if not model.config.n_heads:
        why = "one kernel of attention, with the same heads, is seen in every block"
        return [
            Proof(
                why,
                False,
                None,
                (*hooks, "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z", "edges"),
            )
        ]
    patterns = [there["attn.hook_pattern"] for _, there in _layers(model, cache)]
    found = [
        _near(model, "attention rows sum to 1", [float((p.sum(-1) - 1).abs().max()) for p in patterns], hooks)
    ]
    if model.config.mask == "causal":
        later = [float(p.triu(1).abs().max()) for p in patterns]
        found.append(Proof("no row attends to a later token", max(later) == 0, max(later), hooks))
    return [*found, _values(model, cache)]


def _shared(value: Tensor, heads: int) -> Tensor:
    return value.repeat_interleave(heads // value.shape[2], 2)


def _values(model: Any, cache: Any) -> Proof:
    claim = "pattern @ v @ W_O (and its bias) is what attention adds"
    errors = []
    for block, there in _layers(model, cache):
        try:
            W_O, b_O = block.attn.W_O, block.attn.b_O
        except UserError as error:
            return Proof(claim, False, None, ("edges",), str(error))
        v = _shared(there["attn.hook_v"], model.config.n_heads)
        z = torch.einsum("bhqs,bshk->bqhk", there["attn.hook_pattern"].to(v.dtype), v)
        errors.append(error_of(torch.einsum("bqhk,hkd->bqd", z, W_O) + b_O, there["hook_attn_out"]))
    return _near(model, claim, errors, ("edges",))


def _sums(model: Any, cache: Any) -> list[Proof]:
    errors, mids = [], []
    for block, there in _layers(model, cache):
        parts = there["hook_resid_pre"] + there["hook_attn_out"]
        if "hook_resid_mid" in there:
            mids.append(error_of(there["hook_resid_mid"], parts))
        parts = parts + there["hook_mlp_out"] if block.mlp is not None else parts
        errors.append(error_of(there["hook_resid_post"], parts))
    claim = "the stream after a block is the stream before, plus attention, plus MLP"
    return [_near(model, claim, errors, ("edges", "hook_resid_mid"))]


def _maps(model: Any, cache: Any) -> list[Proof]:
    """Weights per head and of MLPs, against what passes through the points."""
    found, kinds = [], "QKV" if model.config.n_heads else ""
    for kind in kinds:
        claim = f"{kind.lower()} is W_{kind} of the normalised stream before attention"
        try:
            errors = [error_of(_projected(block, kind, there), there[f"attn.hook_{kind.lower()}"])
                      for block, there in _layers(model, cache)]  # fmt: skip
        except UserError as error:
            found.append(Proof(claim, False, None, ("edges",), str(error)))
            continue
        found.append(_near(model, claim, errors, ("edges",)))
    read = [
        error_of(_normed(block.ln2, _mlp_stream(model, there)), there["mlp.hook_in"])
        for block, there in _layers(model, cache) if block.mlp is not None and "mlp.hook_in" in there
    ]  # fmt: skip
    if read:
        found.append(_near(model, "the MLP reads its norm of the stream before it", read, ("edges",)))
    return found


def _mlp_stream(model: Any, there: Any) -> Tensor:
    return there["hook_resid_pre"] + (0 if model.config.parallel else there["hook_attn_out"])


def _normed(norm: Any, x: Tensor) -> Tensor:
    return x if norm is None else norm.plain(x)


def _projected(block: Any, kind: str, there: Any) -> Tensor:
    weight, bias = (getattr(block.attn, f"{letter}_{kind}") for letter in "Wb")
    return torch.einsum("bpd,hdk->bphk", _normed(block.ln1, there["hook_resid_pre"]), weight) + bias


def _own_values(model: Any, inputs: Tensor, outputs: Tensor) -> Proof:
    hooks = [(name, lambda value, hook: value.clone()) for name in model.hook_dict]
    with model.hooks(fwd_hooks=hooks):
        again = model(inputs)
    note = "hook points do not give back what passes through them"
    return _near(model, "a patch with its own value changes nothing", [error_of(again, outputs)], (), note)
