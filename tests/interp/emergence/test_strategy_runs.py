"""Strategies over several runs: the table of a phase diagram, and joint principal components."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from interp import Run
from interp.emergence.phase_diagram import phase_table
from interp.emergence.trajectories import joint_components, principal
from interp.pictures.phases import phase_diagram, trajectories
from tasks import UserError

TINY = {
    "model.d_model": 8, "model.n_layers": 1, "model.n_heads": 1, "train.batch": 4, "train.eval_batch": 4,
    "task.n": 4, "train.schedule.log": 0, "train.schedule.every": 2,
}  # fmt: skip


def weights(pool: int, seed: int, leads_from: int) -> pd.DataFrame:
    """Strategy a at first, b from a checkpoint on; five checkpoints."""
    rows = []
    for i in range(5):
        fixed = {
            "task.pool": pool,
            "run": f"{pool}-{seed}",
            "step": 10 * i,
            "distribution": "pool tasks",
            "n": 256,
        }
        b = 0.9 if i >= leads_from else 0.1
        for name, w in (("a", 1 - b), ("b", b)):
            limits = {"value": w, "ci_low": w - 0.02, "ci_high": w + 0.02}
            rows.append({**fixed, "metric": "weight", "strategy": name, **limits})
        rows.append({**fixed, "metric": "residual", "strategy": "", "value": 0.02, "ci_high": 0.03})
    return pd.DataFrame(rows)


def test_a_phase_diagram_counts_the_seeds_in_which_a_strategy_leads():
    tables = [weights(pool, seed, pool // 10 + seed) for pool in (10, 20) for seed in range(2)]
    found = phase_table(pd.concat(tables, ignore_index=True), "task.pool", "pool tasks")
    own = found[found["strategy"] == "b"].pivot(index="task.pool", columns="step", values="leads in")
    assert own.loc[10].tolist() == [0, 1, 2, 2, 2]
    assert own.loc[20].tolist() == [0, 0, 1, 2, 2]
    middle = found[(found["strategy"] == "b") & (found["task.pool"] == 10) & (found["step"] == 10)]
    assert middle["value"].item() == pytest.approx(0.5)
    assert middle["method"].item() == "range"
    figure = phase_diagram(found, "task.pool", ("a", "b"))
    assert [len(drawn.y) for drawn in figure.data] == [2, 2]
    assert list(figure.data[1].text[0]) == ["", "1", "2", "2", "2"]


def test_what_a_phase_diagram_cannot_be_drawn_of_is_refused():
    table = weights(10, 0, 1)
    with pytest.raises(UserError, match=r"no column 'train\.lr'"):
        phase_table(table, "train.lr", "pool tasks")
    with pytest.raises(UserError, match="no rows of the distribution 'own'"):
        phase_table(table, "task.pool", "own")


def test_components_of_a_plane_hold_all_of_it():
    gen = torch.Generator().manual_seed(0)
    plane = torch.randn(2, 40, generator=gen, dtype=torch.float64)
    places = torch.randn(9, 2, generator=gen, dtype=torch.float64)
    centre, axes, explained = principal(places @ plane + 3.0, 2)
    assert explained == pytest.approx(1)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(
        ((places @ plane + 3.0 - centre) @ axes.T) @ axes + centre, places @ plane + 3.0
    )
    noise = torch.randn(9, 400, generator=gen, dtype=torch.float64)
    assert principal(noise, 2)[2] < 0.5, "noise has no plane"


def test_runs_share_their_components_and_each_pool_has_its_own_ideal(tmp_path):
    runs = [
        Run.train("task-diversity", tmp_path / str(pool), steps=4, changes={**TINY, "task.pool": pool})
        for pool in (2, 8)
    ]
    found = joint_components(runs, distribution="fresh tasks", prompts=32)
    ideals = found[found["strategy"] != ""]
    assert ideals["strategy"].tolist() == ["ridge", "dMMSE", "dMMSE"]
    assert ideals["run"].tolist() == ["", *(run.name for run in runs)]
    assert found.loc[found["strategy"] == "", "step"].tolist() == [0, 2, 4, 0, 2, 4]
    assert found["explained"].between(0, 1).all()
    assert found["off"].between(0, 1).all()
    assert len(trajectories(found).data) == 5
    with pytest.raises(UserError, match="no distribution 'other'"):
        joint_components(runs, distribution="other")
    other = Run.train("task-diversity", tmp_path / "other", steps=2, changes={**TINY, "task.n": 5})
    with pytest.raises(UserError, match="another shape"):
        joint_components([runs[0], other], prompts=32)
