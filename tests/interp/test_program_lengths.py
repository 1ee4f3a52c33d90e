"""Compiled nets made elsewhere on prompts of several lengths: their answers against the programs written in python."""

import os
from pathlib import Path

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from tasks import UserError
from tasks.program_files import of_lengths, read_program

FOLDER = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "tracr"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="compiled programs: set ALGOSCOPE_DATA to the folder that holds tracr/"
)
PROGRAMS = {
    "hist": lambda word: [word.count(letter) for letter in word],
    "reverse": lambda word: list(reversed(word)),
    "shift_by_2": lambda word: [None, None, *word[:-2]][: len(word)],
    "frac_prevs_causal": lambda word: [word[: i + 1].count("x") / (i + 1) for i in range(len(word))],
}


def loaded(name):
    file = read_program(FOLDER / name)
    model = build_model(TransformerConfig(**file.model), file.task.interface, 0).eval()
    model.load_state_dict(torch.load(FOLDER / name / "weights.pt", weights_only=True))
    return file.task, torch.no_grad()(model)


@pytest.mark.parametrize("name", PROGRAMS)
def test_answers_at_every_length_are_the_programs_own(name):
    task, run = loaded(name)
    longest = max(task.lengths)
    task = of_lengths(task, range(3, longest + 1), run)
    assert task.lengths == tuple(range(3, longest + 1))
    batch = task.every()
    for row, targets, defined in zip(task.labels(batch), batch.targets, batch.defined, strict=True):
        word = [letter for letter in row[1:] if letter != "pad"]
        for place, wanted in enumerate(PROGRAMS[name](word)):
            assert bool(defined[place]) == (wanted is not None)
            if wanted is not None:
                got = task.outputs[int(targets[place])] if task.categorical else float(targets[place])
                assert got == (wanted if task.categorical else pytest.approx(wanted, abs=1e-5))
        assert not defined[len(word) :].any()
    assert task.loss(run(batch.inputs), batch).max() < 1e-8


def test_a_program_whose_net_sees_padding_is_refused():
    task, run = loaded("count_less_freq")
    with pytest.raises(UserError, match="padding"):
        of_lengths(task, (3, 6), run)
