"""Tasks: what a model is trained on, and the answers known in closed form. Independent of models.

Each name is loaded when it is first used, so that what needs no torch (errors, help at a terminal) loads none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.lazy import lazy
from tasks.renamed import watch_imports

if TYPE_CHECKING:
    from tasks.base import Batch, Interface, Level, Pair, Relation, Task, build, kinds, register, settings_of
    from tasks.errors import UserError
    from tasks.given import GivenPrompts
    from tasks.given_making import from_tensors
    from tasks.induction import Induction, InductionBatch
    from tasks.khop import KHop, KHopBatch
    from tasks.markov import MarkovBatch, MarkovChains
    from tasks.program import Program, ProgramBatch
    from tasks.prompts import TextRetrieval
    from tasks.prompts_batch import PromptBatch
    from tasks.regression import InContextRegression
    from tasks.regression_layout import RegressionBatch
    from tasks.retrieval import MultiHopRetrieval
    from tasks.retrieval_draws import RetrievalBatch
    from tasks.single_index import SingleIndex, SingleIndexBatch
    from tasks.streams import check_batch, generator

_HOMES = {
    "base": (
        "Batch", "Interface", "Level", "Pair", "Relation",
        "Task", "build", "kinds", "register", "settings_of",
    ),
    "errors": ("UserError",),
    "given": ("GivenPrompts",),
    "given_making": ("from_tensors",),
    "induction": ("Induction", "InductionBatch"),
    "khop": ("KHop", "KHopBatch"),
    "markov": ("MarkovBatch", "MarkovChains"),
    "program": ("Program", "ProgramBatch"),
    "prompts": ("TextRetrieval",),
    "prompts_batch": ("PromptBatch",),
    "regression": ("InContextRegression",),
    "regression_layout": ("RegressionBatch",),
    "retrieval": ("MultiHopRetrieval",),
    "retrieval_draws": ("RetrievalBatch",),
    "single_index": ("SingleIndex", "SingleIndexBatch"),
    "streams": ("check_batch", "generator"),
}  # fmt: skip
watch_imports()
__all__ = [
    "Batch",
    "GivenPrompts",
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
    "from_tensors",
    "generator",
    "kinds",
    "register",
    "settings_of",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
