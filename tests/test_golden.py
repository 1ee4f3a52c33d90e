"""Run folders that older versions wrote: today's code reads each, and measures today what was measured then."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import interp
from interp.analysis.schema import conformed, upgraded
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
    """A copy, under the name it was written under, so that nothing is written beside the kept one."""
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


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
    anew = {"circuit.parquet"}  # what a circuit is has changed since: its table is measured again
    same = {name for name, held in before.items() if after[name] == held}
    assert same == set(before) - anew


@pytest.mark.parametrize("name", [name for name in MEASURED if name != "curvature"])  # half a minute each
def test_measured_today_gives_what_it_gave(golden, name):
    kept = pd.read_parquet(golden / "analysis" / f"{name}.parquet").drop(columns="run", errors="ignore")
    kept = conformed(name, upgraded(kept))
    shutil.rmtree(golden / "analysis")
    MEASURED[name](interp.load(golden))
    today = pd.read_parquet(golden / "analysis" / f"{name}.parquet")
    pd.testing.assert_frame_equal(today, kept, rtol=1e-4, atol=1e-5)
