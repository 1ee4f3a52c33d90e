"""A GPT-2 of regression as its authors' code builds and saves it, and what an import of it must say or give."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

import interp
from interp.cli import run as cli

D, HEADS, LAYERS, WIDTH, POINTS, END = 3, 2, 2, 16, 9, 6


class Theirs(nn.Module):
    """Linear read-in, Hugging Face's GPT-2, linear read-out on interleaved (x, y)."""

    def __init__(self, seed: int):
        from transformers import GPT2Config, GPT2Model

        super().__init__()
        sizes = {"n_positions": 2 * POINTS, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        self._read_in = nn.Linear(D, WIDTH)
        self._backbone = GPT2Model(GPT2Config(vocab_size=11, use_cache=False, **sizes, **dropout))
        self._read_out = nn.Linear(WIDTH, 1)
        gen = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():  # large, so that every weight (biases, norms) shows in the output
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=gen)
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        return self._read_out(self._backbone(inputs_embeds=self._read_in(tokens)).last_hidden_state)


def config_yaml(**model) -> dict:
    sizes = {"family": "gpt2", "n_dims": D, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    curriculum = {"points": {"start": 2, "end": END, "inc": 2, "interval": 10}}
    training = {"task": "linear_regression", "task_kwargs": {}, "data": "gaussian", "curriculum": curriculum}
    return {
        "out_dir": "../models",
        "model": {**sizes, "n_positions": POINTS, **model},
        "training": {**training, "batch_size": 32, "learning_rate": 3e-4, "num_tasks": None},
    }


def write(folder: Path, state, name: str = "model_500.pt", config: dict | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / name)
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / name


def refused(*arguments, capsys) -> str:
    """The one line of a refusal."""
    assert cli(["import", *map(str, arguments)]) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert len(text.err.strip().splitlines()) == 1
    return text.err


def difference(run: interp.Run, theirs: Theirs, step: int) -> float:
    inputs = run.task.sample(0, "eval", 0, 64).inputs
    with torch.no_grad():
        ours, reference = run.model(step)(inputs), theirs(inputs)
    assert reference.std() > 0.3, "outputs large enough for the comparison to mean something"
    return (ours - reference).abs().max().item()
