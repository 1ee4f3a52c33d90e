"""A task's closed-form predictors as targets of readouts: is the bigram's answer linearly there, and in which layer?

Owns the target that gives a predictor's outputs at the output positions (probabilities, for tokens), for tasks other
than regression, whose quantities `interp.readouts.target_readouts` has. Predictors of one task are correlated with each
other: that one can be decoded says that it is there, not that it is used, nor that a rival is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from tasks import Batch, Task, UserError
from tasks.complaints import nearest


class StrategyTarget:
    """The outputs of one of a task's `strategies` on a batch, as a target of `interp.readouts.own_targets`."""

    def __init__(self, task: Task, strategy: str):
        self.task, self.strategy = task, strategy
        self.__qualname__ = f"{type(self).__name__}.{strategy}"  # what keys and tables call it

    def __call__(self, batch: Batch) -> Float[Tensor, "batch output k"]:
        """Probabilities where the task's tokens are predicted, else numbers; [batch, output position, k]."""
        found = self.task.strategies(batch)[self.strategy][:, list(self.task.interface.output_positions)]
        return found.softmax(-1) if self.task.interface.inputs == "token" else found


def strategy_target(task: Task, names: Sequence[str]) -> StrategyTarget:
    """The target of a name among the task's predictors. Raises UserError for a task without any, for a name that is
    none of them, and for several at once."""
    known = list(task.strategies(task.sample(0, "strategies", 0, 2)))
    if not known:
        raise UserError(
            f"w, X'y and iterates are targets of regression runs, and task {task.kind!r} has no closed-form predictor "
            "to decode: give a target of your own (target=...; at a terminal --target module:function)"
        )
    if len(names) > 1:
        raise UserError(
            f"targets of task {task.kind!r} are read one at a time: give one of {', '.join(known)}"
        )
    if names[0] not in known:
        raise UserError(f"no target {names[0]!r}{nearest(names[0], known)}")
    return StrategyTarget(task, names[0])
