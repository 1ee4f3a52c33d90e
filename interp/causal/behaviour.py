"""Whether there is a behaviour to explain, and the prompts on which circuits are searched, chosen and reported.

Effects are shares of the difference between the whole model and the run on other prompts (or clean and corrupt). Where
the two do not differ significantly there is nothing to share: an analysis then prints no value and says why.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks.protocol import HookedModel
from probes.stats import student
from tasks.base import Pair, Task

LEVEL = 0.999
NO_BEHAVIOUR = "full and empty circuit do not differ significantly: no behaviour to explain"


def has_behaviour(
    full: Float[Tensor, "batch"], empty: Float[Tensor, "batch"], lower_is_better: bool = True
) -> bool:
    """Whether the whole model and the run on other prompts are surely apart (Student's t over prompts, 99.9%).

    With `lower_is_better` the whole model must have the lower metric; otherwise either side counts. Few prompts
    make a bootstrap too narrow for a gate this strict.
    """
    found = student((empty - full).double().tolist(), level=LEVEL)
    return found.low > 0 or (found.high < 0 and not lower_is_better)


def resampled_pair(task: Task, seed: int, prompts: int, stream: str = "circuit") -> Pair:
    """Clean prompts and unrelated ones in place of corrupt ones, so that everything that varies is resampled."""
    clean = task.sample(seed, stream, 0, prompts)
    other = task.sample(seed, f"{stream}, resampled", 0, prompts)
    differ = (clean.inputs != other.inputs).reshape(*clean.inputs.shape[:2], -1).any(-1)
    return Pair("resample", clean, other, differ)


def rounding(model: HookedModel) -> float:
    """Least share of "squared_output_distance" that is no rounding: the square of a relative error of 1,000 units in
    the last place of the model's weights.
    """
    return (1e3 * torch.finfo(next(model.parameters()).dtype).eps) ** 2
