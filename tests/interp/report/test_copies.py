"""A copy without weights (settings, metrics, tables) is reported: what came along is shown, the rest explained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import interp
from interp.cli import run as cli
from interp.report.collect import collect
from tasks import UserError
from tests.interp.runs.test_run_names import ENDS


@pytest.fixture(scope="module")
def original(nets) -> Path:
    return nets.reported("retrieval-ends-0", "retrieval", ENDS)


@pytest.fixture
def copy(original, tmp_path) -> Path:
    return Path(
        shutil.copytree(original, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints", "resume"))
    )


def test_a_copy_is_reported_with_what_came_along(copy, original, tmp_path, capsys):
    page, whole = collect(interp.load(copy)), collect(interp.load(original))
    assert page.identity == whole.identity
    for name in ("scores", "heads", "probes", "weights", "patching"):
        found, wanted = (getattr(each, name).drop(columns="run", errors="ignore") for each in (page, whole))
        assert found.equals(wanted), name
    assert page.attention == ()
    assert "is a copy without its weights" in page.missing["attention"]
    assert "learning" not in {section for section, _, _ in page.made}
    assert cli(["report", str(copy), str(original), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "interp resume" not in text
    assert "copy without its weights" in text
    capsys.readouterr()


def test_what_is_lacking_is_told(copy):
    for name in ("heads", "probe"):
        (copy / "analysis" / f"{name}.parquet").unlink()
    page = collect(interp.load(copy))
    assert page.heads is None
    assert "no complete table of heads lies with it" in page.missing["heads"]
    (copy / "analysis" / "scores.parquet").unlink()
    with pytest.raises(
        UserError, match=r"its table of scores is not whole: a page needs what interp report keeps"
    ):
        collect(interp.load(copy))


def test_tables_alone_are_never_trained_over(copy, capsys):
    (copy / "metrics.jsonl").unlink()
    for words in (["scores"], ["report"], ["resume"], ["verify"], ["heads"]):
        assert cli([*words, str(copy)]) in (1, 2)
        told = capsys.readouterr()
        assert "resume" not in (told.out + told.err).replace("resume/", "")
    assert cli(["train", str(copy / "config.json"), "--out", str(copy)]) == 2
    assert "would begin again at step 0" in capsys.readouterr().err
    assert not (copy / "checkpoints").exists()
