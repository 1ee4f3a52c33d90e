"""What every task promises: purity, the registry, round trips, and that the package imported is this one."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import tasks

ARMS = [
    {"kind": "regression", "basis": "prompt", "kappa": 10.0, "noise": 0.1},
    {"kind": "regression", "layout": "merged", "law": "gamma-sphere"},
    {"kind": "regression", "target": "relu"},
    {"kind": "regression", "pool": 20, "noise": 0.5},
    {"kind": "retrieval"},
    {"kind": "retrieval", "symbols": "gaussian", "layout": "flat", "target": "mix"},
    {"kind": "retrieval", "train_set": 50},
    {"kind": "markov"},
    {"kind": "khop", "hops": 3, "length": 20},
    {"kind": "induction", "vocabulary": 60, "prefix": (0,), "first": 1},
    {
        "kind": "program",
        "tokens": ["a", "b", "compiler_bos"],
        "outputs": [0, 1],
        "categorical": True,
        "prompts": [[2, *map(int, f"{i:06b}")] for i in range(64)],
        "targets": [[*map(int, f"{i:06b}")] for i in range(64)],
        "defined": [[True] * 6] * 64,
    },
    {"kind": "markov", "order": 2, "symbols": 2, "start": "uniform"},
]


def fields(batch):
    return {name: value for name, value in vars(batch).items() if name != "w" or not value.isnan().any()}


def test_the_imported_package_is_ours():
    assert Path(tasks.__file__).parent == Path(__file__).parents[2] / "tasks"


@pytest.mark.parametrize("settings", ARMS)
def test_same_arguments_same_bits_and_nothing_else_shared(settings):
    task = tasks.build(settings)
    first = task.sample(3, "train", 7, 16)
    again = fields(tasks.build(settings).sample(3, "train", 7, 16))
    torch.randn(5)  # global random state plays no part
    assert all(torch.equal(value, again[name]) for name, value in fields(first).items())
    for other in ((4, "train", 7, 16), (3, "eval", 7, 16), (3, "train", 8, 16)):
        assert not torch.equal(first.inputs, task.sample(*other).inputs)


@pytest.mark.parametrize("settings", ARMS)
def test_settings_round_trip_and_shapes_agree(settings):
    task = tasks.build(settings)
    assert tasks.build(tasks.settings_of(task)) == task
    face, batch = task.interface, task.sample(0, "test", 0, 5)
    token = {"continuous": (face.d_in,), "pair": (2,), "token": ()}[face.inputs]
    assert batch.inputs.shape == (5, face.n_ctx, *token)
    assert batch.inputs.is_floating_point() == (face.inputs == "continuous")
    assert len(face.token_types) in (0, face.n_ctx)
    if face.inputs == "pair":
        assert batch.inputs[..., 1].max() == face.d_vocab
        assert batch.inputs[..., 0].max() < face.d_vocab
    outputs = torch.zeros(5, face.n_ctx, face.d_out)
    assert task.loss(outputs, batch).shape == task.score(outputs, batch).shape == (5, len(task.output_names))
    assert task.chance().value.shape == (len(task.output_names),)
    assert all(len(row) == face.n_ctx for row in task.labels(batch))
    for relation in task.relations(batch):
        assert relation.dest.shape == relation.source.shape
        assert relation.dest.shape[0] == 5
        assert 0 <= relation.source.min() <= relation.source.max() < face.n_ctx
    half = batch.select(slice(0, 2))
    assert torch.equal(task.loss(outputs[:2], half), task.loss(outputs, batch)[:2])


def test_a_new_task_takes_under_ten_lines():
    @tasks.register("test-copy")
    class Copy(tasks.Task):
        interface = property(
            lambda self: tasks.Interface(inputs="token", n_ctx=3, d_out=5, d_vocab=5, output_positions=(2,))
        )

        def sample(self, seed, stream, step, batch):
            x = torch.randint(5, (batch, 3), generator=tasks.generator(seed, stream, step))
            return tasks.Batch(x, x[:, :1])

        def loss(self, outputs, batch):
            return cross_entropy(outputs[:, 2], batch.targets[:, 0], reduction="none")[:, None]

    task = tasks.build({"kind": "test-copy"})
    batch = task.sample(0, "train", 0, 4)
    assert task.loss(torch.zeros(4, 3, 5), batch)[:, 0].tolist() == pytest.approx([math.log(5)] * 4)
    assert "test-copy" in tasks.kinds()
    with pytest.raises(tasks.UserError, match="no closed-form Bayes risk"):
        task.bayes_risk()


def test_unknown_and_taken_kinds():
    with pytest.raises(tasks.UserError, match="unknown task kind 'nope'"):
        tasks.build({"kind": "nope"})
    with pytest.raises(tasks.UserError, match="taken"):
        tasks.register("regression")(type("Other", (tasks.Task,), {}))
