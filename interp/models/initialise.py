"""Initial weights. Each parameter draws from a generator of its own, made from the seed and the parameter's
name.

So the global random state is not touched, a deeper model shares the shallower one's first draws, and float32
and float64 models of one seed hold the same numbers (up to rounding).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from interp.config.model_base import Init
from tasks.streams import generator

POSITION_STD = 0.02
GPT2_STD = 0.02


def draw(seed: int, name: str, parameter: nn.Parameter, std: float) -> None:
    """Fill a parameter with normal numbers of the given standard deviation."""
    source = generator(seed, f"init {name}", 0)
    values = torch.randn(parameter.shape, generator=source, dtype=torch.float64) * std
    with torch.no_grad():
        parameter.copy_(values)


def initialise(model: nn.Module, init: Init, n_layers: int, seed: int) -> None:
    """Fill every parameter: weights by `std_of`, norms' gains with 1, every bias with 0."""
    for name, parameter in model.named_parameters():
        if name.endswith(".w"):
            nn.init.ones_(parameter)
        elif parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            draw(seed, name, parameter, std_of(name, parameter, init, n_layers))


def std_of(name: str, parameter: Tensor, init: Init, n_layers: int) -> float:
    """Standard deviation of a weight's first draw.

    Position vectors: .02. Otherwise .02 ("gpt2") or 1/sqrt(fan-in) ("fan_in"; the vectors of distances meet
    queries, so theirs is the head's width; a table of token vectors sees
    one-hot input, of which one entry counts, so its fan-in is the number of tables summed). Weights that
    write to the residual stream are scaled by 1/sqrt(2 n_layers) (Radford et al. 2019, section 2.3).
    """
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("W_pos", "W_type"):
        return POSITION_STD
    residual = (2 * n_layers) ** -0.5 if leaf in ("w_o", "W_out") else 1.0
    return residual * (GPT2_STD if init == "gpt2" else _fan_in(name, parameter) ** -0.5)


def _fan_in(name: str, parameter: Tensor) -> int:
    if name.endswith(".W_rel"):
        return parameter.shape[2]
    if name.startswith("token_embed"):
        return 2 if "key" in name or "value" in name else 1
    return parameter.shape[0]
