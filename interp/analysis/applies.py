"""On which runs an analysis can be taken, where the settings of the model and the task decide it.

Conditions that only the analysis itself can check (a context length outside the task's, active interventions) are
reported when it runs. Imports no analysis and no model.
"""

from __future__ import annotations

from typing import Any

LARGE = 5e7  # weights in blocks: from here on analyses take fewer prompts


def layers(settings: Any, task: Any) -> bool:
    """Whether there is a residual stream after every layer."""
    return hasattr(settings, "n_layers")


def large(settings: Any) -> bool:
    """Whether a model's blocks have 50 million weights or more (of the usual shape: 12 d_model^2 a block)."""
    return 12 * getattr(settings, "n_layers", 0) * getattr(settings, "d_model", 0) ** 2 >= LARGE


def heads(settings: Any, task: Any) -> bool:
    """Whether the model has attention heads."""
    return hasattr(settings, "n_heads")


def pairs(settings: Any, task: Any) -> bool:
    """Whether the task has clean and corrupt prompts to patch between."""
    return layers(settings, task) and bool(task.pair_kinds)


def edges(settings: Any, task: Any) -> bool:
    """Whether the model's heads and MLPs can be given inputs of their own."""
    return settings.kind == "transformer" or bool(getattr(settings, "edges_known", False))


def matrices(settings: Any, task: Any) -> bool:
    """Whether heads have OV and QK matrices."""
    return settings.kind == "transformer"


def attributable(settings: Any, task: Any) -> bool:
    """Whether outputs are a sum over components, and targets are entries of them or have their size."""
    return matrices(settings, task) and task.interface.inputs in ("token", "continuous")


def readable(settings: Any, task: Any) -> bool:
    """Whether there is a stream after every layer, and each target has an output position with a name of its own."""
    if not layers(settings, task):
        return False
    targets = task.sample(0, "applies", 0, 2).targets
    return targets.ndim > 1 and targets.shape[1] == len(task.output_names)


def regression(settings: Any, task: Any) -> bool:
    """Whether layers can be matched with iterates of least squares."""
    return layers(settings, task) and task.kind == "regression"


def regression_heads(settings: Any, task: Any) -> bool:
    """Whether heads attend to examples of a regression prompt."""
    return heads(settings, task) and task.kind == "regression"


def token_heads(settings: Any, task: Any) -> bool:
    """Whether heads attend to single tokens, at least four of them."""
    return heads(settings, task) and task.interface.inputs == "token" and task.interface.n_ctx >= 4


def chains(settings: Any, task: Any) -> bool:
    """Whether heads attend to links of a chain."""
    return heads(settings, task) and task.kind == "retrieval"


def linear_regression(settings: Any, task: Any) -> bool:
    """Whether the weights are those of linear attention on a regression task."""
    return settings.kind == "linear" and settings.attention == "linear" and task.kind == "regression"


def weights_at_hand(settings: Any, task: Any) -> bool:
    """Whether checkpoints hold the weights themselves, not a reference to somebody else's."""
    return settings.kind != "language-model"
