"""A task that this package does not know: named in a variable at the terminal, never called damage without it."""

from __future__ import annotations

import pytest
import torch

import interp
from tasks import UserError

MODULE = """
import torch
import tasks

@tasks.register("echo")
class Echo(tasks.Task):
    @property
    def interface(self):
        return tasks.Interface(inputs="continuous", d_in=1, n_ctx=2, d_out=1, output_positions=(0, 1))
    def loss(self, outputs, batch):
        return (outputs[..., 0] - batch.targets) ** 2
    def sample(self, seed, stream, step, batch):
        x = torch.randn(batch, 2, 1, generator=tasks.generator(seed, stream, step))
        return tasks.Batch(x, x[..., 0])
"""
SETTINGS = """
train = {steps = 2, batch = 4, lr = 1e-3, eval_batch = 8}
task.kind = "echo"
model = {kind = "transformer", n_layers = 1, n_heads = 1, d_model = 4}
"""


def test_a_task_named_in_the_variable_works_at_the_terminal_and_is_no_damage_without(forked, tmp_path):
    def command(*words: str, module: str = "") -> tuple[int, str]:
        """Exit code and all that the command line says, in a process of its own."""
        done = forked.command(*words, cwd=tmp_path, env={"ALGOSCOPE_TASKS": module})
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "echoing.py").write_text(MODULE)
    (tmp_path / "echo.toml").write_text(SETTINGS)
    code, said = command("train", "echo.toml", "--out", "runs/echo", module="echoing")
    assert code == 0, said
    assert command("verify", "runs/echo", module="echoing")[0] == 0
    code, said = command("verify", "runs/echo")
    assert code == 2
    assert "unknown task kind 'echo'" in said
    assert "ALGOSCOPE_TASKS=module" in said
    assert "restore" not in said
    code, said = command("runs", "runs")
    assert code == 0
    assert "task not known here" in said
    assert "damaged" not in said
    code, said = command("verify", "runs/echo", module="no_such_module")
    assert code == 2
    assert "ALGOSCOPE_TASKS=no_such_module: cannot be imported" in said
    assert "restore" not in said


def test_a_recording_shows_itself_and_says_what_it_lacks(tmp_path):
    recorder = interp.Recorder(tmp_path / "theirs", {"model": "<mine>"}, schedule=[0, 1])
    model = torch.nn.Linear(1, 1)
    for step in range(2):
        recorder.record(step, model, loss=1.0)
    run = interp.load(tmp_path / "theirs")
    assert repr(run).endswith("theirs: recorded, 2 checkpoints, finished)")
    assert "<td>recorded</td>" in run._repr_html_()
    with pytest.raises(UserError, match="a recording whose settings are not those of a run"):
        run.scores()
