"""Groups of prompts apart: scores, heads, probes, patches and circuits, each with rows of its own."""

from __future__ import annotations

import json

import pytest
import torch

import tasks
from interp.analysis.result import parted
from interp.cli import run as cli
from interp.config.run import configure
from interp.importers.record import record
from interp.run import Run
from tasks import UserError, settings_of
from tasks.khop import KHop


@pytest.fixture(scope="module")
def split(net, tmp_path_factory) -> Run:
    """The hand-constructed net on its own prompts; those of group 1 are asked for a wrong answer."""
    batch = net.task.sample(0, "groups", 0, 512)
    wrong = torch.arange(512) % 4 == 0
    targets = torch.where(wrong, (batch.targets[:, 0] + 1) % 12, batch.targets[:, 0])
    other = batch.inputs.roll(1, 0)
    last = batch.inputs.shape[1] - 1
    rows = torch.full((512, 1), last)
    task = tasks.from_tensors(
        batch.inputs, targets, corrupt=other, groups={"wrong": wrong.long()}, vocabulary=12, outputs=12,
        relations={"token before": (rows, rows - 1)},
    )  # fmt: skip
    model = net.model.config.model_dump(mode="json")
    settings = {"task": settings_of(task), "model": model, "train": {"steps": 1, "batch": 4, "lr": 0.1}}
    place = tmp_path_factory.mktemp("split") / "run"
    return Run(record(place, configure(settings), (0,), lambda _: net.model.state_dict()))


def test_every_group_has_rows_of_its_own_and_the_run_stays_whole(split):
    table = split.by("wrong").scores().table
    own = table[(table["metric"] == "accuracy") & (table["control"] == "none")].set_index("group")
    assert own["value"].to_dict() == {"wrong=0": 1.0, "wrong=1": 0.0}
    assert own["n"].to_dict() == {"wrong=0": 192, "wrong=1": 64}  # half of 384 and of 128
    whole = split.scores().table
    value = whole[(whole["metric"] == "accuracy") & (whole["control"] == "none")]["value"].item()
    assert value == pytest.approx(0.75, abs=0.06)
    files = {f.name for f in (split.path / "analysis").iterdir()}
    assert {"scores.parquet", "scores-by-wrong=0.parquet", "scores-by-wrong=1.parquet"} <= files


def test_heads_patches_and_circuits_are_split_too(split):
    groups = split.by("wrong")
    heads = groups.heads().table
    assert set(heads["group"]) == {"wrong=0", "wrong=1"}
    patched = groups.patch("z", by=("layer", "head"), prompts=32).table
    right = patched[patched["group"] == "wrong=0"].sort_values("layer")["value"].tolist()
    assert right[1] == pytest.approx(1, abs=1e-3)
    found = dict(parted(groups.circuit(prompts=48)))
    edges = {
        label: part.table.query("metric == 'edge'")["value"].notna().sum() for label, part in found.items()
    }
    assert edges["wrong=0"] == 5  # what was planted
    with pytest.raises(AttributeError, match="no analysis 'nonsense'"):
        _ = groups.nonsense
    with pytest.raises(UserError, match="have no attribute 'length': they have wrong"):
        split.by("length")


def test_the_command_line_splits_by_an_attribute(split, capsys):
    assert cli(["scores", str(split.path), "--by", "wrong"]) == 0
    assert "wrong=1:" in capsys.readouterr().out
    assert cli(["scores", str(split.path), "--by", "wrong", "--json"]) == 0
    assert {row["group"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"wrong=0", "wrong=1"}
    words = ["patch", str(split.path), "--component", "z", "--prompts", "32"]
    assert cli([*words, "--by", "layer", "head", "wrong"]) == 0
    assert "wrong=0:" in capsys.readouterr().out
    assert cli([*words, "--by", "layer", "hops"]) == 2
    assert "no attribute 'hops'" in " ".join(capsys.readouterr().err.split())


def test_hops_are_an_attribute_where_they_are_asked_in_the_prompt():
    task = KHop(letters=4, hops=2, length=20)
    found = task.grouped("hops")
    assert list(found) == ["hops=0", "hops=1", "hops=2"]
    assert found["hops=1"].sample(0, "x", 0, 8).asked.tolist() == [1] * 8
    assert task.at(1).attributes == ()
