"""Nets of odd shape: adopted whole, in part with what is refused named, or refused in one line."""

from __future__ import annotations

import os

import pytest
import torch

import interp
from interp.causal.behaviour import resampled_pair
from interp.causal.edge_runs import EdgeRuns
from tasks import UserError
from tests.external.adopting import HERE, TASK, odd, theirs


@pytest.fixture(scope="module", autouse=True)
def _installed():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "installed"))
        yield


FULL = os.environ.get("ALGOSCOPE_FULL") == "1"


def run_of(make, layout):
    return interp.adopt(theirs.drawn(make()), task=TASK, layout=layout, quiet=True)


@pytest.mark.parametrize("what", list(odd.WHOLE)[:: 1 if FULL else 4])
@torch.no_grad()
def test_a_net_of_odd_shape_is_adopted_whole(what):
    make, layout = odd.WHOLE[what]
    run = run_of(make, layout)
    model = run.model()
    assert [str(proof) for proof in model.proofs if not proof.holds] == []
    module, pair = theirs.drawn(make()), resampled_pair(run.task, 0, 4)
    clean, other = module(pair.clean.inputs), module(pair.corrupt.inputs)
    assert (model(pair.clean.inputs)[:, 1:] - clean[:, 1:]).abs().max() < 1e-4 * clean.abs().max()
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    for circuit, wanted in ((runs.known, clean), ((), other)):
        assert (runs.outputs(circuit) - wanted)[:, 1:].abs().max() < 1e-4 * wanted.abs().max()
    if FULL:
        for component in ("q", "k", "v", "z", "pattern"):
            table = run.patch(component, by=("layer", "head"), prompts=4).table
            assert len(table) == model.config.n_layers * model.config.n_heads


@pytest.mark.parametrize("what", list(odd.PART)[:: 1 if FULL else 3])
def test_what_cannot_be_had_of_a_net_is_refused_by_name_and_the_rest_works(what):
    make, layout, refused = odd.PART[what]
    run = run_of(make, layout)
    model = run.model()
    assert refused in model.refused
    assert "edges" in model.refused
    assert run.scores().table["value"].notna().any()
    assert len(run.patch("resid_pre", by=("layer",), prompts=4).table) == 2
    with pytest.raises(UserError, match=r"edges of Odd are not offered: it was not so that"):
        run.circuit(prompts=4)


@pytest.mark.parametrize("what", odd.REFUSED)
def test_a_net_whose_parts_cannot_be_told_apart_is_refused_in_one_line(what):
    make, layout, told = odd.REFUSED[what]
    with pytest.raises(UserError, match=told) as refused:
        run_of(make, layout)
    assert "\n" not in str(refused.value)
