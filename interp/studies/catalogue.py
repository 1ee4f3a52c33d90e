"""The studies by name, and the module of each that runs it; imports none of them."""

from __future__ import annotations

STUDIES: dict[str, str] = {
    "one-step-gd": "interp.studies.one_step_gd.study",
    "linear-attention": "interp.studies.linear_attention.study",
    "newton": "interp.studies.newton.study",
    "single-index": "interp.studies.single_index.study",
    "stacked-heads": "interp.studies.stacked_heads.study",
    "retrieval-prompts": "interp.studies.retrieval_prompts.study",
    "markov-chains": "interp.studies.markov_chains.study",
    "task-diversity": "interp.studies.task_diversity.study",
}
