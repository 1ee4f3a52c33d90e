"""Heads that look anywhere in a fact: planted looks and a planted cause are found, nothing in an untrained net."""

from types import SimpleNamespace

import pytest
import torch

from interp.importers.hf import import_hf
from interp.run import load
from interp.studies.retrieval_prompts import measure
from interp.studies.retrieval_prompts import measure_facts as facts
from interp.studies.retrieval_prompts.claims import CLAIMS, EXPLORATORY
from interp.studies.retrieval_prompts.runs import make_small
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from tasks import TextRetrieval

TASK = TextRetrieval(hops=2)


class Looking:
    """L0H1 looks from the last token at the full stop of hop 1's fact, L1H0 from its value at the key of hop 2's."""

    config = SimpleNamespace(n_layers=2, n_heads=2)

    def run_with_cache(self, inputs, names_filter, return_cache_object):
        batch = TASK.sample(0, "fact heads", 0, len(inputs))
        assert torch.equal(batch.inputs, inputs)
        pos, found = inputs.shape[1], {}
        prompts = torch.arange(len(inputs))
        for name in names_filter:
            pattern = torch.rand(len(inputs), 2, pos, pos, generator=torch.Generator().manual_seed(0))
            if "blocks.0" in name:
                pattern[prompts, 1, -1, batch.src[:, 0] + 1] = 2.0
            else:
                pattern[prompts, 0, batch.src[:, 0], batch.keys[:, 1]] = 2.0
            found[name] = pattern
        return None, found


@pytest.mark.parametrize("room", [2**29, 1])
def test_planted_looks_are_found_and_no_others(room, monkeypatch):
    """With all layers in one run, and with one layer a run."""
    monkeypatch.setattr(measure, "ROOM", room)
    heads = facts.fact_heads(Looking(), TASK)
    found = {look: facts.heads_of(facts.passing(heads, look)) for look in facts.ATTENDED.values()}
    assert found == {"last -> fact 1": [(0, 1)], "last -> fact 2": [], "fact 1 -> fact 2": [(1, 0)]}
    assert set(facts.passing(heads, "fact 1 -> fact 2")["token"]) == {"value"}
    others = heads[~heads["value"].eq(1.0)]
    assert (others["ci_high"] < 0.25).all()  # a sentence is 4 of 35 positions


class Telling:
    """Each head writes numbers; the outputs are what L1H1 writes at the last token, which is the answer."""

    config = SimpleNamespace(n_layers=2, n_heads=3)

    def __call__(self, inputs):
        return self.run_with_hooks(inputs, [])

    def run_with_hooks(self, inputs, fwd_hooks):
        z = torch.randn(2, *inputs.shape, 3, 10, generator=torch.Generator().manual_seed(0))
        z[1, :, -1, 1] = 4 * torch.nn.functional.one_hot(self.answers(inputs), 10).float()
        for name, hook in fwd_hooks:
            layer = int(name.split(".")[1])
            z[layer] = hook(z[layer], hook=None)
        outputs = torch.zeros(*inputs.shape, 10)
        outputs[:, -1] = z[1, :, -1, 1]
        return outputs

    def answers(self, inputs):
        found = []
        for row in inputs.tolist():
            name, said = row[-2], dict(zip(row[0:-3:4], row[2:-3:4], strict=True))
            while name in said:
                name = said[name]
            found.append(TASK.interface.outputs.index(name))
        return torch.tensor(found)


@pytest.mark.parametrize(("head", "costs"), [((1, 1), True), ((0, 2), False)])
def test_a_head_that_carries_the_answer_costs_more_than_others(head, costs):
    found = facts.passing(facts.fact_heads(Looking(), TASK), "last -> fact 1")
    found = found.assign(layer=head[0], head=head[1])
    cost, group = facts.needed_there(Telling(), TASK, found)
    assert group == [head]
    assert (cost.low > 0.1) if costs else (cost.low <= 0)


def test_of_two_layers_the_one_that_costs_more_is_taken():
    found = facts.passing(facts.fact_heads(Looking(), TASK), "last -> fact 1")
    both = [found.assign(layer=layer, head=head) for layer, head in ((0, 0), (1, 1))]
    cost, group = facts.needed_there(Telling(), TASK, facts.pd.concat(both))
    assert group == [(1, 1)]
    assert cost.low > 0.1


def test_nothing_is_passed_on_in_a_net_that_learned_nothing(tmp_path):
    settings = SmallModel(layers=2, heads=2, width=16, keep=(0,))
    folder = make_small(settings, tmp_path / "net")
    run = load(import_hf(str(folder), tmp_path / "run", hops=2).path)
    model = run.model("last")
    heads = facts.fact_heads(model, run.task, prompts=64)
    assert all(facts.passing(heads, look).empty for look in facts.ATTENDED.values())
    groups = {"fact 1 -> fact 2": [(0, 0), (0, 1)], "last -> fact 1": [(1, 0), (1, 1)]}
    told, said = facts.passed_on(model, run.task, groups, prompts=64)
    assert EXPLORATORY["fact-stacked"].criterion.judge(told.value, told.low, told.high) != "reproduced"
    assert "L0H0, L0H1 (fact 1 -> fact 2)" in said
    assert facts.passed_on(model, run.task, {"last -> fact 1": [(1, 0)]}) is None


def test_exploratory_rows_are_named_so_and_replace_none():
    assert not set(CLAIMS) & set(EXPLORATORY)
    assert all("exploratory" in claim.source for claim in EXPLORATORY.values())
