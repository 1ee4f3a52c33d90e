"""Optimisers of a training, their learning rates as functions of the step, their state as plain tensors.

Muon orthogonalises the momentum of a matrix (`interp.train.muon`; `torch.optim.Muon` in runs that were begun under the
first version of training), so it serves the two-dimensional weights inside blocks; embeddings, the unembedding, biases
and gains go to AdamW.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from interp._version import BITS
from interp.config.schedule import rate
from interp.config.train import TrainConfig
from interp.train.muon import StackedMuon
from interp.train.spherical import SphericalSGD
from tasks.errors import UserError


class Optimisers:
    """One or two optimisers over a model's parameters, stepped together; `bits`: the version of training."""

    def __init__(self, model: nn.Module, train: TrainConfig, bits: int = BITS):
        self.train = train
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        makers = _MAKERS | (_FORMERLY if bits == 1 else {})
        self._parts = makers[train.optimiser](dict(model.named_parameters()), train)
        self._base = [[group["lr"] for group in part.param_groups] for part in self._parts]

    def update(self, step: int) -> None:
        """Clip the gradients, set the rates of this step, and update the parameters."""
        if self.train.clip:
            nn.utils.clip_grad_norm_(list(self._names), self.train.clip)
        share = rate(self.train, step)
        for part, rates in zip(self._parts, self._base, strict=True):
            for group, base in zip(part.param_groups, rates, strict=True):
                group["lr"] = base * share
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Every number the optimisers remember, by `parameter/quantity`."""
        found: dict[str, Tensor] = {}
        for part in self._parts:
            for parameter, state in part.state.items():
                for quantity, value in state.items():
                    if value is not None:
                        found[f"{self._names[parameter]}/{quantity}"] = torch.as_tensor(value)
        return found

    def restore(self, saved: dict[str, Tensor], device: torch.device | str) -> None:
        """Restore what `state` returned. Raises UserError for a quantity of an unknown parameter."""
        states: dict[str, dict[str, Tensor]] = {}
        for label, value in saved.items():
            name, _, quantity = label.rpartition("/")
            states.setdefault(name, {})[quantity] = value
        if unknown := set(states) - set(self._names.values()):
            raise UserError(f"optimiser state of an unknown parameter {sorted(unknown)[0]!r}")
        for part in self._parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    state = states.get(self._names[parameter])
                    if state:
                        part.state[parameter] = {k: _placed(k, v, device) for k, v in state.items()}


def _placed(quantity: str, value: Tensor, device: torch.device | str) -> Tensor:
    """Step counters stay on the CPU, where torch keeps them."""
    return value.clone() if quantity == "step" else value.to(device, copy=True)


Parameters = dict[str, nn.Parameter]


def _adam(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return [torch.optim.Adam(parameters.values(), train.lr, train.betas, weight_decay=train.weight_decay)]


def _adamw(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return [torch.optim.AdamW(parameters.values(), train.lr, train.betas, weight_decay=train.weight_decay)]


def _sgd(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return [torch.optim.SGD(parameters.values(), train.lr, train.momentum, weight_decay=train.weight_decay)]


class SignDescent(torch.optim.Optimizer):
    """w <- w - lr sign(v), v <- momentum v + g: the direction of Adam without its memory of sizes.
    Bernstein et al. 1802.04434 (signum; an averaged v has the same sign).
    """

    def __init__(self, params: Any, lr: float, momentum: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(p.grad)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(velocity.sign(), alpha=group["lr"])


def _sign(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return [SignDescent(parameters.values(), train.lr, train.momentum, train.weight_decay)]


def _muon(parameters: Parameters, train: TrainConfig, rule: Any = StackedMuon) -> list[Any]:
    hidden = {n: p for n, p in parameters.items() if n.startswith("blocks.") and p.ndim == 2}
    if not hidden:
        raise UserError(
            'optimiser "muon" needs two-dimensional weights in blocks, and this model has none: use "adamw"'
        )
    rest = {n: p for n, p in parameters.items() if n not in hidden}
    muon = rule(
        hidden.values(), lr=train.muon_lr, momentum=train.muon_momentum, weight_decay=train.weight_decay
    )
    return [muon, *(_adamw(rest, train) if rest else [])]


def _torch_muon(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return _muon(parameters, train, torch.optim.Muon)


def _spherical(parameters: Parameters, train: TrainConfig) -> list[Any]:
    return [SphericalSGD(parameters.values(), train.lr)]


_MAKERS = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "sign": _sign,
    "muon": _muon,
    "spherical": _spherical,
}
_FORMERLY = {"muon": _torch_muon}  # under the first version of training
