"""Views of heads by their names, as the command line has them."""

from __future__ import annotations

from typing import get_args

import pytest

from interp.heads.choices import METHODS, View
from interp.run import Run
from tasks.errors import UserError

SMALL = {
    "train.steps": 2, "train.batch": 8, "train.eval_batch": 8, "train.schedule.log": 0, "train.schedule.every": 2,
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8,
}  # fmt: skip


def test_a_view_is_what_the_method_of_its_name_measures(tmp_path) -> None:
    run = Run.train("retrieval", tmp_path / "run", changes=SMALL)
    assert run.heads("last", view="relations").table.equals(run.heads("last").table)
    assert run.heads("last", view="roles").table.equals(run.roles("last").table)
    assert run.heads("last", view="attribution").name == "output-attribution"
    with pytest.raises(UserError, match=r"heads have no view 'role': did you mean 'roles'\?"):
        run.heads(view="role")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="relation goes with the view 'relations' only, not with 'roles'"):
        run.heads(view="roles", relation=lambda batch: (batch.inputs, batch.inputs))
    assert list(METHODS) == list(get_args(View))
    assert all(callable(getattr(run, name)) for name in METHODS.values())
