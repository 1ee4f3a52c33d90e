"""Compiled programs as tasks: prompts and answers of a file, several lengths, refusals, and files made elsewhere."""

import json
import os
from pathlib import Path

import pytest
import torch

import tasks
from tasks.program import Program
from tasks.program_files import of_lengths, parse_program, read_program

FOLDER = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "tracr"
TOKENS = ["a", "b", "c", "compiler_bos", "compiler_pad"]
PROMPTS = [[3, 0, 0, 1, 0], [3, 1, 2, 1, 2], [3, 2, 2, 2, 2], [3, 0, 1, 2, 0]]


def histogram(tokens: torch.Tensor, counted: int = 3) -> torch.Tensor:
    """What a compiled net for "how often does my letter occur" writes; ids below `counted` are seen."""
    same = (
        (tokens[:, :, None] == tokens[:, None, :])
        & (tokens[:, None, 1:] < counted).any(-1)[..., None]
        & (tokens < counted)[:, None, :]
    )
    out = torch.nn.functional.one_hot(same.sum(-1).clamp(max=4), 5).float()
    out[:, 0] = 0
    return out


def contents(**changes):
    tokens = torch.tensor(PROMPTS)
    return {
        "model": {"kind": "transformer", "n_layers": 1},
        "edges": [["embed", "L0H0.q"], ["L0H0", "output"]],
        "tokens": TOKENS,
        "outputs": [0, 1, 2, 3, 4],
        "categorical": True,
        "prompts": PROMPTS,
        "targets": histogram(tokens)[:, 1:].argmax(-1).tolist(),
        "defined": [[True] * 4] * 3 + [[True, False, True, True]],
        **changes,
    }


def test_a_file_is_read_as_it_stands(tmp_path):
    (tmp_path / "hist").mkdir()
    (tmp_path / "hist" / "program.json").write_text(json.dumps(contents()))
    found = read_program(tmp_path / "hist")
    task = found.task
    assert (task.name, task.lengths, task.interface.output_positions) == ("hist", (4,), (1, 2, 3, 4))
    assert found.edges == (("embed", "L0H0.q"), ("L0H0", "output"))
    assert found.positional_edges == ()
    batch = task.every()
    assert batch.inputs.tolist() == PROMPTS
    assert task.labels(batch)[0] == ["start", "a", "a", "b", "a"]
    assert task.answer(batch)[0].argmax(-1).tolist() == [0, 3, 3, 1, 3]
    assert task.loss(task.answer(batch), batch).max() == 0
    wrong = histogram(batch.inputs)
    wrong[3, 2] = 7.0  # undefined there
    wrong[0, 1] = torch.tensor([1.0, 0, 0, 0, 0])
    assert task.score(wrong, batch)[:, 0].tolist() == [0.25, 0, 0, 0]
    assert task.loss(wrong, batch)[:, 0].tolist() == [0.5, 0, 0, 0]


def test_chance_is_the_commonest_answer_of_each_position():
    task = parse_program(contents()).task
    targets, defined = torch.tensor(contents()["targets"]), torch.tensor(contents()["defined"])
    best = [
        max(set(c), key=c.count) for c in ([int(v) for v in targets[:, p][defined[:, p]]] for p in range(4))
    ]
    wrong = (targets != torch.tensor(best)) & defined
    assert task.chance().value.item() == pytest.approx((wrong.sum(1) / defined.sum(1)).mean().item())


def test_prompts_of_several_lengths_end_in_padding_and_are_answered_by_the_net():
    task = of_lengths(parse_program(contents()).task, (2, 4), histogram)
    assert task.lengths == (2, 4)
    batch = task.every()
    assert batch.lengths.tolist() == [3] * 4 + [5] * 4
    assert (batch.inputs[:4, 3:] == 4).all()
    assert not batch.defined[:4, 2:].any()
    assert batch.defined[3, :2].tolist() == [True, False]
    assert batch.targets[:3, :2].tolist() == [[2, 2], [1, 1], [2, 2]]
    assert task.loss(histogram(batch.inputs), batch).max() == 0
    assert task.labels(batch)[0] == ["start", "a", "a", "pad", "pad"]
    assert [r.pairs(0) for r in task.relations(batch)] == [[(1, 0), (2, 1)], [(1, 0), (2, 0)]]
    pair = task.pair("other-length", 0, "test", 0, 100)
    assert (pair.clean.lengths != pair.corrupt.lengths).all()
    assert pair.changed.any(1).all()
    other = task.pair("other-prompt", 0, "test", 0, 100)
    assert other.changed.any(1).all()
    assert (other.clean.lengths == other.corrupt.lengths).any()
    drawn = task.sample(0, "train", 0, 4000)
    assert torch.bincount(drawn.lengths)[3].item() == pytest.approx(2000, abs=150)


def test_a_net_that_sees_padding_is_refused():
    def sees_all(tokens):
        return histogram(tokens, counted=3) + (tokens == 4).any(1).float()[:, None, None] * 0.01

    with pytest.raises(tasks.UserError, match="answers otherwise"):
        of_lengths(parse_program(contents()).task, (2, 4), sees_all)
    with pytest.raises(tasks.UserError, match="between 1 and 4"):
        of_lengths(parse_program(contents()).task, (5,), histogram)


def test_programs_of_numbers():
    values = [[0.5, 1.0, 0.25, 0.0]] * 4
    task = parse_program(contents(categorical=False, outputs=[None], targets=values)).task
    batch = task.every()
    assert task.answer(batch).shape == (4, 5, 1)
    assert task.score(task.answer(batch) + 0.5, batch).max() == pytest.approx(0.5)
    assert task.chance().value.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"targets": [[0.0] * 4] * 3}, "4 prompts, 3 targets"),
        ({"prompts": [[3, 0, 0, 9, 0], *PROMPTS[1:]]}, "prompt 0 has an id outside the 5 tokens"),
        ({"targets": [[7.0] * 4] * 4}, "target outside the 5 outputs"),
        ({"defined": [[False] * 4] * 4}, "no position with an answer"),
        ({"prompts": [[3, 0], *PROMPTS[1:]]}, "prompt 0 has 2 tokens, 4 targets"),
        ({"edges": [["embed"]]}, "'edges' must be a list of"),
        ({"edges": 3}, "'edges' must be a list of"),
        ({"model": 1}, "'model' must be"),
        ({"outputs": "__import__"}, "outputs"),
    ],
)
def test_damaged_files_are_refused_in_one_line(changes, complaint):
    with pytest.raises(tasks.UserError, match=complaint):
        parse_program(contents(**changes), where="some/program.json")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(tasks.UserError, match="cannot be read"):
        read_program(tmp_path)
    (tmp_path / "program.json").write_text("{")
    with pytest.raises(tasks.UserError, match="not valid JSON"):
        read_program(tmp_path)
    (tmp_path / "program.json").write_text('{"tokens": []}')
    with pytest.raises(tasks.UserError, match="lacks 'outputs'"):
        read_program(tmp_path)


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="compiled programs: set ALGOSCOPE_DATA to the folder that holds tracr/"
)
def test_programs_made_elsewhere_round_trip_and_name_their_circuits():
    found = {folder.name: read_program(folder) for folder in sorted(FOLDER.iterdir()) if folder.is_dir()}
    assert len(found) >= 7
    for file in found.values():
        task = file.task
        assert isinstance(tasks.build(tasks.settings_of(task)), Program)
        batch = task.every()
        assert task.score(task.answer(batch), batch).max() == 0
        assert task.chance().value.item() > 0.1
        assert set(file.positional_edges) <= set(file.edges)
        assert task.labels(batch)[0][0] == "start"
    task = found["hist"].task
    batch, names = task.every(), task.labels(task.every())
    for b, row in enumerate(names):
        assert batch.targets[b].tolist() == [row[1:].count(letter) for letter in row[1:]]
