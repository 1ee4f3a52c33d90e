"""A model of the caller's is asked form by form, cheapest cells first, and no cell twice."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import binom

from interp.studies import run_study
from interp.studies.retrieval_prompts import measure, measure_cells
from interp.studies.retrieval_prompts.claims import CLAIMS
from interp.studies.retrieval_prompts.measure_cells import AboveGuess, ask, cells_of, in_words, power
from interp.studies.retrieval_prompts.runs import make_small
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from tasks import TextRetrieval, UserError

TINY = SmallModel(layers=1, heads=2, width=16, batch=4, keep=(0,))


class Flat:
    """Prefers the first token of its vocabulary; counts what it is asked, and stops after so many prompts."""

    def __init__(self, most=math.inf):
        self.config, self.asked, self.most = SimpleNamespace(check=lambda interface: None), [], most

    def logits(self, inputs, positions):
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked.append(inputs.shape)
        return torch.arange(TextRetrieval().lexicon.vocabulary, 0, -1.0).repeat(len(inputs), 1, 1)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(measure_cells, "SHOTS", {0: 100, 2: 50})
    monkeypatch.setattr(measure_cells, "HOPS", (1, 2))


def test_the_cheapest_cells_come_first_and_a_broken_off_study_goes_on(few, tmp_path):
    cells, refused = cells_of(Flat(), TextRetrieval(), "quick", (0, 2))
    assert [cell.tokens for cell in cells] == sorted(cell.tokens for cell in cells)
    assert refused == []
    first = Flat(most=5)  # chunks of 50 prompts: two a cell without examples
    with pytest.raises(KeyboardInterrupt):
        ask(first, TextRetrieval(), "quick", tmp_path, (0, 2))
    kept = json.loads((tmp_path / "cells.json").read_text())
    done = len(kept)
    assert 2 <= done < len(cells)
    second, whole = Flat(), Flat()
    table = ask(second, TextRetrieval(), "quick", tmp_path, (0, 2))
    again = ask(whole, TextRetrieval(), "quick", tmp_path / "other", (0, 2))
    assert len(second.asked) == len(whole.asked) - sum(cell.questions for cell in cells[:done]) // 50
    assert table.equals(again)
    assert set(table["shots"]) == {0, 2}
    assert (table[table["metric"] == "accuracy"].groupby("shots")["n"].first() == [100, 50]).all()


def test_cells_that_are_not_asked_say_why(tmp_path):
    cells, refused = cells_of(Flat(), TextRetrieval(), "quick", (4,))
    longest = max(cell.task.interface.n_ctx for cell in cells)
    assert longest <= 600
    assert all(row["n"] == 0 and "asked at scale cpu" in row["note"] for row in refused)
    assert refused
    everything, none = cells_of(Flat(), TextRetrieval(), "cpu", (4,))
    assert (len(everything), none) == (len(cells) + len(refused), [])
    (tmp_path / "cells.json").write_text("[1")
    with pytest.raises(UserError, match="holds no cells"):
        ask(Flat(), TextRetrieval(), "quick", tmp_path, (0,))


def test_a_net_that_prefers_a_name_is_not_above_a_guess(few, tmp_path):
    table = ask(Flat(), TextRetrieval(), "quick", tmp_path, (0,))
    own = table[table["metric"] == "accuracy"]
    assert (own["p_holm"] >= own["p"]).all()
    assert in_words(table).startswith("0 of 10 cells above a guess (exact, Holm), 0 not asked")


def test_power_is_how_often_simulated_counts_are_found():
    """By drawing accuracies, and the count from which on an interval clears a guess by the binomial tail."""
    least = next(k for k in range(201) if 2 * binom.sf(k - 1, 200, 0.25) < 0.05)
    drawn = torch.distributions.Binomial(200, torch.tensor(0.35)).sample(torch.Size([20_000]))
    torch.manual_seed(0)
    assert power(200, 0.25) == pytest.approx(float((drawn >= least).float().mean()), abs=0.01)
    found = AboveGuess(0.25, 200).power(CLAIMS["above-chance"].criterion, 200)
    assert found is not None
    assert found.if_true == round(power(200, 0.25), 3)
    assert found.if_false <= 0.025


def test_a_folder_is_asked_in_the_forms_of_its_tokenizer(few, tmp_path, monkeypatch):
    """A net of random weights: every claim has a row, and none on its answers is reproduced."""
    monkeypatch.setattr(measure, "QUESTIONS", 100)
    folder = make_small(TINY, tmp_path / "models") / "step0"
    ledger = run_study(
        "retrieval-prompts", "quick", tmp_path / "out", lambda line: None, model=str(folder), shots=0
    )
    rows = {row.claim: row for row in ledger.claims}
    assert set(rows) >= set(CLAIMS)
    for claim in ("above-chance", "two-hops", "needed", "stacked"):
        assert rows[claim].verdict != "reproduced"
    assert rows["above-chance"].n == 100
    assert "cells above a guess" in rows["above-chance"].note
    assert rows["above-chance"].power == AboveGuess(0.25, 100).power(CLAIMS["above-chance"].criterion, 100)
    assert rows["falls"].power is None
    assert f"--model {folder}" in rows["above-chance"].command
