"""Spherical SGD in the ordinary run folder: each step as the direct simulator's, resumable, and kept to its sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from interp.config.run import configure, parse_config
from interp.models import build_model
from interp.studies.single_index.theory_direct import attention_step, net_step
from interp.train import RunFolder, resume, train
from interp.train.spherical import SphericalSGD
from tasks.errors import UserError
from tasks.theory.escape import Net
from tasks.theory.single_index import opposite

TRAIN = {"batch": 1, "optimiser": "spherical", "max_loss": 0.0, "eval_batch": 4, "schedule": {"every": 10}}


def _config(link, model, steps=30, lr=0.3):
    task = {"kind": "single-index", "d": 12, "length": 2, "link": link}
    settings = {
        "task": task,
        "model": {"dtype": "float64", **model},
        "train": {**TRAIN, "steps": steps, "lr": lr},
    }
    return parse_config(settings)


def _weights(folder, config, step):
    model = build_model(config.model, config.task.interface, config.init_seed)
    model.load_state_dict(folder.weights(step))
    return model.w.detach().numpy()


@pytest.mark.parametrize("tied", [True, False])
def test_a_run_makes_the_steps_of_the_direct_simulator(tmp_path, tied):
    config = _config("z1 + z1*z2", {"kind": "index-network", "tied": tied, "start": 0.3})
    folder = train(config, tmp_path / "run")
    net = Net(config.task.target, 2, "relu", tied)
    w = _weights(folder, config, 0)[None]
    for step in range(30):
        x = config.task.sample(config.data_seed, "train", step, 1).inputs.double().numpy()
        w = net_step(net, 0.3, w, x)
    np.testing.assert_allclose(_weights(folder, config, 30), w[0], atol=1e-5)
    assert np.abs(w[0] - _weights(folder, config, 0)).max() > 0.05


def test_attention_runs_make_the_steps_of_the_direct_simulator(tmp_path):
    config = _config({"omega": 0.6, "a": 1.0}, {"kind": "tied-attention", "positional": "opposite"})
    folder = train(config, tmp_path / "run")
    w = _weights(folder, config, 0)
    for step in range(30):
        x = config.task.sample(config.data_seed, "train", step, 1).inputs.double().numpy()
        w = attention_step(config.task.target, 0.3, opposite(2), None, w, x)
    np.testing.assert_allclose(_weights(folder, config, 30), w, atol=1e-5)
    assert np.abs(w - _weights(folder, config, 0)).max() > 0.01


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 25:
            raise Stop

    settings = _config("sum(z)", {"kind": "index-network"}, steps=40).settings
    settings["train"]["save_every"] = 10
    config = parse_config(settings)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(Stop):
        train(config, tmp_path / "broken", progress=stop)
    again = resume(tmp_path / "broken")
    for step in whole.steps:
        assert whole.checkpoint_path(step).read_bytes() == again.checkpoint_path(step).read_bytes()


def test_rows_stay_on_their_spheres():
    p = nn.Parameter(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]))
    optimiser = SphericalSGD([p], lr=0.5)
    (p[0] * torch.tensor([1.0, -3.0])).sum().backward()
    optimiser.step()
    torch.testing.assert_close(p.norm(dim=1), torch.full((2,), 2**0.5))
    torch.testing.assert_close(p[0], 2**0.5 * torch.tensor([0.5, 2.5]) / 6.5**0.5)
    torch.testing.assert_close(p[1], torch.tensor([-1.0, 1.0]))


def test_a_model_off_the_sphere_is_refused(tmp_path):
    settings = configure("single-index").settings
    settings["model"] = {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mask": "full"}
    with pytest.raises(UserError, match="norm sqrt"):
        train(parse_config(settings), tmp_path / "run")


def test_the_preset_is_a_run(tmp_path):
    config = configure("single-index", steps=20)
    folder = train(config, tmp_path / "run")
    assert isinstance(folder, RunFolder)
    assert folder.steps == (0, 20)
