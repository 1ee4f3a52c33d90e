"""The command line: exit codes, one-line errors, one JSON document, tables that fit 100 columns."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from interp.causal.over_training import CircuitSearch
from interp.cli import run as cli


@pytest.mark.parametrize("command", ["scores", "probe", "heads", "emergence"])
def test_tables_fit_and_json_is_one_document(folder, command, capsys, tmp_path) -> None:
    assert cli([command, folder]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert "\x1b" not in shown, "plain text in a pipe"
    assert cli([command, folder, "--json", "--out", str(tmp_path / "new/t.parquet")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["analysis"] == command
    assert len(document["rows"]) == len(pd.read_parquet(tmp_path / "new/t.parquet")) > 0


def test_patch_and_circuit(folder, capsys, tmp_path) -> None:
    kept = str(tmp_path / "p.parquet")
    assert cli(["patch", folder, "--pair", "swap-hop-2", "--prompts", "8", "--steps", "0,8", "-o", kept]) == 0
    assert set(pd.read_parquet(kept)["step"]) == {0, 8}
    shown = capsys.readouterr().out
    assert shown.startswith("Step 8: no behaviour to restore")
    assert shown.count("no behaviour to restore") == 3, "8 steps have taught it nothing"
    assert "normalised effect" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert cli(["circuit", folder, "--prompts", "8", "--steps", "all", "-o", str(tmp_path / "c.json")]) == 0
    assert "no behaviour to explain" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["edges"] == []
    for wrong in (
        ["circuit", folder, "--prompts", "8", "--resamples", "-1"],
        ["patch", folder, "--pair", "swap-hop-9"],
        ["patch", folder, "--component", "soul"],
    ):
        assert cli(wrong) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_circuits_of_other_prompts_are_laid_over_each_other(folder, capsys, monkeypatch) -> None:
    """Stand-in searches: the first circuit has two edges, the one of seed 1 shares one of them."""
    edges = [("embed", "L0H0.v"), ("L0H0", "output")]

    def found(search, model, task) -> pd.DataFrame:
        rows = [{"metric": "edge", "sender": s, "receiver": r, "value": 0.5} for s, r in edges[search.seed :]]
        faithful = [
            {"metric": "faithfulness", "control": c, "edges": 2, "value": 1.0} for c in ("none", "random")
        ]
        return pd.DataFrame(rows + faithful).assign(ci_low=0.9, ci_high=1.1, n=8)

    monkeypatch.setattr(CircuitSearch, "measure", found)
    asked = ["circuit", folder, "--prompts", "9", "--resamples", "1"]
    assert cli([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overlap"] == 0.5
    assert cli(asked) == 0
    assert "prompts of 2 seeds share 0.50 of their edges" in capsys.readouterr().out


def test_conclusions_of_a_circuit_come_before_its_heaviest_edges(folder, capsys, monkeypatch) -> None:
    def found(search, model, task) -> pd.DataFrame:
        rows = [
            {"metric": "edge", "sender": f"S{i}", "receiver": "output", "value": i / 30} for i in range(30)
        ]
        faithful = [
            {"metric": "faithfulness", "control": c, "edges": 30, "value": 1.0} for c in ("none", "random")
        ]
        return pd.DataFrame(rows + faithful).assign(ci_low=0.9, ci_high=1.1, n=8)

    monkeypatch.setattr(CircuitSearch, "measure", found)
    asked = ["circuit", folder, "--prompts", "10"]
    assert cli(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    edges = [number for number, line in enumerate(lines) if "output" in line]
    assert len(edges) == 20
    assert lines[edges[0]].split()[0] == "S29"
    assert max(number for number, line in enumerate(lines) if "faithfulness" in line) < edges[0]
    assert any("20 largest of 30 edges" in line for line in lines)
    assert max(map(len, lines)) <= 100
    assert cli([*asked, "--edges", "30"]) == 0
    assert capsys.readouterr().out.count("output") == 30


def test_a_reader_that_stops_is_no_fault(folder) -> None:
    """The pipe is closed before anything is written, so that no timing decides."""
    for words in (["--help"], ["runs", folder, "--json"]):
        accumulator, writer = os.pipe()
        os.close(accumulator)
        program = f"from interp.cli import main; main({words!r})"
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True
        )
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (141, "")


def test_a_file_is_told_from_a_folder_that_is_not_there(capsys, tmp_path) -> None:
    (tmp_path / "afile").write_text("")
    assert cli(["scores", str(tmp_path / "afile")]) == 2
    assert "afile: is a file, not the folder of a run" in capsys.readouterr().err


def test_heads_by_layer(folder, capsys) -> None:
    assert cli(["heads", folder, "--layers", "--steps", "last"]) == 0
    shown = capsys.readouterr().out
    assert "query -> link 1" in shown
    assert "link k: the pair that answers hop k" in shown


def test_runs_verify_resume_export(folder, capsys, tmp_path) -> None:
    assert cli(["runs", folder]) == 0
    assert "finished" in capsys.readouterr().out
    assert cli(["verify", folder]) == 0
    assert cli(["resume", folder]) == 0
    assert cli(["export", folder, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
    capsys.readouterr()
    assert cli(["verify", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_verify_names_the_damage(folder, capsys, tmp_path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken, ignore=shutil.ignore_patterns("analysis"))
    victim = broken / "checkpoints" / "00000004.safetensors"
    data = bytearray(victim.read_bytes())
    data[-3] ^= 1
    victim.write_bytes(bytes(data))
    assert cli(["verify", str(broken)]) == 1
    assert "00000004.safetensors" in capsys.readouterr().out
    assert cli(["scores", str(broken), "--steps", "4"]) == 2
    assert "00000004.safetensors" in capsys.readouterr().err


def test_markup_in_a_run_s_name_is_text(folder, capsys, tmp_path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "[red]x[" / "]y")
    assert cli(["runs", str(tmp_path)]) == 0
    assert "[red]x[" in capsys.readouterr().out


def test_a_checkpoint_that_is_gone_or_altered_is_not_passed_over(folder, capsys, tmp_path) -> None:
    import shutil

    assert cli(["scores", folder]) == 0
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    victim = broken / "checkpoints" / "00000004.safetensors"
    data = bytearray(victim.read_bytes())
    data[-3] ^= 1
    victim.write_bytes(bytes(data))
    assert cli(["scores", str(broken)]) == 2, "cached rows must not stand for altered weights"
    victim.unlink()
    assert cli(["scores", str(broken)]) == 2
    assert "step 4 is missing" in capsys.readouterr().err
    assert cli(["scores", str(broken), "--steps", "8"]) == 0


def test_an_unknown_axis_is_refused(folder, capsys) -> None:
    assert cli(["patch", folder, "--by", "zzz"]) == 2
    assert "zzz" in capsys.readouterr().err


def test_wrong_step_names_the_nearest(folder, capsys) -> None:
    assert cli(["scores", folder, "--steps", "5"]) == 2
    assert "nearest is 4" in capsys.readouterr().err


@pytest.mark.parametrize("replacement", ["zero", "mean", "mean per position", "resample"])
def test_every_replacement_that_help_names_is_taken(folder, replacement, capsys) -> None:
    assert cli(["patch", "--help"]) == 0
    assert replacement in " ".join(capsys.readouterr().out.split())
    asked = ["patch", folder, "--direction", "noise", "--prompts", "8", "--by", "layer"]
    assert cli([*asked, "--replacement", replacement]) == 0


def test_ridge_strengths_asked_for_are_those_of_the_readout(folder, capsys) -> None:
    """So strong a ridge leaves nothing but the most frequent symbol: the usual strengths read better."""
    found = []
    for strengths in (["1e12"], ["1e-3"]):
        assert cli(["probe", folder, "--steps", "last", "--ridge", *strengths, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        found.append([row["value"] for row in rows if row["control"] == "none"])
    assert found[0] != found[1]
