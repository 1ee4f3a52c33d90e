"""Questions asked without options: answered on every kind of task that ships, or refused in a line that says where they
apply. ALGOSCOPE_FULL=1 asks them on every preset.
"""

from __future__ import annotations

import os

import pytest
import torch

from interp.config.run import configure, parse_config
from interp.run import Run
from tasks.errors import UserError

SMALL = {
    "train.steps": 2,
    "train.batch": 4,
    "train.eval_batch": 8,
    "train.schedule.log": 0,
    "train.schedule.every": 2,
}
NET = {"model.n_layers": 1, "model.n_heads": 1, "model.d_model": 8}
INDUCTION = {
    "task": {"kind": "induction", "vocabulary": 12, "length": 5, "candidates": 8},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 8, "mlp": "none"},
    "train": {"steps": 2, "batch": 4, "eval_batch": 8, "lr": 1e-3, "schedule": {"log": 0, "every": 2}},
}
SETTINGS = {
    "markov": {**NET, "task.length": 12},
    "khop": {**NET, "task.length": 24},
    "retrieval": NET,
    "regression": {**NET, "model.d_mlp": 8, "task.d": 2, "task.n": 4},
    "task-diversity": {**NET, "model.d_mlp": 8, "task.d": 2, "task.n": 4, "task.pool": 4},
    "one-step-gd": {"task.d": 2, "task.n": 4},
    "single-index": {"task.d": 8},
}
QUESTIONS = ("probe", "heads", "patch", "circuit", "emergence", "curvature", "strategies")
ANSWERED = {
    "markov": set(QUESTIONS), "khop": set(QUESTIONS) - {"strategies"}, "retrieval": set(QUESTIONS) - {"strategies"},
    "induction": set(QUESTIONS) - {"strategies"}, "task-diversity": {"probe", "emergence", "curvature", "strategies"},
}  # fmt: skip
EVERY = [*SETTINGS, "induction"]
ASKED = EVERY if os.environ.get("ALGOSCOPE_FULL") == "1" else ["markov", "khop", "single-index"]
PAIRS = {"prompts": 4}
QUICK = {"patch": PAIRS, "circuit": {"prompts": 8, "tests": False}, "curvature": {"prompts": 8, "probes": 2},
         "strategies": {"prompts": 32, "draws": 100}}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("defaults")
    made = {name: configure(name, changes={**SMALL, **more}) for name, more in SETTINGS.items()}
    made["induction"] = parse_config(INDUCTION)
    return {name: Run.train(made[name], root / name) for name in ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_a_question_without_options_is_answered_or_refused_in_one_line(name: str, runs) -> None:
    run, answered, refusals = runs[name], set(), []
    for question in QUESTIONS:
        steps = "all" if question == "emergence" else "last"
        try:
            table = getattr(run, question)(steps=steps, **QUICK.get(question, {})).table
        except UserError as refused:
            refusals.append(str(refused))
            continue
        answered.add(question)
        assert question == "emergence" or len(table), "an answer has rows"
    assert "labels must be" not in " ".join(refusals), "what is wrong inside is of no use to who asks"
    assert answered >= ANSWERED.get(name, {"emergence", "curvature"})
    for kind in run.task.pair_kinds if "patch" in answered else ():
        assert len(run.patch(pair=kind, by=("layer",), **PAIRS).table)


def test_the_next_symbol_of_a_chain_is_read_with_all_controls(runs) -> None:
    result = runs["markov"].probe(steps="last")
    assert set(result.table["control"]) == {"none", "untrained", "shuffled", "chance"}
    assert set(result.table["target"]) == {"label"}
    assert "one for all output positions" in result.caption
    assert str(result.conclusion[0]).startswith("Step 2: held-out accuracy of a linear readout")


def test_a_planted_next_symbol_is_read_and_noise_is_not() -> None:
    from interp.readouts.label_targets import label_target
    from interp.readouts.own_targets import OwnTargets
    from tasks.markov import MarkovChains

    class Planted:
        class config:
            n_layers = 1

    task = MarkovChains(length=12)
    analysis = OwnTargets(target=label_target(task), chunks=3, validation_chunks=1, test_chunks=1)
    accumulator = analysis.accumulator(Planted(), task, None)
    for chunk in range(analysis.chunks):
        batch = task.sample(0, "analysis", chunk, 256)
        noise = torch.randn(256, 12, 4, generator=torch.Generator().manual_seed(chunk)).double()
        held = torch.nn.functional.one_hot(batch.targets, 4).double() + 0.01 * noise
        cache = dict(zip(analysis.hooks(Planted()), (noise, held), strict=True))
        accumulator.add(chunk, batch, torch.zeros(256, 12, 3), cache)
    table = accumulator.table()
    whole = table[(table["position"] == "all") & (table["control"] != "shuffled")]
    value = whole.set_index(["site", "control"])["value"]
    assert value["blocks.0.hook_resid_post", "none"] > 0.99
    assert value["blocks.0.hook_resid_pre", "none"] == pytest.approx(1 / 3, abs=0.05)
    assert value["blocks.0.hook_resid_pre", "chance"] == pytest.approx(1 / 3, abs=0.05)
