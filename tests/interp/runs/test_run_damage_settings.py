"""Settings that were altered under a right hash: named in one line, and nothing is trained from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from interp.io.files import canonical
from interp.runs.verify import verify
from interp.train.loop import resume
from tasks.errors import UnknownTask, UserError
from tests.interp.runs.damage import assert_found, sound_run


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return sound_run(tmp_path_factory.mktemp("sound") / "run")


@pytest.fixture
def run(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


def reseal(path: Path, change) -> None:
    """Alter config.json and make its hash and checksum right again, as someone with intent would."""
    body = json.loads((path / "config.json").read_text())
    body.pop("checksum")
    change(body)
    body["hash"] = hashlib.sha256(canonical(body["settings"]).encode()).hexdigest()
    body["checksum"] = hashlib.sha256(canonical(body).encode()).hexdigest()
    (path / "config.json").write_text(json.dumps(body, indent=2, sort_keys=True) + "\n")


def test_a_newer_schema(run):
    reseal(run, lambda body: body.update(schema=2))
    assert "newer than this version reads" in assert_found(run, "config.json")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.update(extra=1), "unknown setting 'extra'"),
        (lambda s: s["train"].update(stepz=1), "unknown setting 'train.stepz': did you mean 'train.steps'"),
        (
            lambda s: s["model"].update(n_leyers=1),
            "unknown setting 'model.n_leyers': did you mean 'model.n_layers'",
        ),
        (lambda s: s["task"].update(hopps=1), "did you mean 'task.hops'"),
        (lambda s: s["model"].update(d_model=-4), "must be 1 or more"),
        (lambda s: s["model"].update(n_layers=10**6), "lower n_layers"),
        (lambda s: s["train"].update(batch=-1), "must be 1 or more"),
        (lambda s: s["train"].update(lr="NaN"), "finite"),
        (lambda s: s.update(model=[]), "model"),
        (lambda s: s.pop("train"), "train"),
    ],
)
def test_hostile_settings_under_a_right_hash(run, change, line):
    reseal(run, lambda body: change(body["settings"]))
    problem = assert_found(run, "config.json")
    assert line in problem
    with pytest.raises(UserError, match=r"config\.json"):
        resume(run)


def test_a_task_that_nothing_offers_is_not_known_here_rather_than_damage(run):
    reseal(run, lambda body: body["settings"]["task"].update(kind="os.system"))
    for look in (verify, resume):
        with pytest.raises(UnknownTask, match=r"config\.json: unknown task kind 'os\.system'"):
            look(run)


def test_an_unknown_key_beside_the_settings(run):
    reseal(run, lambda body: body.update(comment="hi"))
    assert "'comment' is unknown" in assert_found(run, "config.json")
