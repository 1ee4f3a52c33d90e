"""A Hugging Face language model with the interface of this package's transformer.

TransformerLens' bridge wraps the model as it is (no folding, no centring) with attention spelled out, and it has the
classic hook points under other names: `blocks.{l}.hook_in` is our `hook_resid_pre` [batch, pos, d_model],
`attn.q.hook_out` our `attn.hook_q` [batch, pos, head, d_head] (before any rotation), `attn.o.hook_in` our
`attn.hook_z`, `mlp.in.hook_out` our `mlp.hook_pre`, `ln2.hook_in` our `hook_resid_mid` (a parallel block has none).
Here each point has its classic name alone. `attn.hook_attn_scores` [batch, head, row, column] is already masked, with
the type's lowest number where a row may not look; rows are destinations. Outputs are the logits of the interface's
`outputs` at its read positions and zeros elsewhere, so that a vocabulary of fifty thousand at every position is never
held.

Weights arrive by reference and at most one revision is in memory; until then the model is untrained.

Kept beside adopted modules (`interp.models.adopted`) for two things that those do not do: models by their name on
the hub, revision after revision (`interp import hf`), and architectures that TransformerLens has an adapter for and no
layout here fits. For a saved GPT-2, GPT-NeoX, Llama, Mistral or Qwen model `interp adopt FOLDER` is the better way: it
is proven at every load, its edges are known, and it takes prompts of one's own.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from interp.config.model_bridge import BridgeConfig
from interp.hooks.lens import HookPoint, transformer_bridge
from interp.io.hf_reference import Reference
from interp.models.bridge_parts import BridgedBlock
from interp.models.hooked import layer_range, residual
from interp.models.narrow import Narrowing
from interp.models.pretrained import line_of, load_model, quiet
from interp.models.surface import LensConfig, LensSurface
from tasks.base import Interface
from tasks.errors import UserError

_WHOLE = ("hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized")
_IN_BLOCK = (
    "hook_resid_pre", "hook_resid_mid", "hook_attn_out", "hook_mlp_out", "hook_resid_post",
    "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z",
    "mlp.hook_pre", "mlp.hook_post", "ln1.hook_scale", "ln1.hook_normalized", "ln2.hook_scale", "ln2.hook_normalized",
)  # fmt: skip


class BridgedModel(Narrowing, LensSurface):
    """A bridged model with our hook names, weights per head, and `start_at_layer` / `stop_at_layer`.

    It is for analysis, not for training: its weights take no gradient, activations do.
    """

    def __init__(self, config: BridgeConfig, interface: Interface, seed: int):
        super().__init__()
        self.config, self.interface, self._seed = config, interface, seed
        self._lens = _lens_config(config, interface)
        self._reads: tuple[int, ...] | None = None
        self._forget()

    def _forget(self) -> None:
        self.__dict__["_held"] = None  # past nn.Module: the wrapped model names its own parts
        self.__dict__["_points"] = {}

    def take_weights(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Take the weights of the revision that a checkpoint refers to in place of those held.

        Raises UserError when they do not fit.
        """
        reference = Reference.unpack(weights, where)
        self._forget()
        gc.collect()
        self.hold(bridged(load_model(reference.folder(), self.config.dtype).model, self.config.name))

    def hold(self, bridge: Any) -> None:
        """Use a bridge with loaded weights. Raises UserError for one of other sizes."""
        if (bridge.cfg.n_layers, bridge.cfg.d_model) != (self.config.n_layers, self.config.d_model):
            raise UserError(f"{self.config.name}: the revision's sizes are not those of the first one")
        self.__dict__["_held"] = bridge
        self.__dict__["_points"] = classic_points(bridge)
        bridge.hook_dict["unembed.hook_in"].add_perma_hook(lambda stream, hook: self._cut(stream))

    def _cut(self, stream: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch row d_model"]:
        """The rows whose logits are wanted."""
        return stream if self._reads is None else stream[:, list(self._reads)]

    @property
    def bridge(self) -> Any:
        """TransformerLens' bridge; an untrained model until weights were referred to."""
        if self._held is None:
            self.hold(bridged(untrained(self.config, self._seed), self.config.name))
        return self._held

    @property
    def hook_dict(self) -> dict[str, HookPoint]:  # type: ignore[override]
        """Hook points by their classic names."""
        assert self.bridge is not None
        return self.__dict__["_points"]

    @property
    def mod_dict(self) -> dict[str, HookPoint]:  # type: ignore[override]
        """The same: the bridge's own parts are reached by their hooks alone."""
        return self.hook_dict

    @property
    def blocks(self) -> list[BridgedBlock]:  # type: ignore[override]
        """Weights and normalisations of each block."""
        return [BridgedBlock(block, self.config) for block in self.bridge.blocks]

    @property
    def W_U(self) -> Float[Tensor, "d_model d_out"]:  # type: ignore[override]
        """Columns of the unembedding that the outputs are read with."""
        return self.bridge.W_U[:, self._outputs()]

    @property
    def token_embed(self) -> Any:
        """Where analyses look for `W_E` [d_vocab, d_model]."""
        return self.bridge

    def _outputs(self) -> Any:
        return list(self.interface.outputs) or slice(None)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The weights of the wrapped model."""
        return iter(self.bridge.__dict__["own_weights"])

    def train(self, mode: bool = True) -> BridgedModel:
        """Only to eval mode. Raises UserError otherwise."""
        if mode:
            raise UserError(
                "an imported language model is looked at, not trained: train it where it comes from"
            )
        return super().train(False)

    def logits(
        self, inputs: Int[Tensor, "batch pos"], positions: tuple[int, ...] | None = None
    ) -> Float[Tensor, "batch row vocabulary"]:
        """Logits of the whole vocabulary at some positions (at all of them, unless given)."""
        self._reads = positions
        try:
            return self._run(inputs)
        finally:
            self._reads = None

    def forward(
        self,
        inputs: Num[Tensor, "batch pos *width"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """Outputs [batch, pos, d_out], zero except at output positions; layers as in `HookedTransformer.forward`.

        Raises UserError for layers outside the model and for prompts that are no token numbers.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, self.config.n_layers)
        if start is not None:
            inputs = residual(inputs, self.config.d_model)
        elif inputs.ndim != 2 or inputs.is_floating_point():
            raise UserError(f"a language model reads token numbers [batch, pos], not {list(inputs.shape)}")
        if stop is not None and stop < self.config.n_layers:
            return self._run(inputs, start_at_layer=start, stop_at_layer=stop)
        if stop is not None:
            return self._last_stream(inputs, start)
        self._reads = tuple(p for p in self.interface.output_positions if p < inputs.shape[1])
        try:
            logits = self._from(inputs, start)
        finally:
            reads, self._reads = self._reads, None
        outputs = logits.new_zeros(*inputs.shape[:2], self.interface.d_out)
        outputs[:, list(reads)] = logits[..., self._outputs()]
        return outputs.float()

    def _run(self, inputs: Tensor, **layers: int | None) -> Tensor:
        """The bridge's forward pass; that an edited LayerNorm is computed from the edit goes without saying."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A forward hook edited hook_scale")
            return self.bridge(inputs, return_type="logits", **layers)

    def _from(self, inputs: Tensor, start: int | None) -> Tensor:
        if start == self.config.n_layers:
            return self.bridge.unembed(self.bridge.ln_final(inputs))
        if start is None or not self._narrow:
            return self._run(inputs, start_at_layer=start)
        point = cast(Any, self.hook_dict[f"blocks.{start}.hook_resid_pre"])
        handle = point.register_forward_hook(lambda module, given, out: inputs, prepend=True)
        try:
            return self._run(inputs[:1], start_at_layer=start)
        finally:
            handle.remove()

    def _last_stream(self, inputs: Tensor, start: int | None) -> Tensor:
        """The residual stream after the last block."""
        if start == self.config.n_layers:
            return inputs
        kept: list[Tensor] = []
        point = self.hook_dict[f"blocks.{self.config.n_layers - 1}.hook_resid_post"]
        handle = cast(Any, point).register_forward_hook(lambda module, given, out: kept.append(out))
        try:
            self._from(inputs, start)
        finally:
            handle.remove()
        return kept[0]

    def set_use_attn_result(self, use: bool) -> None:
        """Not offered: heads' outputs are made from `hook_z` and `W_O`."""
        raise UserError("hook_result is not offered for imported models: multiply hook_z by W_O")

    def set_use_split_qkv_input(self, use: bool) -> None:
        """Not offered: heads' inputs are changed through `hook_q`, `hook_k`, `hook_v`."""
        raise UserError(
            "inputs split by head are not offered for imported models: use hook_q, hook_k, hook_v"
        )


def _lens_config(config: BridgeConfig, interface: Interface) -> LensConfig:
    return LensConfig(
        n_layers=config.n_layers, n_heads=config.n_heads, d_model=config.d_model, d_head=config.d_head,
        d_mlp=config.d_mlp, n_ctx=interface.n_ctx, d_vocab_out=interface.d_out, attn_only=False,
        normalization_type="LN", device=torch.device("cpu"), dtype=getattr(torch, config.dtype),
        n_key_value_heads=config.n_kv_heads,
    )  # fmt: skip


def classic_points(bridge: Any) -> dict[str, HookPoint]:
    """The bridge's hook points under the classic names they have here, each told its name."""
    known = bridge.hook_dict
    places = [bool(getattr(bridge, "pos_embed", None)) or name != "hook_pos_embed" for name in _WHOLE]
    names = [name for name, there in zip(_WHOLE, places, strict=True) if there]
    names += [f"blocks.{layer}.{name}" for layer in range(bridge.cfg.n_layers) for name in _IN_BLOCK]
    found = {name: known[name] for name in names if name in known}
    for name, point in found.items():
        point.name = name
    return found


def bridged(model: Any, name: str) -> Any:
    """A bridge around a model. Raises UserError for an architecture that it does not know."""
    own = list(model.parameters())  # before the bridge puts split copies beside joint ones
    with quiet():
        try:
            bridge = transformer_bridge().boot_transformers(
                "./imported", hf_model=model, tokenizer=_no_tokenizer(), device="cpu", dtype=model.dtype
            )
        except (ValueError, KeyError, NotImplementedError, AttributeError) as error:
            kind = type(model).__name__
            raise UserError(
                f"{name}: TransformerLens' bridge does not take {kind} ({line_of(error)})"
            ) from None
    bridge.eval()
    bridge.__dict__["own_weights"] = own
    for weight in model.parameters():
        weight.requires_grad_(False)
    return bridge


def _no_tokenizer() -> Any:
    """A tokenizer of one word: the bridge asks for one, and prompts come as numbers."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<none>": 0}, unk_token="<none>"))
    mark = "<none>"
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token=mark, pad_token=mark, eos_token=mark)


def untrained(config: BridgeConfig, seed: int) -> Any:
    """A model of the same settings with weights drawn from `seed`; the global random state stays as it was."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(config.settings)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
        return AutoModelForCausalLM.from_config(
            own, dtype=getattr(torch, config.dtype), attn_implementation="eager", trust_remote_code=False
        )
