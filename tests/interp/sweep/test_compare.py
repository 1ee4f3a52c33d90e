"""Several runs together: limits over seeds where all have a value, copies counted once, other tasks refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import interp
from interp.analysis.conclusion import paragraph
from interp.analysis.registry import conclusion_of
from interp.config.run import configure
from interp.run import Run
from interp.sweep.matched import means
from interp.sweep.plan import SweepPlan
from interp.sweep.results import Sweep
from tasks.errors import UserError

SMALL = {
    "train.steps": 8, "train.batch": 8, "train.eval_batch": 8, "train.schedule.log": 0, "train.schedule.every": 4,
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    root = tmp_path_factory.mktemp("compare")
    return [Run.train(configure("retrieval", seed=s, changes=SMALL), root / f"seed{s}") for s in range(2)]


def test_two_runs_are_aligned_and_have_ranges(runs) -> None:
    found = interp.compare(runs)
    assert found.runs == ("seed0", "seed1")
    rows = found.scores.table.query("metric == 'accuracy' and control == 'none' and step == 8")
    each = [run.scores("last").table.query("metric == 'accuracy' and control == 'none'") for run in runs]
    values = [table.set_index("position")["value"] for table in each]
    for row in rows.itertuples():
        both = sorted(float(value[row.position]) for value in values)
        assert (row.ci_low, row.ci_high) == tuple(both)
        assert row.value == pytest.approx(sum(both) / 2)
        assert "range" in row.method
    assert "too few runs for a 95% interval" in found.scores.caption
    assert "Step 8, mean accuracy over 2 runs: hop 1" in paragraph(found.conclusion)
    assert "[range " in paragraph(found.conclusion)
    assert found.roles is not None
    assert set(found.roles.table["metric"]) >= {"strongest head"}
    lines = found.plot(Figure().add_subplot()).get_lines()
    assert len(lines[0].get_xdata()) == 3
    assert "<table" in found._repr_html_()
    assert "No run has a behaviour to explain" in paragraph(found.conclusion)


def test_onsets_of_several_runs_as_a_call(runs) -> None:
    found = interp.emergence(runs)
    onsets = found.table[found.table["metric"] == "onset"]
    assert {"hop 1", "hop 2", "hop 3"} <= set(onsets["event"])
    assert onsets["censored"].max() == 2, "8 steps teach nothing"
    assert "Right-censored in half of the runs or more" in paragraph(found.conclusion)


def test_wrong_runs_are_one_line(runs, tmp_path) -> None:
    with pytest.raises(UserError, match="at least two runs, not 1"):
        interp.compare(runs[:1])
    other = Run.train(configure("retrieval", changes={**SMALL, "task.hops": 2}), tmp_path / "two-hops")
    with pytest.raises(UserError, match="another task"):
        interp.compare([runs[0], other])
    with pytest.raises(UserError, match=r"copies of one run.* two that differ"):
        interp.compare([runs[0], runs[0]])


def test_four_runs_have_intervals_and_a_value_that_one_lacks_is_left_out() -> None:
    def table(value: float) -> pd.DataFrame:
        rows = [("hop 1", value), ("hop 2", value if value > 0.5 else None)]
        return pd.DataFrame(rows, columns=["position", "value"]).assign(
            metric="accuracy", unit="share of prompts"
        )

    found = means([table(v) for v in (0.4, 0.6, 0.7, 0.9)], ["metric", "position"])
    (row,) = found.itertuples()
    assert (row.position, row.n) == ("hop 1", 4)
    assert row.value == pytest.approx(0.65)
    assert 0 < row.ci_low < 0.4
    assert 0.85 < row.ci_high < 1
    assert "Student's t" in row.method


def test_a_sweep_is_drawn_with_one_curve_a_setting(monkeypatch) -> None:
    plan = SweepPlan(config="retrieval", seeds=(0, 1), analyses=("scores",), grid={"train.lr": (1e-3, 2e-3)})
    rows = [(rate, step, value) for rate in (1e-3, 2e-3) for step, value in ((0.0, 0.1), (8.0, rate * 400))]
    table = pd.DataFrame(rows, columns=["train.lr", "step", "value"]).assign(
        metric="accuracy", control="none", n=2
    )
    table = table.assign(ci_low=table["value"] - 0.1, ci_high=table["value"] + 0.1, position="hop 1")
    monkeypatch.setattr(Sweep, "over_seeds", lambda self, name: table)
    first, second = Sweep(Path("sweep"), plan, {}).plot("scores", Figure().add_subplot()).get_lines()
    assert (first.get_label(), second.get_label()) == ("train.lr 0.001", "train.lr 0.002")
    assert list(second.get_ydata()) == [0.1, 0.8]


def test_conclusions_over_runs() -> None:
    rows = [
        ("edge overlap", "none", 0.6),
        ("edge overlap", "matched random", 0.2),
        ("faithfulness", "none", 0.9),
    ]
    table = pd.DataFrame(rows, columns=["metric", "control", "value"]).assign(step=8.0, edges=40.0)
    assert "two of them share 0.60 of their edges (matched random 0.20)" in paragraph(
        conclusion_of("circuits over runs", table)
    )
    same = {"metric": "onset", "n": 4.0, "method": "exact", "step": 40.0}
    onsets = [{**same, "event": "hop 2", "value": 20.0, "ci_low": 10.0, "ci_high": float("inf")},
              {**same, "event": "hop 1", "value": 8.0, "ci_low": 4.0, "ci_high": 12.0}]  # fmt: skip
    found = paragraph(conclusion_of("emergence over runs", pd.DataFrame(onsets)))
    assert "Median onset over 4 runs (training step): hop 1 8 [4, 12], hop 2 20 [10, never]." in found
