"""Somebody else's module as a hooked model: the module as it is, wired to the classic hook points by a layout.

Nothing of the module is rewritten and its forward pass is its own; gradients flow. Attention is computed in the open
(`interp.models.layouts.kernel`). A module that gives logits for the last position alone (nanoGPT) is made to give
them for all. Outputs are the interface's `outputs`; where a task reads some positions only, the unembedding is applied
there and outputs are zero elsewhere. Starting at a layer runs what comes before on blank tokens and discards it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from interp.config.model_adopted import AdoptedConfig
from interp.models.builders import build_module
from interp.models.hooked import layer_range, residual
from interp.models.layouts.check import prove, refusals
from interp.models.layouts.hooking import AdoptedHooks, Stopped
from interp.models.layouts.kernel import Kernel
from interp.models.layouts.parts import find_parts
from interp.models.layouts.proof import Proof
from interp.models.layouts.state import load_state, matched, state_of
from interp.models.layouts.survey import outputs_of
from interp.models.layouts.weights import AdoptedBlock, Norm, matrix
from interp.models.layouts.wires import unwire
from interp.models.padding import real_tokens
from interp.models.surface import LensConfig
from tasks.base import Interface
from tasks.errors import UserError


class AdoptedModel(AdoptedHooks):
    """A module with our hook names, weights per head, and `start_at_layer` / `stop_at_layer`.

    What analyses cannot have (`refused`) is found by `interp.models.layouts.check` when weights are loaded.
    """

    def __init__(
        self, config: AdoptedConfig, interface: Interface, seed: int, module: nn.Module | None = None
    ):
        super().__init__()
        self.config, self.interface = config, interface
        if module is None:
            module = build_module(config.builder, config.settings, config.dtype, seed)
        self.module = module.eval()
        self.parts = find_parts(self.module, config.layout)
        self.refused: dict[str, str] = {}
        self.proofs: list[Proof] = []
        self._lens = _lens_config(config, interface)
        self.connect()
        self.eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> AdoptedModel:
        """A copy with hook points of its own: those of the copied module would lead back to this model."""
        module = copy.deepcopy(self.module, memo)
        unwire(module)
        found = type(self)(self.config, self.interface, 0, module)
        found.proofs, found.refused = list(self.proofs), dict(self.refused)
        memo[id(self)] = found
        return found

    @property
    def edges_known(self) -> bool:
        """Whether heads and MLPs can be given inputs of their own."""
        return "edges" not in self.refused

    @property
    def blocks(self) -> list[AdoptedBlock]:  # type: ignore[override]
        """Weights and norms of each block."""
        return [AdoptedBlock(parts, self.config, self.quiet) for parts in self.parts.blocks]

    @property
    def ln_final(self) -> Norm | None:
        """The norm after the last block."""
        return None if self.parts.norm_final is None else Norm(self.parts.norm_final, self.quiet)

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The token embedding. Raises UserError where the layout names none."""
        weight = getattr(self.parts.embed, "weight", None)
        if weight is None:
            raise UserError(f"{self.config.name}: the layout names no token embedding (`embed`)")
        return weight

    @property
    def token_embed(self) -> AdoptedModel:
        """Where analyses look for `W_E`."""
        return self

    @property
    def W_U(self) -> Float[Tensor, "d_model d_out"]:  # type: ignore[override]
        """Columns of the unembedding that the outputs are read with."""
        if self.parts.unembed is not None:
            return matrix(self.parts.unembed)[:, self._chosen()]
        if self.config.layout.tied:
            return self.W_E.T[:, self._chosen()]
        like = next(self.module.parameters())
        return torch.eye(self.config.d_model, dtype=like.dtype, device=like.device)[:, self._chosen()]

    @property
    def bias_U(self) -> Float[Tensor, "d_out"] | None:
        """Bias of the unembedding, None without one."""
        own = getattr(self.parts.unembed, "bias", None)
        return None if own is None else own[self._chosen()]

    def _chosen(self) -> Any:
        return list(self.interface.outputs) or slice(None)

    def take_weights(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Load a state dict, whatever wrapper or prefix it was saved with; the first one is proven.

        Raises UserError for weights that are missing, unknown, or of another shape, and for a model that is not the
        module.
        """
        load_state(self.module, weights, where)
        if not self.proofs:
            self.prove()

    def prove(self) -> list[Proof]:
        """Try what is claimed of this model on two prompts, and refuse what does not hold.

        Raises UserError where its outputs are not the module's.
        """
        self.refused = {}
        self.proofs = prove(self)
        self.refused = refusals(self.proofs, self.config.name)
        return self.proofs

    def trust(self, proofs: Sequence[Proof]) -> None:
        """Take what was proven of this model before, with the weights that are loaded next, as proven."""
        self.proofs, self.refused = list(proofs), refusals(list(proofs), self.config.name)

    @torch.no_grad()
    def own_outputs(self, inputs: Num[Tensor, "batch pos *token"]) -> Float[Tensor, "batch row d_out"]:
        """Outputs of the module as it is, without any hook or kernel of ours."""
        out = outputs_of(self.module(inputs, **self._options(inputs)), self.config.name)
        out = self._read(out)
        return out[..., self._chosen()].float() if out.dtype == torch.bfloat16 else out[..., self._chosen()]

    def named_weights(self, weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """A state dict by the names of this model's parameters. Raises UserError for a weight that is missing."""
        own = dict(self.module.named_parameters(remove_duplicate=False))
        names = matched(own, weights)
        by_weight = {id(own[mine]): theirs for theirs, mine in names.items()}
        found = {}
        for name, weight in self.named_parameters():
            if id(weight) not in by_weight:
                raise UserError(f"{where}: without weight {name.removeprefix('module.')!r}")
            found[name] = weights[by_weight[id(weight)]].to(weight.dtype)
        return found

    def own_weights(self) -> dict[str, Tensor]:
        """The weights under the module's own names, for a checkpoint."""
        return state_of(self.module)

    def forward(
        self,
        inputs: Num[Tensor, "batch pos *token"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """Outputs [batch, pos, d_out]; layers as in `HookedTransformer.forward`.

        Raises UserError for layers outside the module and inputs that it cannot read.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, self.config.n_layers)
        if start is None:
            self._check_inputs(inputs)
        else:
            residual(inputs, self.config.d_model)
        if start == self.config.n_layers:
            return inputs if stop is not None else self.unembed(inputs)
        self._start, self._stop = (None if start is None else (start, inputs)), stop
        output_positions = sorted({p for p in self.interface.output_positions if p < inputs.shape[1]})
        apart = self.parts.unembed is not None and len(output_positions) < inputs.shape[1] and stop is None
        self._rows = output_positions if apart else None
        tokens = inputs if start is None else self._blank(inputs[:1] if self._narrow else inputs)
        self._running, (self._batch, self._pos) = True, inputs.shape[:2]
        try:
            with Kernel(self):
                out = self.module(tokens, **self._options(tokens))
        except Stopped as stopped:
            return stopped.stream
        finally:
            self._running = False
            rows = self._rows
            self.clear()
        return self._outputs(out, inputs.shape[:2], rows)

    def unembed(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_out"]:
        """Outputs from the stream after the last block, without hooks. Raises UserError where that is not proven."""
        if "unembed" in self.refused:
            raise UserError(f"{self.config.name}: the stream cannot be read out: {self.refused['unembed']}")
        norm, map_ = self.parts.norm_final, self.parts.unembed
        with self.quiet():
            resid = resid if norm is None else norm(resid)
            if map_ is not None:
                return map_(resid)[..., self._chosen()]
        return resid @ self.W_U

    def _read(self, out: Tensor) -> Tensor:
        """What the module gives as outputs: a bare stream is read with the embedding where that is tied."""
        bare = self.parts.unembed is None and self.config.layout.tied and out.shape[-1] == self.config.d_model
        return out @ self.W_E.T if bare else out

    def _outputs(
        self, out: Any, shape: torch.Size, rows: list[int] | None
    ) -> Float[Tensor, "batch pos d_out"]:
        logits = self._read(outputs_of(out, self.config.name))
        if logits.shape[:2] != (shape[0], shape[1] if rows is None else len(rows)):
            raise UserError(
                f"{self.config.name}: outputs are {list(logits.shape)} for prompts {list(shape)}; [batch, pos, out] "
                "are wanted (batch first)"
            )
        logits = logits[..., self._chosen()]
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        if rows is None:
            return logits
        outputs = logits.new_zeros(*shape, logits.shape[-1])
        outputs[:, rows] = logits
        return outputs

    def _check_inputs(self, inputs: Tensor) -> None:
        tokens = self.interface.inputs == "token"
        if inputs.ndim != (2 if tokens else 3) or inputs.is_floating_point() == tokens:
            wanted = "token numbers [batch, pos]" if tokens else "numbers [batch, pos, d_in]"
            raise UserError(f"{self.config.name} reads {wanted}, not {inputs.dtype} {list(inputs.shape)}")

    def _blank(self, stream: Tensor) -> Tensor:
        shape = stream.shape[:2]
        if self.interface.inputs == "token":
            fill = 0 if self.config.pad != 0 else 1
            return torch.full(shape, fill, dtype=torch.long, device=stream.device)
        return stream.new_zeros(*shape, self.interface.d_in)

    def _options(self, tokens: Tensor) -> dict[str, Any]:
        """Named arguments that the module takes: no cache of keys, and which tokens are padding."""
        takes = inspect.signature(self.module.forward).parameters
        options: dict[str, Any] = {"use_cache": False} if "use_cache" in takes else {}
        if self.config.pad is not None and tokens.ndim == 2:
            real = real_tokens(tokens, self.config.pad, self.config.pad_side)
            if not {"attention_mask", "src_key_padding_mask"} & set(takes):
                self._refuse_padding(real)
            if "attention_mask" in takes:
                options["attention_mask"] = real.long()
            if "position_ids" in takes:
                options["position_ids"] = (real.long().cumsum(-1) - 1).clamp_min(0)
            if "src_key_padding_mask" in takes:
                options["src_key_padding_mask"] = ~real
        return options

    def _refuse_padding(self, real: Tensor) -> None:
        """Raises UserError for padding that a module without a mask of it would attend to."""
        behind = real.flip(1).cumsum(1).flip(1) > 0  # some real token is here or later
        if bool((~real & (behind if self.config.mask == "causal" else True)).any()):
            where = "on the right only" if self.config.mask == "causal" else "not at all"
            raise UserError(
                f"{self.config.name} takes no mask of padding (attention_mask), so prompts can be filled up {where}"
            )

    def train(self, mode: bool = True) -> AdoptedModel:
        """Only to eval mode. Raises UserError otherwise."""
        if mode:
            raise UserError("an adopted model is looked at, not trained: train it where it comes from")
        return super().train(False)


def _lens_config(config: AdoptedConfig, interface: Interface) -> LensConfig:
    return LensConfig(
        n_layers=config.n_layers, n_heads=config.n_heads, d_model=config.d_model, d_head=config.d_head,
        d_mlp=config.d_mlp or None, n_ctx=interface.n_ctx, d_vocab_out=interface.d_out,
        attn_only=config.d_mlp == 0, normalization_type="LN", device=torch.device("cpu"),
        dtype=getattr(torch, config.dtype), n_key_value_heads=config.n_kv_heads,
    )  # fmt: skip
