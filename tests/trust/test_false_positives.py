"""How often an untrained net is said to have a head that emerged, an algorithm, or a circuit: at most 5% of runs.

All heads and checkpoints of a run count together. Every checkpoint of a run is another untrained net, which changes
more between checkpoints than one that does not learn (its losses do differ, so "emerged" does not count reads).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interp.causal.circuits import SEARCHES, find_circuit
from interp.config.run import RunConfig, configure
from interp.models import build_model
from interp.readouts.algorithms import AlgorithmMatch
from interp.run import load
from interp.runs.folder import RunFolder
from probes.filters import CORE
from probes.stats import share
from probes.verdict import NO_FILTER

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
# gives the verdicts of the default, with less around them
VERDICT = AlgorithmMatch(families=CORE, weight_prompts=2)
TINY = {
    "model.n_layers": 2, "model.n_heads": 2, "model.d_model": 16, "train.steps": 5, "train.batch": 4, "train.warmup": 0,
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
    return bool(((table["head"] >= 0) & (table["state"] != "not emerged")).any())


def algorithm(path: Path, net: int) -> bool:
    run_of_untrained_nets(configure("regression", changes=TINY, seed=net), path, net)
    table = load(path).tables([VERDICT], (1, 2, 3, 4))[VERDICT.name]
    verdicts = table[(table["metric"] == "filter verdict") & (table["control"] == "none")]
    assert len(verdicts)
    return not set(verdicts["verdict"]) <= {"none", NO_FILTER}


def circuit(path: Path, net: int) -> bool:
    """By every search in turn, on either task."""
    config = configure(("retrieval", "regression")[net % 2], changes=TINY, seed=net)
    model = build_model(config.model, config.task.interface, net).eval()
    search = SEARCHES[net % len(SEARCHES)]
    return bool(find_circuit(model, config.task, seed=net, search=search).edges)


def raised(alarm: Callable[[Path, int], bool], path: Path, net: int) -> bool:
    """Whether one net raises the alarm; what it wrote is taken away again."""
    try:
        return alarm(path, net)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize(
    ("alarm", "small", "full", "nets"), [(emerged, 4, 200, 6), (algorithm, 1, 100, 4), (circuit, 30, 1000, 1)]
)
def test_untrained_nets_raise_few_alarms(
    alarm: Callable[[Path, int], bool], small: int, full: int, nets: int, tmp_path, record_property
):
    """`nets` untrained nets a run, each another."""
    runs = full if FULL else small
    alarms = sum(raised(alarm, tmp_path / "run", net) for net in range(runs))
    found = share(alarms, runs)
    result = f"{alarms} of {runs} runs ({alarms / runs:.1%}; at most {found.high:.1%})"
    what = f"{alarm.__name__} in untrained nets"
    row = {"section": "false alarms", "what": what, "tried": runs * nets, "result": result}
    record_property("trust", row)
    assert found.low <= 0.05
    assert not FULL or alarms <= 0.05 * runs
