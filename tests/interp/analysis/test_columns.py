"""Tables of one name have one set of columns, columns of one name one type, whatever was measured."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from interp.analysis.base import Direct
from interp.analysis.columns import COLUMNS, RESULTS, TYPES, column
from interp.analysis.kept import placed
from interp.analysis.schema import conformed, markdown, upgraded, whole
from interp.analysis.shipped import SHIPPED
from interp.causal.over_training import CircuitSearch
from interp.config.run import parse_config
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from interp.run import Run
from tasks.errors import UserError

ROOT = Path(__file__).parents[3]
TINY = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 8},
    "train": {"steps": 2, "batch": 4, "lr": 1e-3, "eval_batch": 8, "schedule": {"every": 2, "log": 0}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run.train(parse_config(TINY), tmp_path_factory.mktemp("columns") / "run")


def test_every_column_of_every_table_is_in_the_dictionary_once() -> None:
    named = [each.name for each in COLUMNS]
    assert len(named) == len(set(named))
    listed = {name for entry in SHIPPED for name in entry.columns} | {
        n for each in RESULTS.values() for n in each
    }
    assert {name for name in listed if column(name) is None and name != "draw *"} == set()
    assert all(each.meaning.endswith(".") for each in COLUMNS)


def test_the_reference_says_what_the_dictionary_says() -> None:
    assert (ROOT / "docs" / "columns.md").read_text() == markdown(), (
        "python -m interp.analysis.schema > docs/columns.md"
    )


def test_a_circuit_has_the_same_columns_with_a_behaviour_and_without() -> None:
    net = constructed_retrieval(2, "chain", distractors=2, dtype="float32")
    untrained = build_model(net.model.config, net.task.interface, 0).eval()
    search = CircuitSearch(prompts=16)
    with_it, without = (
        conformed("circuit", search.measure(model, net.task)) for model in (net.model, untrained)
    )
    assert with_it["value"].notna().any()
    assert without["value"].isna().all()
    assert with_it.dtypes.to_dict() == without.dtypes.to_dict()


def test_tables_join_and_draw(run) -> None:
    heads = run.heads().table
    patched = run.patch("z", pair=run.task.pair_kinds[0], by=("layer", "head"), prompts=4, steps="all").table
    assert heads["step"].isna().any()  # the untrained model's
    joined = heads[heads["control"] == "none"].merge(patched, on=["run", "seed", "step", "layer", "head"])
    assert len(joined) >= len(patched)
    assert run.metrics().merge(heads, on="step")["step"].tolist()
    band = heads.dropna(subset=["step"])
    assert np.isfinite(np.asarray(band["step"])).all()  # what matplotlib's fill_between asks of its arguments
    assert np.ma.masked_invalid(band["step"].to_numpy()).dtype == np.float64
    assert run.resolve(heads["step"].dropna().unique()) == run.steps
    for table in (heads, patched, run.emergence().table, run.metrics()):
        for name in table:
            assert str(table[name].dtype) == TYPES[column(str(name)).kind]
    assert run.scores()._shown()["step"].tolist()[-1] == run.steps[-1]


class Mine(Direct):
    name: ClassVar[str] = "mine"


def test_other_peoples_tables_are_free_but_for_our_names(run) -> None:
    table = pd.DataFrame(
        {"own": [object()], "layer": pd.array([None], dtype="Int64"), "n": [3], "value": [1]}
    )
    found = placed(run, Mine(), table, 2)
    assert found.dtypes.astype(str).to_dict() == {
        "seed": "int64", "step": "float64", "own": "object", "layer": "int64", "n": "float64", "value": "float64",
    }  # fmt: skip
    assert found["layer"].tolist() == [-1]
    for odd in ({"head": ["all"]}, {"step": [1.5]}, {"value": ["much"]}, {"metric": [3]}, {"n": [True]}):
        (name,) = odd
        with pytest.raises(
            UserError, match=f"analysis mine: column '{name}' is for .*; give yours another name"
        ):
            conformed("mine", pd.DataFrame(odd))


def test_a_table_of_the_package_has_no_other_column() -> None:
    with pytest.raises(TypeError, match="analysis scores: column 'colour' is not among those of its entry"):
        conformed("scores", pd.DataFrame({"value": [1.0], "colour": ["red"]}))
    assert len(conformed("scores", pd.DataFrame())) == 0


def test_heads_that_an_older_version_wrote_as_text_are_read() -> None:
    old = pd.DataFrame({"head": ["all", "3", "2-3"]})
    assert upgraded(old).to_dict("list") == {"head": [-1, 3, 2], "shared": [1, 1, 2]}
    kept = pd.DataFrame({"head": [1, 2]})
    assert upgraded(kept) is kept


def test_people_see_counts_as_whole_numbers() -> None:
    shown = whole(pd.DataFrame({"step": [20000.0, np.nan], "value": [2.0, 3.0]}))
    assert shown["step"].tolist() == [20000, pd.NA]
    assert shown["value"].tolist() == [2.0, 3.0]
