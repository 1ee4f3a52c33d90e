"""Probe directions moved at every layer: nets that run a known algorithm, nets that run none."""

from __future__ import annotations

import json

import pytest
import torch

from interp.cli import run as interp
from interp.config.run import parse_config
from interp.models import build_model
from interp.models.constructed_algorithms import constructed_gradient_descent
from interp.readouts.probe_interventions import probe_interventions
from interp.run import Run
from interp.train.loop import train
from probes.algorithms.iterates import Algorithm
from probes.rivals import Ladder
from tasks import InContextRegression, MultiHopRetrieval
from tasks.errors import UserError

D, N, RATE = 3, 12, 0.4


def planted(steps: int = 3):
    model, _ = constructed_gradient_descent([RATE] * steps, D, N)
    return model, InContextRegression(d=D, n=N, layout="merged")


def descent(last: int = 6) -> Ladder:
    ks = range(1, last + 1)
    return Ladder("gd", tuple(ks), tuple(Algorithm("gd", k, sizes={"eta": RATE / N}) for k in ks))


def slopes(table):
    return table[(table["metric"] == "causal slope") & (table["control"] == "none")]


def test_a_net_that_descends_uses_its_iterate_at_every_layer_and_no_random_direction():
    model, task = planted()
    table = probe_interventions(model, task, rivals=(descent(), "newton"), random=6)
    gd, newton = (slopes(table)[slopes(table)["algorithm"] == name] for name in ("gd", "newton"))
    assert list(gd["k"]) == [1, 2, 3]  # layer l holds iterate l + 1
    assert gd["r2"].min() > 0.9999
    assert gd["value"].to_numpy() == pytest.approx([1, 1, 1], abs=0.02)
    missed = table[(table["metric"] == "missed change") & (table["control"] == "none")]
    own = missed[missed["algorithm"] == "gd"]["value"].to_numpy()
    rival = missed[missed["algorithm"] == "newton"]["value"].to_numpy()
    assert (own < 0.005).all()
    assert (rival > 3 * own).all()
    assert newton["correlation"].max() < gd["correlation"].min()
    random = table[(table["control"] == "random") & (table["metric"] == "causal slope")]
    assert len(random) == 3 * 2 * 6
    assert random[random["algorithm"] == "gd"]["value"].abs().median() < 0.3


def test_a_decoded_direction_that_the_readout_passes_over_has_slope_near_zero():
    """The stream holds the iterate as before, and the net answers with the query's first coordinate."""
    model, task = planted(1)
    with torch.no_grad():
        model.W_U.zero_()
        model.W_U[0] = 1.0
    table = probe_interventions(model, task, rivals=(descent(),))
    slope = slopes(table)
    assert slope["r2"].item() > 0.9999
    assert abs(slope["value"].item()) < 0.1
    drawn = table[(table["control"] == "random") & (table["metric"] == "causal slope")]["value"]
    assert drawn.abs().max() > abs(slope["value"].item())  # the direction is no better than a random one


def test_an_untrained_net_has_no_probe_to_move():
    task = InContextRegression(d=3, n=8)
    config = parse_config(
        {
            "task": {"kind": "regression", "d": 3, "n": 8},
            "model": {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 24},
            "train": {"steps": 1, "batch": 2, "lr": 0.01},
        }
    )
    for seed in range(3):
        table = probe_interventions(
            build_model(config.model, task.interface, seed).eval(), task, fit_prompts=512
        )
        assert table["value"].isna().all()
        assert (table["r2"] < 0.1).all()
        assert table["note"].str.contains("nothing to move").all()


def test_the_interval_of_the_slope_covers_what_many_prompts_say():
    """A rival that the net does not run has a slope between 0 and 1; 95% intervals from 60 prompts must hold it."""
    model, task = planted(2)
    rung = Ladder("newton", (2,), (Algorithm("newton", 2, "norm", {"alpha": 0.5}),))

    def found(seed: int, prompts: int):
        return slopes(
            probe_interventions(
                model, task, rivals=(rung,), seed=seed, prompts=prompts, fit_prompts=512, random=0
            )
        ).iloc[0]

    truth = sum(found(1000 + seed, 4000)["value"] for seed in range(3)) / 3
    covered = sum(row["ci_low"] <= truth <= row["ci_high"] for row in (found(s, 60) for s in range(40)))
    assert covered >= 33  # 38 expected; fewer than 33 of 40 has probability 0.01 at 95%


def test_requests_that_make_no_sense_are_refused():
    model, task = planted(1)
    with pytest.raises(UserError, match="unknown rival"):
        probe_interventions(model, task, rivals=("guessing",))
    with pytest.raises(UserError, match="is not read"):
        probe_interventions(model, task, context=5)
    with pytest.raises(UserError, match="no pairs of kind"):
        probe_interventions(model, task, pair="swap-hop-2")
    with pytest.raises(UserError, match="train mode"):
        probe_interventions(model.train(), task, rivals=(descent(),))
    with pytest.raises(UserError, match="regression runs only"):
        probe_interventions(model, MultiHopRetrieval(hops=1))


def test_the_command_line_moves_probe_directions(tmp_path, capsys):
    settings = {
        "task": {"kind": "regression", "d": 2, "n": 4},
        "model": {"kind": "transformer", "n_layers": 1, "n_heads": 2, "d_model": 16},
        "train": {"steps": 2, "batch": 8, "lr": 0.01, "eval_batch": 16, "schedule": {"every": 1}},
    }
    train(parse_config(settings), tmp_path / "run")
    assert interp(["probe", str(tmp_path / "run"), "--causal", "--steps", "last", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["control"] for row in rows} >= {"none", "untrained"}
    assert interp(["probe", str(tmp_path / "run"), "--causal", "--steps", "last"]) == 0
    assert "probe R2" in capsys.readouterr().out
    with pytest.raises(UserError, match="one at a time"):
        Run(train(parse_config(settings), tmp_path / "run")).probe(algorithms=True, causal=True)
