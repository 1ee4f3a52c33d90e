"""The table of benchmarks: weighed pairs, rows that fail with a reason, and baselines that are what they say."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import json
import math
import mmap

import pytest
import torch

from interp.config.run import configure
from interp.models import build_model
from tests.bench import recipes, table, training_step
from tests.bench.rows import Row, flop_of, peak_mb, weighed
from tests.bench.time_to_risk import TimeToRisk

SMALL = {"model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8}


def test_a_ratio_is_the_median_of_pairs() -> None:
    found = weighed(Row("x", 0.0, limit=0.5), [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)])
    assert (found.project, found.baseline, found.ratio, found.low, found.high, found.pairs) == (
        2.0,
        2.0,
        1.0,
        0.5,
        1.5,
        3,
    )
    assert found.over_limit == 4.0


def test_flop_and_memory_are_counted() -> None:
    a = torch.ones(16, 16)
    assert flop_of(lambda: a @ a) == 2 * 16**3
    fresh = (
        b"1" * 1_000_000
    )  # written to pages of its own: an allocation could reuse what the process has freed

    def take() -> None:
        with mmap.mmap(-1, 160_000_000) as pages:
            for _ in range(160):
                pages.write(fresh)

    assert peak_mb(take) > peak_mb(lambda: None) + 100
    assert math.isnan(peak_mb(lambda: 1 / 0))


@pytest.mark.parametrize("preset", ["regression", "retrieval"])
def test_the_plain_peer_is_the_same_function(preset) -> None:
    """With the same weights it gives the same outputs, so that the same work is timed."""
    config = configure(preset, changes=SMALL)
    project = build_model(config.model, config.task.interface, 3)
    baseline = training_step.Plain(config.model, config.task.interface)
    block, plain = project.blocks[0], baseline.blocks[0]
    pairs = [(plain.qkv.weight, torch.cat([block.attn.w_q, block.attn.w_k, block.attn.w_v], 1).T)]
    pairs += [(plain.out.weight, block.attn.w_o.T), (baseline.head.weight, project.W_U.T)]
    if plain.mlp is not None:
        pairs += [(plain.mlp[1].weight, block.mlp.W_in.T), (plain.mlp[3].weight, block.mlp.W_out.T)]
    with torch.no_grad():
        for parameter in (*project.parameters(), *baseline.parameters()):
            if parameter.ndim == 1:
                parameter.zero_()
        for module in baseline.modules():
            if isinstance(module, torch.nn.LayerNorm) and module.weight is not None:
                module.weight.fill_(1)
        for name, parameter in project.named_parameters():
            if name.endswith((".w", "ln_final.w")):
                parameter.fill_(1)
        for theirs, mine in pairs:
            theirs.copy_(mine)
        inputs = config.task.sample(0, "test", 0, 4).inputs
        baseline.tokens, baseline.positions, baseline.types = torch.nn.Identity(), None, None
        torch.testing.assert_close(baseline(project.embed(inputs)), project(inputs), atol=1e-5, rtol=1e-4)


def test_a_row_that_fails_says_why(tmp_path, monkeypatch) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho 'Traceback' >&2; echo 'ValueError: no such baseline' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    monkeypatch.setattr("os.getloadavg", lambda: (1.5, 1.2, 1.0))
    (line,) = table.measure("probes", True)
    assert line["note"] == "failed: ValueError: no such baseline"
    assert (
        "| probes | - CPU s | - | - | 0 | - | -, - | 1.5, 1.5 | failed: ValueError: no such baseline; quick |"
        in table.markdown([line])
    )


def test_the_table_says_what_it_took_to_measure() -> None:
    """A row of several lines is counted once."""
    lines = [{"key": key, "quick": False, "took": took, **dataclasses.asdict(Row(key, 1.0))}
             for key, took in (("report", 3), ("startup", 4), ("startup", 4))]  # fmt: skip
    assert table.markdown(lines).endswith("report 3, startup 4; 7 in all.")


def test_rows_asked_for_are_kept_beside_the_others(tmp_path, monkeypatch, capsys) -> None:
    def measured(name: str, quick: bool) -> list[dict]:
        return [{"key": name, "quick": quick, **dataclasses.asdict(Row(f"{name} {len(calls)}", 1.0))}]

    calls: list[str] = []
    monkeypatch.setattr(table, "measure", lambda name, quick: (calls.append(name), measured(name, quick))[1])
    for rows in (["report"], ["startup"], ["report"]):
        monkeypatch.setattr("sys.argv", ["table", *rows, "--out", str(tmp_path)])
        assert table.main() == 0
    capsys.readouterr()
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert [line["name"] for line in kept] == ["report 3", "startup 2"]


def test_a_peer_that_never_arrives_is_over_budget() -> None:
    mine = TimeToRisk(0, "muon", 0.1, 0.3, 0.0, 0.32, 0.32, 100, 60, 5.0, 6.0)
    row = recipes._row(mine, dataclasses.replace(mine, step=None, cpu_s=None, best_loss=0.9))
    assert (row.project, row.baseline) == (5.0, math.inf)
    cells = table._cells({"quick": False, **dataclasses.asdict(row)})
    assert cells[2] == "> budget published recipe"
    assert cells[3] == "-"
    assert "loss 0.900 at best" in cells[-1]


def test_every_module_that_a_row_takes_its_lines_from_is_there() -> None:
    """Rows import when they are measured, and one that fails is a line of the table, not an error."""
    tree = ast.parse(inspect.getsource(table))
    taken = [
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "tests.bench"
        for name in node.names
    ]
    assert len(taken) >= len(table.ROWS)
    assert not [name for name in taken if importlib.util.find_spec(f"tests.bench.{name}") is None]
