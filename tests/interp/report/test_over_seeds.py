"""Runs of one condition side by side on the page: values and sentences of the comparison, drawn and escaped."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from interp.analysis.result import Result
from interp.config.run import configure
from interp.report import over_seeds, phase
from interp.report.page import render
from interp.report.together import Together
from tasks.errors import UserError

HOSTILE = "<img src=x onerror=window.__hit=1>"


class Named:
    def __init__(self, name: str):
        self.name = name


RUNS = [Named("seed0"), Named(HOSTILE)]


def onsets() -> Result:
    same = {"metric": "onset", "n": 2.0, "method": "range", "step": 100.0, "control": "none"}
    each = {**same, "metric": "onset of the run"}
    rows = [
        {**same, "event": "hop 2", "value": math.inf, "ci_low": 80.0, "ci_high": math.inf},
        {**same, "event": "hop 1", "value": 25.0, "ci_low": 20.0, "ci_high": 30.0},
        {**each, "event": "hop 1", "value": 20.0, "run": "seed0"},
        {**each, "event": "hop 1", "value": 30.0, "run": HOSTILE},
        {**each, "event": "hop 2", "value": 80.0, "run": "seed0"},
        {**each, "event": "hop 2", "value": None, "run": HOSTILE},
    ]
    return Result("emergence over runs", pd.DataFrame(rows), "Medians over 2 runs; limits are their range.")


def test_onsets_stand_where_they_are_and_what_did_not_emerge_at_the_end() -> None:
    part = over_seeds._part("onsets", onsets, RUNS)
    assert part["conclusion"] == [str(sentence) for sentence in onsets().conclusion]
    (forest,) = part["forests"]
    first, second = forest["rows"]
    assert [first["name"], second["name"]] == ["hop 1", "hop 2"]
    quarter = over_seeds.LEFT + over_seeds.WIDE / 4
    assert first["x"] == quarter
    assert (first["low"], first["high"]) == (
        over_seeds.LEFT + over_seeds.WIDE * 0.2,
        over_seeds.LEFT + over_seeds.WIDE * 0.3,
    )
    assert not second["came"]
    assert second["open"]
    assert [point["came"] for point in second["points"]] == [True, False]
    assert second["points"][1]["x"] == over_seeds.LEFT + over_seeds.WIDE
    assert part["table"]["rows"][0][1:] == ["hop 1", "25 [range 20, 30]", "20", "30"]
    assert part["table"]["rows"][1][-1] == "not by then"


def test_a_part_that_cannot_be_had_states_why() -> None:
    def refuse() -> Result:
        raise UserError("onsets over seeds need one schedule")

    assert over_seeds._part("onsets", refuse, RUNS)["missing"] == "onsets over seeds need one schedule"


def weights() -> pd.DataFrame:
    rows = [
        (8, 0, "zero", 0.9, 2), (8, 100, "zero", 0.1, 0), (32, 0, "zero", 1.0, 2), (32, 100, "zero", 0.2, 0),
        (8, 0, "dMMSE", 0.1, 0), (8, 100, "dMMSE", 0.8, 2), (32, 0, "dMMSE", 0.0, 0), (32, 100, "dMMSE", 0.3, 0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=[phase.SETTING, "step", "strategy", "value", "leads in"])
    return table.assign(ci_low=table["value"] - 0.05, ci_high=table["value"] + 0.05, n=2, method="range")


def test_a_phase_diagram_has_a_cell_for_every_pool_and_step() -> None:
    found = phase._diagram(weights(), "fresh tasks")
    assert found["conclusion"].endswith("by pool: 8: dMMSE 2 of 2; 32: none.")
    zero, known = found["maps"]
    assert [(cell["weight"], cell["leads"]) for cell in known["cells"]] == [
        (0.1, 0),
        (0.8, 2),
        (0.0, 0),
        (0.3, 0),
    ]
    assert len({(cell["x"], cell["y"]) for cell in zero["cells"]}) == 4
    assert known["cells"][1]["text"] == "pool 8, step 100: dMMSE 0.80 [range 0.75, 0.85], leads in 2 of 2"
    assert found["table"]["rows"] == [["8", "zero 2 of 2", "dMMSE 2 of 2"], ["32", "zero 2 of 2", "none"]]


class Copy:
    """A copy without weights of a run with a pool of tasks."""

    def __init__(self, pool: int) -> None:
        self.config = configure("task-diversity", changes={"task.pool": pool})
        self.task = self.config.task

    def tables(self, *_: object) -> None:
        raise UserError(f"{HOSTILE}: the table of strategies is not whole")


def test_a_phase_diagram_that_cannot_be_had_is_missed_in_words(retrieval) -> None:
    (found,) = phase.phases([Copy(4), Copy(8)])
    assert found == {"missing": f"{HOSTILE}: the table of strategies is not whole"}
    pages = [replace(retrieval(title, count=3), outputs=("retrieval", "hop 1")) for title in "ab"]
    html = render(pages, (), [Together((), (found,))])
    assert "the table of strategies is not whole" in html
    assert HOSTILE not in html


def test_the_page_draws_it_without_scripts_and_escaped(retrieval) -> None:
    part = over_seeds._part("onsets", onsets, RUNS)
    shown = Together((("all runs", (part,)),), (phase._diagram(weights(), "fresh tasks"),))
    pages = [replace(retrieval(title, count=3), outputs=("retrieval", "hop 1")) for title in "ab"]
    html = render(pages, (), [shown])
    assert "Median onset over 2 runs (training step): hop 1 25 [range 20, 30]." in html
    assert HOSTILE not in html
    assert "Strategy that leads at step 100 on fresh tasks" in html
    assert html.count('class="forest') == 2
    assert 'class="forest' not in render(pages)
