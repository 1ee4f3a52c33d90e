"""Run folders that older versions wrote: today's code reads each, and measures today what was measured then."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import interp
from interp.analysis.schema import conformed, upgraded
from interp.io.tables import read_table
from interp.runs.verify import verify

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(config.parent for config in GOLDEN.glob("*/*/config.json"))
MEASURED = {
    "scores": lambda run: run.scores(),
    "heads": lambda run: run.heads(),
    "probe": lambda run: run.probe(),
    "circuit": lambda run: run.circuit(steps="last"),
    "curvature": lambda run: run.curvature(),
}


@pytest.fixture(params=FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def golden(request, tmp_path) -> Path:
    """A copy under the version and name it was written under, so that nothing is written beside the kept one."""
    return Path(shutil.copytree(request.param, tmp_path / request.param.parent.name / request.param.name))


def test_the_kept_folder_is_what_it_claims(golden):
    assert verify(golden).problem is None
    run = interp.load(golden)
    assert run.steps == (0, 30, 60)
    assert len(run.metrics()) > 0


def test_kept_tables_come_back_as_they_were(golden):
    before = {path.name: path.read_bytes() for path in (golden / "analysis").glob("*.parquet")}
    for measure in MEASURED.values():
        measure(interp.load(golden))
    after = {path.name: path.read_bytes() for path in (golden / "analysis").glob("*.parquet")}
    old = golden.parent.name == "v0.1"
    anew = (
        {"circuit.parquet"} if old else set()
    )  # what a circuit is has changed since 0.1: it is measured again
    same = {name for name, held in before.items() if after[name] == held}
    assert same == set(before) - anew


def _kept(run: Path, name: str) -> pd.DataFrame:
    """A table as it is read: in the words of today, without the run's name."""
    found = read_table(run / "analysis" / f"{name}.parquet")
    assert found is not None
    return found[0].drop(columns="run", errors="ignore")


def test_tables_are_read_in_the_words_of_today(golden):
    """In the files of version 0.1 the Bayes risk is called "floor", and a column "without_peers"."""
    levels = set(_kept(golden, "scores")["control"])
    assert "bayes_risk" in levels
    assert "floor" not in levels
    roles = golden / "analysis" / "roles.parquet"
    assert not roles.exists() or "with_peers_ablated" in _kept(golden, "roles")


@pytest.mark.parametrize("name", [name for name in MEASURED if name != "curvature"])  # half a minute each
def test_measured_today_gives_what_it_gave(golden, name):
    kept = conformed(name, upgraded(_kept(golden, name)))
    shutil.rmtree(golden / "analysis")
    MEASURED[name](interp.load(golden))
    today = _kept(golden, name)
    pd.testing.assert_frame_equal(today, kept, rtol=1e-4, atol=1e-5)
