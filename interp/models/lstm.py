"""The hooked LSTM: a stack of single layers, fused for speed, or as a cell loop with gate hooks on the same
weights.

Gates in PyTorch's order: input, forget, cell candidate, output, each hooked after its nonlinearity. There are
no heads and no residual stream; `hook_resid_post` is the name under which a layer's output is hooked, so that
probes address it as in a transformer.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from interp.config.model_lstm import LSTMConfig
from interp.hooks.lens import HookPoint
from interp.models.hooked import StrictHooks, layer_range, residual
from interp.models.readin import ReadIn, parameter
from tasks.base import Interface
from tasks.errors import UserError
from tasks.streams import generator

GATES = ("input", "forget", "candidate", "output")


class LSTMCell(nn.Module):
    """One position of the cell loop; its hooks see [batch d_model], and what they change reaches later
    positions.
    """

    hook_cell: HookPoint

    def __init__(self) -> None:
        super().__init__()
        for name in (*GATES, "cell"):
            setattr(self, f"hook_{name}", HookPoint())

    def forward(
        self, raw: Float[Tensor, "batch four_d_model"], cell: Float[Tensor, "batch d_model"]
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch d_model"]]:
        """New output and cell state from the gates' pre-activations and the old cell state."""
        parts = dict(zip(GATES, raw.chunk(4, -1), strict=True))
        gate = {
            name: getattr(self, f"hook_{name}")(part.tanh() if name == "candidate" else part.sigmoid())
            for name, part in parts.items()
        }
        cell = self.hook_cell(gate["forget"] * cell + gate["input"] * gate["candidate"])
        return gate["output"] * cell.tanh(), cell


class LSTMLayer(nn.Module):
    """One layer. Hooks: hook_resid_pre, hook_resid_post [batch pos d_model], and cells.{position}.hook_{gate}
    and hook_cell [batch d_model], which fire only while gate hooks are on.
    """

    def __init__(self, config: LSTMConfig, n_ctx: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # PyTorch's own first draw, replaced below
            self.lstm = nn.LSTM(config.d_model, config.d_model, bias=config.biases, batch_first=True)
        self.use_gate_hooks = False
        self.hook_resid_pre, self.hook_resid_post = HookPoint(), HookPoint()
        self.cells = nn.ModuleList(LSTMCell() for _ in range(n_ctx))

    def _loop(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        if x.shape[1] > len(self.cells):
            raise UserError(
                f"gate hooks exist for {len(self.cells)} positions, not {x.shape[1]}: shorten the prompt"
            )
        w_ih, w_hh, *biases = self.lstm.all_weights[0]
        raw = x @ w_ih.T + sum(biases)
        out = cell = torch.zeros_like(x[:, 0])
        outputs = []
        for position in range(x.shape[1]):
            out, cell = self.cells[position](raw[:, position] + out @ w_hh.T, cell)
            outputs.append(out)
        return torch.stack(outputs, 1)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        x = self.hook_resid_pre(x)
        return self.hook_resid_post(self._loop(x) if self.use_gate_hooks else self.lstm(x)[0])


class HookedLSTM(StrictHooks):
    """Read-in, a stack of LSTM layers, unembedding. Also hooked: hook_embed."""

    def __init__(self, config: LSTMConfig, interface: Interface, seed: int):
        super().__init__()
        self.config, self.interface = config, interface
        self.token_embed = ReadIn(interface, config.d_model, config.biases)
        self.hook_embed = HookPoint()
        self.blocks = nn.ModuleList(LSTMLayer(config, interface.n_ctx) for _ in range(config.n_layers))
        self.W_U = parameter(config.d_model, interface.d_out)
        self.bias_U = parameter(interface.d_out) if config.biases else None
        self.to(getattr(torch, config.dtype))
        self._initialise(seed)
        self.setup()

    def _initialise(self, seed: int) -> None:
        bound = self.config.d_model**-0.5
        with torch.no_grad():
            for name, weight in self.named_parameters():
                source = generator(seed, f"init {name}", 0)
                draw = torch.rand(weight.shape, generator=source, dtype=torch.float64)
                weight.copy_((2 * draw - 1) * bound)

    def set_use_gate_hooks(self, use: bool) -> None:
        """Run as a cell loop with gate hooks (about four times slower) or fused; the outputs agree."""
        for block in self.blocks:
            cast(LSTMLayer, block).use_gate_hooks = use

    def silence(self, name: str) -> str:
        """Why a hook may not have fired."""
        if ".cells." in name:
            return (
                "switch it on with model.set_use_gate_hooks(True); positions past the prompt's end never fire"
            )
        return super().silence(name)

    def forward(
        self,
        inputs: Num[Tensor, "batch pos *token"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """Outputs [batch, pos, d_out]; `start_at_layer` and `stop_at_layer` as in the transformer.

        Raises UserError for layers outside the model and inputs of another shape than the interface says.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, self.config.n_layers)
        x = (
            self.hook_embed(self.token_embed(inputs))
            if start is None
            else residual(inputs, self.config.d_model)
        )
        for block in self.blocks[start:stop]:
            x = block(x)
        if stop is not None:
            return x
        return x @ self.W_U if self.bias_U is None else x @ self.W_U + self.bias_U
