"""Scores with dropout on: what masks do is measured, the net is as it was before, and a net without any is refused."""

import pytest
import torch
from torch import nn

from interp.cli import run as cli
from interp.emergence.dropout import dropout_scores, dropping
from interp.models import build_model
from tasks import MultiHopRetrieval, UserError

TASK = MultiHopRetrieval(hops=1, chains=2, vocab=8)


class Answers(nn.Module):
    """The right answer's logit behind one dropout of a half: it is 0 (a tie, so wrong) in half of the prompts."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, inputs):
        batch = next(b for b in self.seen if b.inputs is inputs)
        return self.drop(TASK.answer(batch)) - 1e-3 * TASK.answer(batch)


def test_half_of_the_answers_go_with_a_dropout_of_a_half(monkeypatch):
    model, sample = Answers().eval(), TASK.sample
    model.seen = []

    def kept(*asked):
        model.seen.append(sample(*asked))
        return model.seen[-1]

    monkeypatch.setattr(type(TASK), "sample", lambda self, *asked: kept(*asked))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    table = dropout_scores(model, TASK, prompts=256)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not model.training
    rows = {row.control: row for row in table[table["metric"] == "accuracy"].itertuples()}
    assert rows["dropout off"].value == 1.0
    assert rows["none"].ci_low < 0.5 < rows["none"].ci_high
    assert rows["none"].n == 256
    assert dropout_scores(model, TASK, prompts=256).equals(table)


def test_what_cannot_be_is_refused_in_one_line(nets, capsys):
    config = {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 8}
    from interp.config.run import parse_config

    parsed = parse_config(
        {
            "task": TASK.model_dump() | {"kind": "retrieval"},
            "model": config,
            "train": {"steps": 1, "batch": 1, "lr": 1.0},
        }
    )
    model = build_model(parsed.model, TASK.interface, 0).eval()
    with pytest.raises(UserError, match="no dropout to turn on"):
        dropout_scores(model, TASK)
    with (
        pytest.raises(UserError, match="batch norms"),
        dropping(nn.Sequential(nn.Dropout(0.1), nn.BatchNorm1d(2)), 0),
    ):
        pass
    with pytest.raises(UserError, match="1 prompts give no interval"):
        dropout_scores(model, TASK, prompts=1)
    run = nets.trained("brief", "retrieval", {"train.steps": 20})
    assert cli(["scores", str(run), "--dropout"]) == 2
    assert "no dropout to turn on" in capsys.readouterr().err
    assert cli(["scores", str(run), "--dropout", "--without-interventions"]) == 2
