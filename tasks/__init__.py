"""Ground floor: what a model is trained on, and the answers known in closed form. Knows no model."""

from tasks.base import (
    Batch,
    Interface,
    Level,
    Pair,
    Relation,
    Task,
    build,
    check_batch,
    generator,
    kinds,
    register,
    settings_of,
)
from tasks.conditional import ConditionalBatch, ConditionalRetrieval
from tasks.errors import UserError
from tasks.induction import Induction, InductionBatch
from tasks.khop import KHop, KHopBatch
from tasks.markov import MarkovBatch, MarkovChains
from tasks.program import Program, ProgramBatch
from tasks.prompts import PromptBatch, TextRetrieval
from tasks.regression import InContextRegression, RegressionBatch
from tasks.retrieval import MultiHopRetrieval, RetrievalBatch
from tasks.single_index import SingleIndex, SingleIndexBatch

__all__ = [
    "Batch",
    "ConditionalBatch",
    "ConditionalRetrieval",
    "InContextRegression",
    "Induction",
    "InductionBatch",
    "Interface",
    "KHop",
    "KHopBatch",
    "Level",
    "MarkovBatch",
    "MarkovChains",
    "MultiHopRetrieval",
    "Pair",
    "Program",
    "ProgramBatch",
    "PromptBatch",
    "RegressionBatch",
    "Relation",
    "RetrievalBatch",
    "SingleIndex",
    "SingleIndexBatch",
    "Task",
    "TextRetrieval",
    "UserError",
    "build",
    "check_batch",
    "generator",
    "kinds",
    "register",
    "settings_of",
]
