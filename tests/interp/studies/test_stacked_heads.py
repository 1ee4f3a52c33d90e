"""The study at toy size: every claim gets a row, finished runs are reused, and nothing is learned in eight steps."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp.analysis import stream
from interp.landscape.llc import LearningCoefficient
from interp.readouts.reach import depth_of
from interp.run import load
from interp.studies.context import StudyContext
from interp.studies.ledger import Ledger
from interp.studies.stacked_heads import measure, rows
from interp.studies.stacked_heads import study as study
from interp.studies.stacked_heads.claims import CLAIMS
from interp.studies.stacked_heads.rows_circuits import LINK_ATTENTION
from interp.studies.stacked_heads.rows_depth import measured_cells, reachable
from interp.studies.stacked_heads.runs import BUDGETS, QUICK
from interp.train.loop import Interrupted, train

# another cluster on the machine may hold dask's usual dashboard port
pytestmark = pytest.mark.filterwarnings("ignore:Port 8787 is already in use")

SHAPE = (
    ("task.chains", 2), ("task.vocab", 12), ("model.d_model", 16), ("model.n_heads", 2), ("train.batch", 8),
    ("train.eval_batch", 8), ("train.schedule.log", 0), ("train.schedule.every", 2),
)  # fmt: skip
TOY = replace(
    QUICK,
    order_seeds=2,
    seeds=1,
    steps=dict.fromkeys(QUICK.steps, 8),
    cells=((1, 2),),
    grid=((1,), (1, 3)),
    llc=LearningCoefficient(prompts=8, minibatch=8, chains=2, draws=20, burn_in=0),
    workers=1,
    shape=SHAPE,
)


def toy(out: Path) -> StudyContext:
    return StudyContext("stacked-heads", "quick", out, (0, 1), lambda line: None, TOY, CLAIMS)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory) -> tuple[Ledger, Path]:
    out = tmp_path_factory.mktemp("study")
    return measured(out), out


def measured(out: Path) -> Ledger:
    """Measured on a quarter of the prompts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", stream.CHUNK // 4)
        return study.measure(toy(out))


def test_every_claim_has_a_row_and_untrained_nets_reproduce_no_skill(ledger) -> None:
    rows = {row.id: row for row in ledger[0].claims}
    assert set(rows) == set(CLAIMS)
    for skill in (
        "curriculum-solves",
        "fixed-order",
        "retrieval-heads",
        "merging-circuit",
        "stacked-circuit",
        "mix",
        "stages",
        "last-hop",
        "edges-in-stages",
        "one-layer-hop-1",
    ):
        assert rows[skill].verdict in ("contradicted", "inconclusive"), skill
    for unmeasured in ("dropped-hop", "clamp-uniform", "transplant-between", "head-leads"):
        assert rows[unmeasured].value is None, unmeasured
        assert rows[unmeasured].verdict == "not measured", unmeasured
    assert rows["depth-necessity"].value == 0
    assert rows["closure-bound"].verdict == "reproduced"
    assert Ledger.from_json(ledger[0].to_json()) == replace(ledger[0], seeds=(0, 1))


def test_a_second_run_trains_what_was_broken_off_and_nothing_else_and_changes_no_figure(
    ledger, tmp_path
) -> None:
    first, out = ledger
    kept = tmp_path / "study"
    shutil.copytree(out, kept)
    broken = [path for name in ("final", "ic") for path in sorted((kept / name).glob("seed=*"))[-1:]]
    for path in broken:
        config = load(path).config
        shutil.rmtree(path)

        def stop(step: int, *_: Any, path: Path = path) -> None:
            if step >= 6:
                raise Interrupted(path, step)

        with pytest.raises(Interrupted):
            train(config, path, progress=stop)

    def stamps() -> dict[Path, int]:
        found = (p for p in kept.rglob("*.safetensors") if not set(broken) & set(p.parents))
        return {path: path.stat().st_mtime_ns for path in found}

    before = stamps()
    assert len(before) > 20
    again = measured(kept)
    assert again.to_json() == first.to_json()
    assert stamps() == before
    assert all(load(path).steps == (0, 2, 4, 6, 8) for path in broken)


def test_at_most_a_third_of_the_ledger_is_not_testable(ledger) -> None:
    dark = [row for row in ledger[0].claims if row.verdict == "not testable at this scale"]
    assert len(dark) <= len(ledger[0].claims) / 3


def test_cells_say_what_is_solved_and_where_the_bound_is(ledger) -> None:
    cells = measured_cells(toy(ledger[1]))
    found = {(c.condition, c.layers, c.hops): (c.solved, c.beyond) for c in cells.itertuples()}
    assert found == {("depth", 1, 2): (0, False), ("grid", 1, 1): (0, False), ("grid", 1, 3): (0, False)}
    rows = {row.id: row for row in ledger[0].claims}
    assert rows["depth-necessity"].n == 2, "a net of one hop has none beyond the bound"
    assert rows["information-reach"].n == 2 + 3
    assert [reachable(layers) for layers in (1, 2, 3)] == [1, 4, 13]


@pytest.mark.parametrize(
    ("usual", "changed", "verdict"),
    [
        ([400] * 8, [math.inf] * 6, "reproduced"),
        ([400] * 8, [500, 520, 600, 620, 700, math.inf], "reproduced"),
        ([400] * 8, [300, 380, 420, 500, 600, math.inf], "inconclusive"),
        ([400] * 8, [200] * 6, "contradicted"),
        ([400] * 8, [math.inf] * 3, "inconclusive"),
        ([math.inf] * 8, [400] * 6, "not measured"),
        ([300, 500] * 4, [450] * 6, "inconclusive"),
    ],
)
def test_a_delay_counts_censored_runs_from_the_step_to_which_they_were_watched(
    usual, changed, verdict
) -> None:
    after, before = (np.array(steps, dtype=float) for steps in (changed, usual))
    found = measure.onset_ratio(after, before, np.full(len(after), 1000.0))
    claim = CLAIMS["dropped-hop"]
    row = claim.measured(
        found.value,
        found.low,
        found.high,
        found.n,
        condition="",
        budget="",
        command="",
        interval=found.method,
    )
    assert row.verdict == verdict
    if changed == [math.inf] * 6:
        assert (row.value, row.ci_low, row.ci_high) == (2.5, 2.5, math.inf)


def test_layers_before_a_site() -> None:
    assert depth_of("blocks.0.hook_resid_pre") == 0
    assert depth_of("blocks.2.hook_resid_post") == 3


def test_pictures_are_written_beside_the_runs(ledger) -> None:
    page = (ledger[1] / "figures-quick.html").read_text()
    assert page.count("Plotly.newPlot(") == 9
    for title in (
        "Share of seeds that learned it",
        "bars: depth bound",
        "Two circuits",
        "One run on one axis",
    ):
        assert title in page


def test_every_scale_has_a_budget_for_every_arm() -> None:
    for budget in BUDGETS.values():
        assert set(budget.steps) == set(QUICK.steps)
        assert (1, 2) in budget.cells


def test_order_of_first_heads() -> None:
    def events(first: float | None, second: float | None) -> pd.DataFrame:
        rows = [("a", LINK_ATTENTION[0], first), ("a", LINK_ATTENTION[1], second)]
        return pd.DataFrame([{"run": r, "event": e, "step": s, "last": 9} for r, e, s in rows])

    assert rows.first_before(events(1, 2)).value == 1
    assert rows.first_before(events(2, 1)).value == 0
    assert rows.first_before(events(None, None).astype({"step": "Float64"})).value == 0
    assert not math.isnan(rows.first_before(events(1, None).astype({"step": "Float64"})).low)
