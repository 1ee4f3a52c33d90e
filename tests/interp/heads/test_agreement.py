"""Circuits beside the roles that attention suggests: planted nets, untrained nets, and the command line."""

from __future__ import annotations

import json

import pytest

from interp.causal.circuit import Circuit
from interp.causal.circuits import find_circuit
from interp.cli import run as interp
from interp.config.run import parse_config
from interp.heads.agreement import agreement
from interp.heads.heads import has_roles
from interp.heads.roles import roles
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from interp.run import Run, load
from interp.train.loop import train
from tasks.errors import UserError


@pytest.mark.parametrize(("hops", "variant"), [(2, "chain"), (3, "merge")])
def test_planted_heads_have_their_role_and_decoys_have_none(hops, variant):
    net = constructed_retrieval(hops, variant, distractors=8, dtype="float32")
    found = find_circuit(net.model, net.task, prompts=32, draws=100)
    table = agreement(found, roles(net.model, net.task, prompts=64))
    named = {f"L{row.layer}H{row.head}": row for row in table.itertuples()}
    assert {name: named[name].role for name in net.circuit.heads} == dict(net.circuit.roles)
    assert all(named[name].found == "neither" for name in net.circuit.distractors)
    assert table["value"].eq(1).all()
    assert table["chance"].iloc[0] < 0.7
    assert {name for name, row in named.items() if row.edge > 0} == net.circuit.heads


def test_disagreement_is_named_head_by_head():
    net = constructed_retrieval(2, "chain", distractors=2, dtype="float32")
    role = {name: head for head, name in net.circuit.roles.items()}
    distractor = min(net.circuit.distractors)
    swapped = Circuit(((role["query -> link_1"], "output"), (distractor, "output")), (0.4, 0.2))
    table = agreement(swapped, roles(net.model, net.task, prompts=64))
    said = {f"L{row.layer}H{row.head}": (row.value, row.found) for row in table.itertuples()}
    assert said[role["query -> link_1"]] == (1, "in the circuit, with a role")
    assert said[role["query -> link_2"]] == (0, "a role, but not in the circuit")
    assert said[distractor] == (0, "in the circuit, without a role")


def test_an_untrained_net_agrees_on_nothing_to_see_and_chance_says_so():
    net = constructed_retrieval(2, "chain", distractors=2, dtype="float32")
    model = build_model(net.model.config, net.task.interface, 0).eval()
    table = agreement(find_circuit(model, net.task, prompts=32), roles(model, net.task, prompts=64))
    assert set(table["found"]) == {"neither"}
    assert (table["chance"] == 1).all()


RUN = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {
        "kind": "transformer",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "mlp": "none",
        "mask": "full",
    },
    "train": {"steps": 60, "batch": 64, "lr": 0.02, "eval_batch": 16, "schedule": {"explicit": [0]}},
}


def test_the_command_line_says_where_they_agree(tmp_path, capsys):
    out = str(tmp_path / "run")
    train(parse_config(RUN), out)
    assert interp(["circuit", out, "--prompts", "32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["head"] for row in document["heads"]} == {0, 1}
    assert all(row["value"] in (0, 1) for row in document["heads"])
    assert interp(["circuit", out, "--prompts", "32"]) == 0
    text = capsys.readouterr().out
    shown = load(out).agreement(prompts=32).table
    edges = {row["sender"] for row in document["rows"]} - {None, "", "embed"}
    assert {f"L{r.layer}H{r.head}" for r in shown.itertuples() if r.found.startswith("in the")} == edges
    assert ("agree" in text) == bool(edges)


def test_a_model_whose_heads_have_no_roles_says_so(tmp_path):
    signed = {**RUN, "model": {**RUN["model"], "attention": "linear"}}
    run = Run(
        train(parse_config({**signed, "train": {**RUN["train"], "steps": 1, "schedule": {}}}), tmp_path / "a")
    )
    assert not has_roles(run.config.model, run.task)
    with pytest.raises(UserError, match="softmax"):
        run.agreement(prompts=32)
