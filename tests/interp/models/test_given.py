"""What a model does not read is refused in one line that names where such a thing is taken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from interp.config.run import configure
from interp.models import build_model
from tasks.errors import UserError

SMALL = {"model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8, "task.hops": 1}


@pytest.fixture(scope="module")
def made():
    config = configure("retrieval", changes=SMALL)
    return build_model(config.model, config.task.interface, 0).eval(), config.task


TOKENS = [[1, 2], [3, 4]]
ODD = {
    "array": (lambda b: np.asarray(b.inputs), "not a ndarray: torch.from_numpy"),
    "list": (lambda b: b.inputs.tolist(), r"not a list: torch.tensor\(...\)"),
    "nested tuple": (lambda b: ((1, 2), (3, 4)), r"not a tuple: torch.tensor\(...\)"),
    "text": (lambda b: "the cat", "not text: tasks.from_tensors"),
    "texts": (lambda b: ["the cat", "sat"], "not text: tasks.from_tensors"),
    "batch": (lambda b: b, "give its .inputs"),
    "encoding": (lambda b: {"input_ids": b.inputs}, r"found\['input_ids'\]"),
    "frame": (lambda b: pd.DataFrame(TOKENS), "not a DataFrame: torch.from_numpy"),
    "function": (lambda b: print, "not a function: hooks are taken by model.run_with_hooks"),
    "none": (lambda b: None, "not None"),
    "number": (lambda b: 3, "not 3"),
}


@pytest.mark.parametrize("name", ODD)
def test_inputs(made, name: str) -> None:
    model, task = made
    give, said = ODD[name]
    given = give(task.sample(0, "odd", 0, 2))
    for call in (model, model.run_with_cache):
        with pytest.raises(UserError, match=f"^a model reads a tensor, .*{said}"):
            call(given)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"attention_mask": torch.ones(2)}, "no 'attention_mask': .*model.mask"),
        ({"labels": torch.ones(2)}, r"no 'labels': .*run.task.loss"),
        ({"fwd_hooks": []}, "no 'fwd_hooks': hooks are taken by model.run_with_hooks"),
        ({"return_type": "loss"}, "no 'return_type'"),
        ({"colour": 1}, "no 'colour': a model takes inputs, start_at_layer, stop_at_layer"),
    ],
)
def test_words(made, extra, said) -> None:
    model, task = made
    inputs = task.sample(0, "odd", 0, 2).inputs
    with pytest.raises(UserError, match=said):
        model(inputs, **extra)


def test_other_calls(made) -> None:
    model, task = made
    batch = task.sample(0, "odd", 0, 2)
    with pytest.raises(UserError, match="called with inputs"):
        model()
    with pytest.raises(UserError, match="no 'input_ids'"):
        model(input_ids=batch.inputs)
    with pytest.raises(UserError, match="the layers to start and stop at"):
        model(batch.inputs, torch.ones(2))
    far = batch.inputs.clone()
    far.view(-1)[0] = 10_000
    with pytest.raises(UserError, match=r"token numbers go from 0 to .* and the inputs hold .* to 10000"):
        model(far)
    assert torch.equal(model(batch.inputs), model(inputs=batch.inputs))


# what annotations refuse in tests is asked in a process of its own, where they are free as for every user
OTHERS = """
import torch, interp
from interp.causal.patching import patch
from interp.config.run import configure
from interp.models import build_model
config = configure("retrieval", changes=%r)
model, task = build_model(config.model, config.task.interface, 0).eval(), config.task
x, pair = task.sample(0, "odd", 0, 2), task.pair(task.pair_kinds[0], 0, "odd", 0, 2)
Z = "blocks.0.attn.hook_z"
seen = []
model.run_with_hooks(x.inputs, fwd_hooks={Z: lambda z, hook: seen.append(hook.name)})
assert seen == [Z]
calls = [
    lambda: model.run_with_hooks(x.inputs, fwd_hooks=[(Z, 3)]),
    lambda: model.run_with_hooks(x.inputs, fwd_hooks=[Z]),
    lambda: model.run_with_hooks(x.inputs, fwd_hooks=print),
    lambda: model.run_with_hooks(x, fwd_hooks=[]),
    lambda: model.run_with_cache(x.inputs, names_filter=[3]),
    lambda: patch(model, task, (x, x)),
    lambda: interp.load(None),
    lambda: interp.load(["runs/a"]),
]
for call in calls:
    try:
        call()
    except interp.UserError as error:
        print(error)
"""
SAID = [
    "fwd_hooks takes pairs", "fwd_hooks takes pairs", "fwd_hooks takes pairs", "give its .inputs",
    "hooks go by name, or by a function of names, not by 3", "come as a pair of the task",
"interp.load takes the folder of a run, not NoneType",
    "interp.load takes the folder of a run, not list",
]  # fmt: skip


def test_hooks_pairs_metrics_and_folders(forked) -> None:
    ran = forked(OTHERS % SMALL)
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert len(lines) == len(SAID)
    assert [said for said, line in zip(SAID, lines, strict=True) if said not in line] == []
