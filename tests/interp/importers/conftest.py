"""What tests of imports share: saved models of two families, and a GPT-2 of regression by other code."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Revisions of two families, one folder each."""
    from interp.studies.retrieval_prompts.runs import save
    from interp.studies.retrieval_prompts.runs_weights import tokenizer_of
    from tests.interp.importers.small_hf import FAMILIES, STEPS, untrained

    place = tmp_path_factory.mktemp("saved")
    for family in FAMILIES:
        for step in STEPS:
            save(untrained(family, step), tokenizer_of(), place / family / f"step{step}")
    return place


@pytest.fixture(scope="session")
def theirs():
    from tests.interp.importers.garg_nets import Theirs

    return Theirs(0)
