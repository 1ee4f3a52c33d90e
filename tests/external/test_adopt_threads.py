"""Threads of an adopted model's analyses: as many as asked, afterwards as before, with the same values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import interp
from tests.external.adopting import HERE, TASK, theirs


@pytest.fixture(scope="module", autouse=True)
def _installed():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "installed"))
        yield


def test_an_adopted_model_computes_on_as_many_threads_as_asked_with_the_same_values(tmp_path):
    """Rounding alone may differ: 1e-5 of values of size 1."""
    out, seen = tmp_path / "run", set()
    weights = {0: theirs.drawn(theirs.llama()).state_dict()}
    interp.adopt(theirs.llama, checkpoints=weights, task=TASK, out=out, quiet=True)
    before = torch.get_num_threads()
    watched = torch.nn.modules.module.register_module_forward_hook(
        lambda *_: seen.add(torch.get_num_threads())
    )
    found = {}
    try:
        for count in (1, 2):
            run = interp.load(out, threads=count, tables=tmp_path / str(count))
            for name, ask in {
                "scores": run.scores,
                "heads": run.heads,
                "patch": lambda run=run: run.patch("z", by=("layer", "head"), prompts=8),
                "circuit": lambda run=run: run.circuit(prompts=8, tests=False),
            }.items():
                seen.clear()
                found[name, count] = ask().table.select_dtypes("number")
                assert seen == {count}, name
                assert torch.get_num_threads() == before
    finally:
        watched.remove()
    for name in ("scores", "heads", "patch", "circuit"):
        one, two = found[name, 1], found[name, 2]
        assert np.allclose(one, two, rtol=1e-4, atol=1e-5, equal_nan=True), name
        assert len(one)
