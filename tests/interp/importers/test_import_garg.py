"""Imported checkpoints compute what the GPT-2 they come from computes, and become runs with every analysis."""

from __future__ import annotations

import pytest
import torch

import interp
from interp.cli import run as cli
from interp.importers.garg import import_garg
from interp.runs.verify import verify
from tests.interp.importers.garg_nets import (
    END,
    HEADS,
    LAYERS,
    POINTS,
    WIDTH,
    D,
    Theirs,
    config_yaml,
    difference,
    refused,
    write,
)


def test_state_file_predicts_as_gpt2_does(theirs, tmp_path, capsys) -> None:
    content = {"model_state_dict": theirs.state_dict(), "optimizer_state_dict": {}, "train_step": 700}
    file = write(tmp_path / "theirs", content, "state.pt", config_yaml())
    assert cli(["import", "garg", str(file), "--out", str(tmp_path / "run")]) == 0
    assert "1 checkpoint, at step 700" in " ".join(capsys.readouterr().out.split())
    run = interp.load(tmp_path / "run")
    assert difference(run, theirs, 700) < 1e-5
    assert (run.task.d, run.task.n, run.steps) == (D, END - 1, (700,))
    assert (run.config.train.batch, run.config.train.lr) == (32, 3e-4)
    assert run.model().positions.W_pos.shape == (2 * END - 1, WIDTH), "rows past the last read are cut"
    assert str(verify(tmp_path / "run")).endswith("the run is finished")


def test_without_config_all_positions_are_used(theirs, tmp_path) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    run = interp.Run(import_garg(file, tmp_path / "run", n_heads=HEADS))
    assert run.task.n == POINTS - 1
    assert difference(run, theirs, 500) < 1e-5


def test_another_number_of_heads_computes_something_else(theirs, tmp_path) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    run = interp.Run(import_garg(file, tmp_path / "run", n_heads=2 * HEADS))
    assert difference(run, theirs, 500) > 1e-2


def test_a_folder_becomes_a_run_with_every_analysis(theirs, tmp_path, capsys) -> None:
    second, folder, out = Theirs(1), tmp_path / "theirs", tmp_path / "run"
    write(folder, second.state_dict(), "model_1000.pt", config_yaml())
    write(folder, theirs.state_dict(), "model_200.pt")
    write(folder, {"model_state_dict": theirs.state_dict(), "train_step": 1200}, "state.pt")
    assert cli(["import", "garg", str(folder), "--out", str(out)]) == 0
    run = interp.load(out)
    assert run.steps == (200, 1000)
    assert difference(run, theirs, 200) < 1e-5
    assert difference(run, second, 1000) < 1e-5
    for command in (
        ["scores"],
        ["probe"],
        ["heads"],
        ["patch", "--pair", run.task.pair_kinds[0], "--prompts", "8"],
    ):
        assert cli([command[0], str(out), *command[1:]]) == 0, command
    assert cli(["runs", str(out)]) == 0
    assert len(run.metrics()) == 0, "nothing was measured while it trained here"
    assert verify(out).ok


def test_second_import_changes_nothing_and_other_weights_are_refused(theirs, tmp_path, capsys) -> None:
    file, out = write(tmp_path / "theirs", theirs.state_dict(), config=config_yaml()), tmp_path / "run"
    import_garg(file, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    import_garg(file, out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    torch.save(Theirs(1).state_dict(), file)
    assert "other weights of step 500" in refused("garg", file, "--out", out, capsys=capsys)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_an_import_that_was_broken_off_is_finished(theirs, tmp_path, monkeypatch) -> None:
    from interp.runs.recorder import Recorder

    folder, out, whole = tmp_path / "theirs", tmp_path / "run", Recorder.record
    for step in (1, 2, 3):
        write(folder, theirs.state_dict(), f"model_{step}.pt", config_yaml())

    def stopped(self, step, weights, **metrics):
        if step == 2:
            raise KeyboardInterrupt
        whole(self, step, weights, **metrics)

    monkeypatch.setattr(Recorder, "record", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_garg(folder, out)
    assert interp.load(out).steps == (1,)
    monkeypatch.undo()
    assert import_garg(folder, out).steps == (1, 2, 3)
    assert str(verify(out)).endswith("the run is finished")


def test_masks_of_older_versions_are_dropped(theirs, tmp_path) -> None:
    old = theirs.state_dict()
    for layer in range(LAYERS):
        old[f"_backbone.h.{layer}.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.uint8)
        old[f"_backbone.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    run = interp.Run(import_garg(write(tmp_path / "theirs", old), tmp_path / "run", n_heads=HEADS))
    assert difference(run, theirs, 500) < 1e-5


def test_noise_and_scale_come_with_the_task(theirs, tmp_path) -> None:
    config = config_yaml()
    config["training"] |= {"task": "noisy_linear_regression", "task_kwargs": {"noise_std": 0.1, "scale": 2}}
    run = interp.Run(import_garg(write(tmp_path / "t", theirs.state_dict(), config=config), tmp_path / "run"))
    assert (run.task.noise, run.task.weight_scale) == (0.1, 2)
