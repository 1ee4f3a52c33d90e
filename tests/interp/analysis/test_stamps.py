"""Tables do not outlive the code that made them: what is not this package's is hashed, or not cached and said."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import threading
import types
import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.analysis import kept
from interp.analysis.base import Direct
from interp.io.code import Uncacheable, code_hash
from interp.io.values import Unplain, plain_value
from tasks.regression import InContextRegression
from tests.forked import HASH_SEED

TASK = """
    import torch
    import tasks
    import stamp_helper
    from stamp_helper import factor

    SHIFT = torch.zeros(2)
    TABLE = {{"scale": 1.0}}
    ASKED = []

    def scaled(x, by=1.0):
        return x * by * TABLE["scale"] + SHIFT.sum()

    @tasks.register("stamped")
    class Stamped(tasks.Task):
        version = 1
        @property
        def interface(self):
            return tasks.Interface(inputs="continuous", d_in=1, n_ctx=2, d_out=1, output_positions=(0, 1))
        def loss(self, outputs, batch):
            return scaled((outputs[..., 0] - batch.targets) ** 2) * factor() * stamp_helper.CONSTANT
        def sample(self, seed, stream, step, batch):
            x = torch.randn(batch, 2, 1, generator=tasks.generator(seed, stream, step))
            return tasks.Batch(x, x[..., 0])
"""
HELPER = "CONSTANT = 1.0\ndef factor():\n    return 1.0\n"
SETTINGS = {
    "task": {"kind": "stamped"},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4},
    "train": {"steps": 2, "batch": 4, "lr": 1e-3, "eval_batch": 8},
}
Own = types.SimpleNamespace
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*was trained with other code"
)  # code is changed here throughout


@pytest.fixture
def own(tmp_path, monkeypatch) -> Own:
    """A user's task with a helper of its own, and a run that was trained on it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "stamp_task.py").write_text(textwrap.dedent(TASK).replace("{{", "{").replace("}}", "}"))
    (code / "stamp_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(code))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    helper, task = (importlib.import_module(name) for name in ("stamp_helper", "stamp_task"))
    interp.Run.train(SETTINGS, tmp_path / "run")
    yield Own(folder=tmp_path / "run", code=code, task=task, helper=helper)
    for name in ("stamp_helper", "stamp_task"):
        sys.modules.pop(name)


def edit(own: Own, file: str, old: str, new: str) -> None:
    path = own.code / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    importlib.invalidate_caches()
    importlib.reload(own.helper)
    importlib.reload(own.task)


def loss(own: Own) -> float:
    """The loss of the last checkpoint as a user asks for it."""
    table = interp.load(own.folder).scores(steps="last").table
    return float(table.query("metric == 'loss' and control == 'none'")["value"].mean())


def patched_module(own: Own) -> None:
    own.task.TABLE["scale"] = 3.0


def shifted(own: Own) -> None:
    own.task.SHIFT = torch.ones(2)


def helper_constant(own: Own) -> None:
    own.helper.CONSTANT = 3.0


CHANGES = {
    "the loss": lambda own: edit(own, "stamp_task.py", "** 2", "** 4"),
    "a default": lambda own: edit(own, "stamp_task.py", "by=1.0", "by=2.0"),
    "a function of an imported module": lambda own: edit(own, "stamp_helper.py", "return 1.0", "return 2.0"),
    "a constant of an imported module": lambda own: edit(own, "stamp_helper.py", "NT = 1.0", "NT = 2.0"),
    "a global array, by assignment": shifted,
    "a global table, in place": patched_module,
    "a global of an imported module, by assignment": helper_constant,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_is_measured_again_when_ones_own_code_changed(change, own):
    before = loss(own)
    path = own.folder / "analysis" / "scores.parquet"
    kept_bytes = path.read_bytes()
    assert loss(own) == before
    assert path.read_bytes() == kept_bytes
    CHANGES[change](own)
    assert loss(own) != before


def test_unchanged_code_is_not_measured_again_and_a_version_can_be_raised(own, monkeypatch):
    asked = []
    sample = own.task.Stamped.sample
    loss(own)

    def counted(self, seed, stream, step, batch):
        asked.append(stream)
        return sample(self, seed, stream, step, batch)

    before = kept._code(interp.load(own.folder), _scores())
    monkeypatch.setattr(torch.nn.Module, "__call__", lambda *a, **k: asked.append("ran"))
    loss(own)
    assert asked == []
    edit(own, "stamp_task.py", "version = 1", "version = 2")
    assert kept._code(interp.load(own.folder), _scores()) != before


def _scores() -> Any:
    from interp.emergence.scores import Scores

    return Scores()


def test_the_hash_is_that_of_another_process(own, forked):
    """Of two, each with another seed of Python's own hashes."""
    here = kept._code(interp.load(own.folder), _scores())
    script = (
        "import interp, stamp_task; from interp.analysis import kept; from interp.emergence.scores import Scores; "
        f"print(kept._code(interp.load({str(own.folder)!r}), Scores()))"
    )
    there = forked(script, path=[own.code])
    assert there.stdout.strip() == here, there.stderr
    assert HASH_SEED != "2"
    told = {**os.environ, "PYTHONPATH": f"{own.code}:{os.getcwd()}", "PYTHONHASHSEED": "2"}
    there = subprocess.run([sys.executable, "-c", script], env=told, capture_output=True, text=True)
    assert there.stdout.strip() == here, there.stderr


class Ours(Direct):
    """An analysis of a test, whose figure is a function that it is given."""

    name: ClassVar[str] = "given"
    figure: Any = None

    def measure(self, model: Any, task: Any) -> pd.DataFrame:
        return pd.DataFrame({"metric": ["figure"], "value": [self.figure(model)]})


def made(number: float):
    def figure(model: Any) -> float:
        return number

    return figure


def test_closures_and_partials_are_told_apart_and_this_package_adds_nothing():
    assert code_hash([made(1.0)]) == code_hash([made(1.0)]) != code_hash([made(2.0)])
    assert code_hash([made(np.zeros(3))]) != code_hash([made(np.ones(3))])
    assert code_hash([InContextRegression, _scores(), type(_scores()), 3]) == ""


def test_a_method_of_ours_that_was_replaced_is_seen(monkeypatch):
    monkeypatch.setattr(InContextRegression, "loss", lambda self, outputs, batch: outputs[..., 0])
    assert code_hash([InContextRegression]) != ""


def typed(text: str, name: str) -> Any:
    """What code typed at a prompt defines."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(text), "<stdin>", "exec"), space)  # noqa: S102
    return space[name]


@pytest.mark.parametrize(
    ("text", "name"),
    [("f = lambda model: 1.0", "f"), ("class C:\n    def f(self): ...", "C"), ("class C:\n    x = 1", "C")],
)
def test_what_was_typed_at_a_prompt_has_no_hash(text, name, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(Uncacheable, match="prompt"):
        code_hash([typed(text, name)])


def test_a_global_without_a_plain_value_has_no_hash(tmp_path):
    with open(tmp_path / "file", "w") as file, pytest.raises(Uncacheable, match="TextIOWrapper"):
        code_hash([made(file)])
    with pytest.raises(Unplain):
        plain_value(threading.Lock())


def test_what_cannot_be_hashed_is_measured_each_time_and_said_once(own, recwarn):
    task = typed("import stamp_task\nclass Stamped(stamp_task.Stamped):\n    kind = 'stamped'", "Stamped")
    import tasks

    tasks.register("stamped")(task)
    kept._SAID.clear()
    first = loss(own)
    assert loss(own) == first
    assert not (own.folder / "analysis" / "scores.parquet").exists()
    assert len([w for w in recwarn if "measured again each time" in str(w.message)]) == 1


HOSTILE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.mark.parametrize("kind", ["evil", "evil:Task", "evil.Task", "../evil"])
def test_no_module_is_imported_because_a_run_folder_names_it(kind, own, tmp_path, monkeypatch):
    (own.code / "evil.py").write_text(HOSTILE)
    from interp.io.files import canonical, sha256
    from interp.runs import header

    head = interp.load(own.folder).folder.head
    text = head.bytes.decode().replace('"kind": "stamped"', f'"kind": "{kind}"')
    import json

    body = json.loads(text)
    body.pop("checksum")
    body["hash"] = sha256(canonical(body["settings"]))
    body["modules"] = ["evil"]
    (own.folder / "config.json").write_bytes(header._text({**body, "checksum": sha256(canonical(body))}))
    with pytest.raises(interp.UserError, match="evil") as refused:
        interp.load(own.folder)
    assert "ALGOSCOPE_TASKS=evil" in str(refused.value)
    assert not (own.code / "ran").exists()
    assert "evil" not in sys.modules


def test_a_run_of_other_code_says_so_once(own):
    assert not said(own)
    edit(own, "stamp_helper.py", "return 1.0", "return 2.0")
    importlib.reload(own.helper)
    importlib.reload(own.task)
    kept._SAID.clear()
    with pytest.warns(UserWarning, match="was trained with other code of stamp_task than today's"):
        interp.load(own.folder).scores()
    assert not said(own)  # once is enough
    with pytest.warns(UserWarning, match="was trained with other code of stamp_task"):
        interp.Run.train(SETTINGS, own.folder)


def said(own) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        interp.load(own.folder).scores()
    return [str(each.message) for each in told]


@pytest.mark.parametrize("line", ["from .parts import g", "from . import parts", "import lazy_pkg.parts"])
def test_a_helper_that_is_imported_only_when_a_function_runs_is_seen(line, tmp_path, monkeypatch):
    (tmp_path / "lazy_pkg").mkdir()
    (tmp_path / "lazy_pkg" / "__init__.py").write_text(f"class Mine:\n    def loss(self):\n        {line}\n")
    parts = tmp_path / "lazy_pkg" / "parts.py"
    parts.write_text("def g():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("lazy_pkg").Mine
    try:
        before = code_hash([mine])
        parts.write_text("def g():\n    return 2\n")
        assert code_hash([mine]) != before
        assert "lazy_pkg.parts" not in sys.modules
    finally:
        sys.modules.pop("lazy_pkg")
