"""Which circuit answers a hop: both are found where they are wired, and neither in a net that knows nothing."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.heads.mechanism import identified_circuit, mechanism
from interp.models import build_model
from interp.models.constructed import ConstructedModel, constructed_retrieval
from tasks import UserError
from tasks.regression import InContextRegression
from tasks.retrieval import MultiHopRetrieval


def _named(net: ConstructedModel) -> dict[str, str]:
    return identified_circuit(mechanism(net.model, net.task, prompts=96)).iloc[0].to_dict()


@pytest.mark.parametrize("hops", [2, 3, 4])
def test_the_wired_look_ahead_net_is_named(hops: int) -> None:
    found = _named(constructed_retrieval(hops, "merge", distractors=12, seed=hops, dtype="float32"))
    assert found["circuit"] == found[f"hop {hops}"] == "look-ahead"
    assert found["hop 1"] == "stacked"


@pytest.mark.parametrize("hops", [2, 4])
def test_the_wired_chain_of_retrieval_heads_is_named(hops: int) -> None:
    found = _named(constructed_retrieval(hops, "chain", distractors=12, seed=hops, dtype="float32"))
    assert set(found.values()) == {"stacked"}


def test_a_head_on_the_last_source_that_writes_something_else_does_not_make_the_circuit_stacked() -> None:
    """In the four-hop net a head does attend from the query to link 3, but for the sake of hop 4."""
    net = constructed_retrieval(4, "merge")
    table = mechanism(net.model, net.task, prompts=96).set_index(["position", "metric"])
    assert table.loc[("hop 3", "direct"), "members"] != ""
    assert table.loc[("hop 3", "direct"), "value"] == pytest.approx(0, abs=1e-6)
    assert table.loc[("hop 3", "circuit"), "note"] == "look-ahead"


def test_without_its_look_ahead_head_the_hop_is_not_solved() -> None:
    net = constructed_retrieval(3, "merge")
    ahead = next(head for head, role in net.circuit.roles.items() if role == "link_k -> link_k+1")
    with torch.no_grad():
        net.model.typed_blocks()[int(ahead[1])].attn.W_O[int(ahead[3:])].zero_()
    found = _named(net)
    assert (found["hop 2"], found["hop 3"], found["circuit"]) == ("stacked", "not solved", "stacked")


def test_an_untrained_net_has_no_circuit() -> None:
    task = MultiHopRetrieval(hops=3)
    config = TransformerConfig(n_layers=2, n_heads=4, d_model=32, mask="full", positions="none", mlp="none")
    table = mechanism(build_model(config, task.interface, 0).eval(), task, prompts=96)
    assert set(identified_circuit(table).iloc[0]) == {"not solved"}
    assert (table.loc[table["metric"] != "circuit", "value"] == 0).all(), "no head holds a role"


@pytest.mark.parametrize("task", [InContextRegression(d=2, n=4), MultiHopRetrieval(hops=2, target="mix")])
def test_tasks_without_a_read_a_hop_are_refused(task) -> None:
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0).eval()
    with pytest.raises(UserError, match="output a hop"):
        mechanism(model, task)
