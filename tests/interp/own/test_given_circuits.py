"""Known circuits: compared with what a search finds, and measured as they are given."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from interp.causal.circuit import Circuit
from interp.causal.given import KnownCircuit, compared, known_circuit, read_circuit
from interp.cli import run as cli
from tasks import UserError

DATA = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "tracr"
A, B, C = ("embed", "L0H0.v"), ("L0H0", "L1H0.k"), ("L1H0", "output")


def _values(table):
    return table.set_index("metric")["value"]


def test_precision_and_recall_of_edges_nodes_and_places():
    known = KnownCircuit(frozenset({A, B, C, ("embed", "L1H0.q")}), frozenset({("embed", "L1H0.q")}))
    found = _values(compared([A, B, ("L0H1", "output")], known))
    assert found["edge precision"] == pytest.approx(2 / 3)
    assert found["edge recall"] == pytest.approx(2 / 4)
    assert found["edge recall, not positional"] == pytest.approx(2 / 3)
    assert found["edge recall, positional"] == 0
    assert found["node precision"] == pytest.approx(2 / 3)  # L0H0 and L1H0 of these and L0H1
    assert found["node recall"] == 1


def test_an_empty_circuit_has_no_precision():
    table = compared([], KnownCircuit(frozenset({A, C})))
    found = _values(table)
    assert math.isnan(found["edge precision"])
    assert math.isnan(found["node precision"])
    assert found["edge recall"] == 0
    assert table.set_index("metric")["note"]["edge precision"] == "nothing was found"


def test_files_of_edges_in_every_form(tmp_path):
    forms = {
        "lines.txt": "embed -> L0H0.v  # what it copies\n\nblocks.0.attn.hook_z.0 -> L1H0.k\nL1H0 -> output\n",
        "list.json": json.dumps([list(A), list(B), list(C)]),
        "object.json": json.dumps({"edges": [list(A), list(C)], "positional_edges": [list(B)]}),
        "document.json": Circuit((A, B, C), (1.0, 0.5, 0.2)).to_json(),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        assert known_circuit(tmp_path / name).edges == {A, B, C}
    assert read_circuit(tmp_path / "object.json").positional == {B}
    parts = "token_embed -> L0H0.v\npos_embed -> L0H0.v\npos_embed -> L1H0.q\nL1H0 -> output\n"
    (tmp_path / "parts.txt").write_text(parts)
    split = read_circuit(tmp_path / "parts.txt")
    assert split.edges == {A, C, ("embed", "L1H0.q")}
    assert split.positional == {
        ("embed", "L1H0.q")
    }  # what starts from places and tokens is no matter of places alone


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no edge"),
        ("embed L0H0.v", "is no edge"),
        ("embed -> nowhere", "'nowhere' is no site"),
        ("[1, 2]", "1 is no edge"),
        ("{}", "has no `edges`"),
        ("[[", "not valid JSON"),
    ],
)
def test_files_that_are_no_edges_are_refused(tmp_path, text, told):
    (tmp_path / "edges").write_text(text)
    with pytest.raises(UserError, match=told) as refused:
        read_circuit(tmp_path / "edges")
    assert "\n" not in str(refused.value)


def test_the_planted_circuit_is_found_and_measures_what_it_should(run, net):
    table = run.circuit(truth=net.circuit.edges, prompts=32).table
    found = _values(table[table["metric"].str.contains("precision|recall")])
    assert found.tolist() == [1, 1, 1, 1]
    given = run.circuit(edges=net.circuit.edges, prompts=32).table
    assert set(given["metric"]) >= {"edge", "faithfulness", "completeness", "minimality", "empirical p"}
    assert "curve" not in set(given["control"])
    own = given[(given["metric"] == "faithfulness") & (given["control"] == "none")]
    assert own["value"].item() == pytest.approx(1, abs=1e-4)
    less = [edge for edge in sorted(net.circuit.edges) if edge != ("L0H0", "L1H0.k")]
    broken = run.circuit(edges=less, truth=net.circuit.edges, prompts=32).table
    assert _values(broken[broken["metric"] == "edge recall"]).item() == pytest.approx(4 / 5)
    own = broken[(broken["metric"] == "faithfulness") & (broken["control"] == "none")]
    assert own["ci_high"].item() < 0.9
    with pytest.raises(UserError, match="the model has no edge L7H0 -> output"):
        run.circuit(edges=[("L7H0", "output")], prompts=32)
    with pytest.raises(UserError, match="the model has no edge L7H0 -> output"):
        run.circuit(truth=[("L7H0", "output")], prompts=32)


def test_the_command_compares_and_measures(run, net, tmp_path, capsys):
    lines = "\n".join(f"{sender} -> {receiver}" for sender, receiver in sorted(net.circuit.edges))
    (tmp_path / "truth.txt").write_text(lines)
    words = ["circuit", str(run.path), "--prompts", "32"]
    assert cli([*words, "--truth", str(tmp_path / "truth.txt"), "--edges", "0"]) == 0
    told = capsys.readouterr().out
    assert "compared with the known circuit" in told
    assert "edge precision" in told
    assert cli([*words, "--from", str(tmp_path / "truth.txt")]) == 0
    assert "5 edges as they were given; nothing was searched" in " ".join(capsys.readouterr().out.split())
    assert cli([*words, "--truth", str(tmp_path / "nowhere.txt")]) == 2


@pytest.mark.skipif(not (DATA / "hist").is_dir(), reason="ALGOSCOPE_DATA has no compiled programs")
@pytest.mark.parametrize("name", ["hist", "reverse"])
def test_compiled_programs_against_their_known_circuits(name, tmp_path):
    import torch

    from interp.config.run import configure
    from interp.importers.record import record
    from interp.run import Run
    from tasks import settings_of
    from tasks.program_files import read_program

    file = read_program(DATA / name)
    task = settings_of(file.task)
    config = configure({"task": task, "model": file.model, "train": {"steps": 1, "batch": 4, "lr": 0.1}})
    weights = torch.load(DATA / name / "weights.pt", weights_only=True)
    run = Run(record(tmp_path / "run", config, (0,), lambda _: weights))
    found = run.circuit(truth=DATA / name / "program.json").table
    shares = _values(found[found["metric"].str.contains("precision|recall")])
    assert shares["edge precision"] == 1
    # prompts of one length cannot show the edges that compute it, which is most of `reverse`
    assert (shares["edge recall"] == 1) == (name == "hist")
    assert shares["node precision"] == 1
