"""Ground floor: what a model is trained on, and the answers known in closed form. Knows no model."""

from tasks.base import (
    Batch,
    Interface,
    Level,
    Pair,
    Relation,
    Task,
    build,
    generator,
    kinds,
    register,
    settings_of,
)
from tasks.errors import UserError
from tasks.regression import InContextRegression, RegressionBatch
from tasks.retrieval import MultiHopRetrieval, RetrievalBatch

__all__ = [
    "Batch",
    "InContextRegression",
    "Interface",
    "Level",
    "MultiHopRetrieval",
    "Pair",
    "RegressionBatch",
    "Relation",
    "RetrievalBatch",
    "Task",
    "UserError",
    "build",
    "generator",
    "kinds",
    "register",
    "settings_of",
]
