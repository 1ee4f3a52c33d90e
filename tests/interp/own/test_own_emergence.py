"""Emergence of a score and a relation of the user's own, whole and by groups: a head that comes at a known step."""

from __future__ import annotations

import json

import pytest
import torch

import tasks
from interp.cli import run as cli
from interp.config.run import configure
from interp.importers.record import record
from interp.models.build import build_model
from interp.run import Run
from tasks import UserError, settings_of

CAME, STEPS = 40, tuple(range(0, 80, 10))


@pytest.fixture(scope="module")
def grown(net, tmp_path_factory) -> Run:
    """Weights as drawn until the hand-constructed ones come; prompts of one group ask for a wrong answer."""
    batch = net.task.sample(0, "groups", 0, 96)
    wrong = torch.arange(96) % 2 == 0
    targets = torch.where(wrong, (batch.targets[:, 0] + 1) % 12, batch.targets[:, 0])
    groups = {"asked": ["wrong" if w else "right" for w in wrong.tolist()]}
    task = tasks.from_tensors(batch.inputs, targets, groups=groups, vocabulary=12, outputs=12)
    model = net.model.config.model_dump(mode="json")
    config = configure(
        {"task": settings_of(task), "model": model, "train": {"steps": 70, "batch": 4, "lr": 0.1}}
    )

    def weights(step: int):
        return (net.model if step >= CAME else build_model(config.model, task.interface, step)).state_dict()

    return Run(record(tmp_path_factory.mktemp("grown") / "run", config, STEPS, weights))


def answered(outputs, batch):
    return (outputs[:, -1].argmax(-1) == batch.targets[:, -1]).float()


def previous(batch):
    rows = torch.arange(1, batch.inputs.shape[1]).expand(len(batch), -1)
    return rows, rows - 1


def test_an_own_score_and_an_own_relation_are_dated(grown):
    table = grown.emergence(score=answered, relation=previous).table.set_index("subject")
    assert table.loc["all" if "all" in table.index else "answer", "step"] == CAME
    assert table.loc["L0H0", "step"] == CAME  # the planted previous-token head
    assert table.loc["L0H0", "metric"] == "previous"
    assert "L1H0" not in table.index
    with pytest.raises(UserError, match="goes with of='skills'"):
        grown.emergence(of="landscape", score=answered)


def test_emergence_by_groups(grown, capsys):
    words = ["emergence", str(grown.path), "--score", f"{__name__}:answered", "--by", "asked"]
    assert cli([*words, "--json"]) == 0
    rows = {row["group"]: row["step"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows == {"asked=right": CAME, "asked=wrong": None}
    assert cli([*words, str(grown.path)]) == 2
    assert "go with one run" in capsys.readouterr().err
