"""The page of a model with too many edges: the circuit among its strongest nodes if it was searched, else how to."""

from __future__ import annotations

import json
import shlex

import pytest

from interp.cli import run as cli
from interp.config.run import configure
from interp.importers.record import record
from interp.models.constructed import constructed_induction
from interp.report import circuit_view
from interp.report.circuit_view import why_not
from interp.report.coarse_view import searched
from interp.report.collect import collect
from interp.run import Run, load
from tasks import settings_of


@pytest.fixture(scope="module")
def net():
    return constructed_induction(vocab=12, distractors=4, dtype="float32")


@pytest.fixture(scope="module")
def run(net, tmp_path_factory) -> Run:
    model = net.model.config.model_dump(mode="json")
    train = {"steps": 1, "batch": 4, "lr": 0.1}
    config = configure({"task": settings_of(net.task), "model": model, "train": train})
    folder = tmp_path_factory.mktemp("planted") / "run"
    return Run(record(folder, config, (0,), lambda _: net.model.state_dict()))


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(circuit_view, "MOST_SEARCHED", 1)
    monkeypatch.setattr(circuit_view, "MOST_EDGES", 1)


def test_the_page_shows_the_circuit_among_the_strongest_nodes(run, net, many, capsys):
    assert searched(run) is None
    assert circuit_view.circuit_table(run, None) is None
    assert "--nodes 30 --prompts 16" in why_not(run)
    assert cli(["circuit", str(run.path), "--nodes", "3", "--prompts", "16", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    edges = {(row["sender"], row["receiver"]) for row in rows if row["metric"] == "edge"}
    assert edges == set(net.circuit.edges)

    page = collect(run)
    drawn = page.circuit
    assert drawn.columns
    assert drawn.tokens == ("embedding", *(f"head {i}" for i in range(net.model.config.n_heads)), "MLP")
    nodes = {node.name: node for node in drawn.nodes}
    assert set(nodes) == {"embedding", "output", *net.circuit.roles}
    pairs = {("embedding" if s == "embed" else s, r.partition(".")[0]) for s, r in edges}
    assert set(zip(drawn.edges["source"], drawn.edges["target"], strict=True)) == pairs
    for head, node in ((name, nodes[name]) for name in net.circuit.roles):
        assert (node.layer, node.head, node.position) == (int(head[1]), int(head[3]), 1 + int(head[3]))
    answer = page.answers["Which circuit does it"]
    assert "5 edges through 2 heads among the 3 strongest heads and MLPs" in answer
    assert "Its heads by what they attend to: " in answer
    assert any(node.role for node in drawn.nodes)
    command = next(made[1] for made in page.made if "--nodes" in made[1])
    assert load(run.path).folder.table_path(searched(run).table_name).exists()
    assert cli(shlex.split(command)[1:]) == 0  # it is at hand
    assert "5 edges through 2 heads" in " ".join(capsys.readouterr().out.split())


def test_options_that_do_not_go_together_are_refused(run, capsys, tmp_path):
    for words in (["--resamples", "1"], ["--from", str(tmp_path / "edges.txt")], ["--method", "EAP"]):
        assert cli(["circuit", str(run.path), "--nodes", "3", *words]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
