"""How often an untrained net is said to have a head that emerged, an algorithm, or a circuit: at most 5% of runs.

All heads and checkpoints of a run count together. For "emerged" every checkpoint of a run is another untrained net,
which changes more between checkpoints than one that does not learn (its losses do differ, so reads are not counted).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from interp.causal.circuits import find_circuit
from interp.config import RunConfig, configure
from interp.models import build_model
from interp.run import load
from interp.train.runs import RunFolder
from probes.stats import share

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
NETS = int(os.environ.get("ALGOSCOPE_NETS", "400"))
TINY = {
    "model.n_layers": 2, "model.n_heads": 2, "model.d_model": 16, "train.steps": 7, "train.batch": 4, "train.warmup": 0,
    "train.eval_batch": 16, "train.schedule": {"log": 0, "every": 1, "explicit": []},
}  # fmt: skip


def run_of_untrained_nets(config: RunConfig, path: Path, net: int) -> RunFolder:
    """A run folder whose checkpoints are untrained nets, each of another seed."""
    folder = RunFolder.create(path, config)
    for step in folder.schedule:
        model = build_model(config.model, config.task.interface, 1000 * net + step)
        folder.keep(step, model.state_dict())
    return folder


def emerged(path: Path, net: int) -> bool:
    preset = ("retrieval", "regression")[net % 2]
    run_of_untrained_nets(configure(preset, changes=TINY, seed=net), path, net)
    table = load(path).emergence().table
    return bool((table["head"].notna() & (table["state"] != "not emerged")).any())


def algorithm(path: Path, net: int) -> bool:
    config = configure("regression", changes={**TINY, "train.schedule.every": 7}, seed=net)
    run_of_untrained_nets(config, path, net)
    table = load(path).probe("last", algorithms=True).table
    verdicts = table[(table["metric"] == "filter verdict") & (table["control"] == "none")]
    assert len(verdicts)
    return bool((verdicts["algorithm"] != "none").any())


def circuit(path: Path, net: int) -> bool:
    config = configure("retrieval", changes=TINY, seed=net)
    model = build_model(config.model, config.task.interface, net).eval()
    return bool(find_circuit(model, config.task, prompts=32, seed=net, draws=100).edges)


@pytest.mark.parametrize(("alarm", "small"), [(emerged, 6), (algorithm, 2), (circuit, 10)])
def test_untrained_nets_raise_few_alarms(
    alarm: Callable[[Path, int], bool], small: int, tmp_path, record_property
):
    nets = NETS if FULL else small
    alarms = sum(alarm(tmp_path / str(net), net) for net in range(nets))
    found = share(alarms, nets)
    result = f"{alarms} of {nets} runs ({alarms / nets:.1%}; at most {found.high:.1%})"
    row = {
        "section": "false alarms",
        "what": f"{alarm.__name__} in untrained nets",
        "tried": nets,
        "result": result,
    }
    record_property("trust", row)
    assert found.low <= 0.05
    assert not FULL or alarms <= 0.05 * nets
