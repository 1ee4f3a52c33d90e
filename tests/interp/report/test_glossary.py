"""The words of a page: shipped tasks' names have a meaning, and levels say why they are what they are."""

from __future__ import annotations

import pandas as pd
import pytest

from interp.report.glossary import PAIRS, RELATIONS, UNTRAINED_FALL, meaning, terms
from interp.report.model import RunReport
from interp.report.words import reasons
from tasks.induction import Induction
from tasks.khop import KHop
from tasks.markov import MarkovChains
from tasks.regression import InContextRegression
from tasks.retrieval import MultiHopRetrieval

TASKS = {
    "retrieval": MultiHopRetrieval(),
    "flat retrieval": MultiHopRetrieval(layout="flat"),
    "regression": InContextRegression(),
    "merged regression": InContextRegression(layout="merged"),
    "markov": MarkovChains(),
    "order 2": MarkovChains(order=2),
    "induction": Induction(vocabulary=40),
    "khop": KHop(),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_relation_and_pair_of_a_shipped_task_has_a_meaning(task):
    names = [relation.name for relation in task.relations(task.sample(0, "x", 0, 1))]
    assert names
    assert [name for name in names if meaning(name, RELATIONS).startswith("as the run's")] == []
    assert [name for name in task.pair_kinds if meaning(name, PAIRS).startswith("as the run's")] == []


def levels(task) -> pd.DataFrame:
    metric = {"chance": task.score_name, "bayes_risk": "loss"}
    rows = [
        {"level": level, "metric": metric[level], "position": position, "value": value}
        for level in metric
        for position, value in zip(task.output_names, getattr(task, level)().value.tolist(), strict=True)
    ]
    return pd.DataFrame(rows)


def told(task) -> dict[str, str]:
    report = RunReport(title="r", verdict="", steps=(0,), levels=levels(task), reasons=reasons(task))
    return dict(terms(report)["learning"])


def test_chance_of_retrieval_is_told_from_the_task():
    said = told(MultiHopRetrieval(hops=3, chains=4))["chance"]
    assert "one of the 4 symbols that are never a key: a guess is right 1 time in 4" in said
    assert "the prompt's 16 symbols is right 1 time in 16" in said
    assert said.endswith("here 0.0625 for hop 1, hop 2, 0.25 for hop 3")
    assert "16" not in told(MultiHopRetrieval(hops=2, chains=3))["chance"], "9 symbols there"
    alone = told(MultiHopRetrieval(hops=3, chains=4, target="final"))["chance"]
    assert "16 symbols" not in alone
    assert alone.endswith("here 0.25")


def test_output_positions_without_anything_to_learn_are_named():
    said = told(InContextRegression(d=2, n=4))
    (empty,) = [word for word, meaning in said.items() if meaning == UNTRAINED_FALL]
    assert empty == "x 1"
    assert said["Bayes risk"].endswith(
        "(d - t)/d, 0 from t = d on); here 1 for x 1, 0.5 for x 2, 0 for x 3, x 4, x 5"
    )
    assert "draw of prompts" in said["below the Bayes risk"]
    assert UNTRAINED_FALL not in told(MultiHopRetrieval()).values()


def test_names_that_no_shipped_task_gives_are_the_tasks_own():
    assert meaning("query -> link_2x", RELATIONS) == "as the run's own task defines it"
    assert terms(RunReport(title="r", verdict="", steps=(0,))) == {}
