"""Modules of this package that register a task, each of the kind of its name; imported when a kind is first asked for.

In a module of its own that loads nothing, so that a list of runs need not know what their tasks do.
"""

SHIPPED = (
    "induction",
    "given",
    "khop",
    "markov",
    "program",
    "prompts",
    "regression",
    "retrieval",
    "single_index",
)
