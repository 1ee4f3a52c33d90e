"""What a model does not read is refused in one line that names where such a thing is taken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import tasks
from interp.analysis.registry import build
from interp.causal.patching import patch
from interp.config.run import configure
from interp.models import build_model
from interp.run import load
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
    for call in (model, model.run_with_cache, lambda x: model.run_with_hooks(x, fwd_hooks=[])):
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
    for hooks in ([("blocks.0.attn.hook_z", 3)], ["blocks.0.attn.hook_z"], [(3, print)], print):
        with pytest.raises(UserError, match="fwd_hooks takes pairs"):
            model.run_with_hooks(batch.inputs, fwd_hooks=hooks)
    seen = []
    model.run_with_hooks(
        batch.inputs, fwd_hooks={"blocks.0.attn.hook_z": lambda x, hook: seen.append(hook.name)}
    )
    assert seen == ["blocks.0.attn.hook_z"]
    with pytest.raises(UserError, match="hooks go by name, or by a function of names, not by 3"):
        model.run_with_cache(batch.inputs, names_filter=[3])


def test_pairs_metrics_and_folders(made) -> None:
    model, task = made
    clean = task.sample(0, "odd", 0, 2)
    with pytest.raises(UserError, match=r"come as a pair of the task.*not as tuple"):
        patch(model, task, (clean, clean))  # type: ignore[arg-type]
    pair = task.pair(task.pair_kinds[0], 0, "odd", 0, 2)
    with pytest.raises(UserError, match="a metric of your own is taken by"):
        patch(model, task, pair, metric=print)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"patch: metric is a name, .*functions are taken by"):
        build("patch", pair="swap-hop-1", metric=print)
    for odd in (None, 3, ["runs/a"]):
        with pytest.raises(UserError, match=r"interp\.load takes the folder of a run, not"):
            load(odd)  # type: ignore[arg-type]
    assert tasks.UserError is UserError
