"""A task's own labels as the target of readouts, where there is one at every output position: the next symbol.

Owns the choice of that target, for tasks whose output names stand for many positions each (a half of a Markov chain, a
showing of an induction word), so that `interp.readouts.readouts` has no label a name to read. A chain's next symbol can
be known in part only: an accuracy has to be held against the untrained model's and the commonest symbol's, and not
against 1.
"""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from tasks import Batch, Task, UserError

CAPTION = (
    "Held-out accuracy of a linear readout of the task's labels, one for all output positions; chance: the commonest "
    "symbol of each position; that a label can be decoded does not show that the model uses it."
)


class LabelTarget:
    """The labels of a batch at the output positions, as a target of `interp.readouts.own_targets`."""

    def __init__(self) -> None:
        self.__qualname__ = f"{type(self).__name__}.label"  # what keys and tables call it

    def __call__(self, batch: Batch) -> Int[Tensor, "batch output"]:
        """Symbols by number."""
        return batch.targets


def label_target(task: Task) -> LabelTarget | None:
    """The labels of a task that has a symbol at every output position, and no name for each; None for another one.

    Raises UserError where labels are defined at other positions from prompt to prompt.
    """
    batch = task.sample(0, "labels", 0, 2)
    targets, places = batch.targets, task.interface.output_positions
    if (
        targets.ndim != 2
        or targets.shape[1] in (len(task.output_names), 0)
        or targets.shape[1] != len(places)
    ):
        return None
    if getattr(batch, "defined", None) is not None:
        raise UserError(
            f"the readout of labels applies to tasks with a symbol at every output position, not to {task.kind!r}: "
            "give a target of your own (target=...; at a terminal --target module:function)"
        )
    return None if targets.is_floating_point() else LabelTarget()
