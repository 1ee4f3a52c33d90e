"""Attention of every head on a relation of a user's own, with the same controls as the relations of the task.

A relation is a function of a batch that gives rows and columns of attention: (dest, source), or (dest, source, valid),
each [batch, pair]; `valid` says which pairs count where prompts have different numbers of them. Scores, controls and
units are those of `interp.heads.heads`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.own import Own, answer_of, expected, short_name
from interp.heads.heads import HeadAccumulator, HeadScores, uniform_scores, unit_of
from interp.hooks.protocol import HookedModel
from tasks import Batch, Relation, Task

SHAPES = ("(dest, source) or (dest, source, valid), whole numbers [{batch}, pair] below {pos}", "a Relation")


class OwnRelation(HeadScores):
    """Attention mass of every head on one relation, a function of a batch."""

    name: ClassVar[str] = "own-relation"

    relation: Own

    def asked(self, batch: Batch) -> tuple[Relation, ...]:
        """The relation on some prompts."""
        return (relation_from(self.relation, batch),)

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> HeadAccumulator:
        return HeadAccumulator(self.hooks(model), task, unit_of(model.config), self.asked)

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame:
        uniform = uniform_scores(model, task, self.asked)
        return (
            uniform
            if untrained is None
            else pd.concat([untrained.table().assign(control="untrained"), uniform])
        )


def relation_from(question: Callable[[Batch], Any], batch: Batch) -> Relation:
    """The relation that a function gives. Raises UserError for positions that the prompts do not have."""
    given = answer_of("relation", question, batch)
    pos = batch.inputs.shape[1]
    shapes = [shape.format(batch=len(batch), pos=pos) for shape in SHAPES]
    tensors = isinstance(given, tuple | list) and all(isinstance(x, Tensor) and x.ndim == 2 for x in given)
    found = Relation(short_name(question), *given) if tensors and len(given) in (2, 3) else given
    if not isinstance(found, Relation) or not _fits(found, len(batch), pos):
        raise expected("relation", question, shapes, given)
    return found


def _fits(relation: Relation, prompts: int, pos: int) -> bool:
    places = (relation.dest, relation.source)
    shape = relation.dest.shape
    if relation.dest.ndim != 2 or len(shape) != 2 or shape[0] != prompts or shape[1] == 0:
        return False
    for place in places:
        if (
            place.shape != shape
            or place.is_floating_point()
            or not bool(((place >= 0) & (place < pos)).all())
        ):
            return False
    return relation.valid is None or (relation.valid.shape == shape and relation.valid.dtype == torch.bool)
