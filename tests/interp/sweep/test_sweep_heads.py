"""A head of one seed is not the head of that number of another: over seeds heads are taken by rank, pairs refused."""

from __future__ import annotations

import pandas as pd
import pytest

from interp.io.tables import Stamp, write_table
from interp.sweep.plan import SweepPlan
from interp.sweep.results import Sweep
from tasks import UserError


def sweep(tmp_path, table: pd.DataFrame, name: str) -> Sweep:
    plan = SweepPlan(config="retrieval", seeds=(0, 1), analyses=("scores",))
    stamp = Stamp(analysis=name, key="k", config="c", checkpoints={}, settings={})
    write_table(tmp_path / "analysis" / f"{name}.parquet", table, stamp)
    return Sweep(tmp_path, plan, {})


def test_heads_are_averaged_by_their_rank(tmp_path):
    rows = [
        {"run": f"seed={seed}", "seed": seed, "step": 0, "layer": 0, "head": head, "metric": "query -> link 1",
         "control": "none", "value": 0.9 - 0.1 * seed if head == (strong + seed) % 2 else 0.1}
        for seed in (0, 1) for strong in (0,) for head in (0, 1)
    ]  # fmt: skip
    rows += [
        {"run": f"seed={s}", "seed": s, "step": None, "metric": "query -> link 1", "control": "uniform", "value": 0.2}
        for s in (0, 1)
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"layer": "Int64", "head": "Int64", "step": "Int64"})
    found = sweep(tmp_path, table, "heads").over_seeds("heads")
    own = found[found["control"] == "none"].set_index("rank")["value"]
    assert own.to_dict() == pytest.approx({1: 0.85, 2: 0.1})
    assert found[found["control"] == "uniform"]["value"].tolist() == [pytest.approx(0.2)]
    assert "head" not in found
    assert "layer" not in found
    assert (found["n"] == 2).all()


def test_pairs_of_heads_have_no_mean_over_seeds(tmp_path):
    table = pd.DataFrame(
        {"seed": [0, 1], "sender": ["L0H0"] * 2, "receiver": ["L1H0.q"] * 2, "value": [0.0, 1.0]}
    )
    with pytest.raises(UserError, match="pairs of heads"):
        sweep(tmp_path, table, "circuit").over_seeds("circuit")


def test_rows_of_one_name_are_not_taken_for_seeds(tmp_path):
    cell = {"step": 0.0, "layer": 0, "head": 0, "metric": "attention", "chain": "queried", "row": "query"}
    rows = [
        {"run": f"seed={s}", "seed": s, **cell, "column": column, "control": "none", "value": value + s}
        for s in (0, 1) for column, value in (("link_1", 0.0), ("link_2", 10.0))
    ]  # fmt: skip
    found = sweep(tmp_path, pd.DataFrame(rows), "chain").over_seeds("chain")
    assert found.set_index("column")["value"].to_dict() == {"link_1": 0.5, "link_2": 10.5}
    assert (found["n"] == 2).all()
    odd = pd.DataFrame(rows).drop(columns=["column", "head"])
    with pytest.raises(UserError, match="a run has several rows of"):
        sweep(tmp_path, odd, "chain").over_seeds("chain")
