"""The one way to build a model from its settings."""

from __future__ import annotations

import torch

from interp.config.model import ModelConfig
from tasks.base import Interface


def build_model(config: ModelConfig, interface: Interface, seed: int) -> torch.nn.Module:
    """A freshly initialised model for a task's interface: a pure function of its arguments.

    The global random state is neither read nor changed. Raises UserError if settings and interface do not
    fit.
    """
    return config.build(interface, seed)
