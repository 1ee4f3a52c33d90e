"""The registry of analyses: complete, true to the classes, and written out as methods of a run by the same settings."""

from __future__ import annotations

import contextlib
import inspect
import re
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

import interp
from interp.analysis.base import Analysis
from interp.analysis.columns import TYPES, column
from interp.analysis.entry import IDENTITY
from interp.analysis.registry import build, entries, entry, register
from interp.analysis.shipped import SHIPPED
from interp.config.run import configure, parse_config
from interp.run import Run
from tasks.errors import UserError

HOUSE = Path(interp.__file__).parent
NAMES = [each.name for each in SHIPPED]
METHODS = {
    "output-attribution": "output_attribution",
    "causal-probe": "probe_interventions",
    "token-heads": "patterns",
    "regression-heads": "patterns",
    "own-score": "scores",
    "own-draws": "emergence",
    "own-relation": "heads",
    "own-target": "probe",
    "head-statistics": "head_statistics",
    "hop-growth": "hop_growth",
}
INNER = {
    "chunks",
    "validation_chunks",
    "test_chunks",
    "data_seed",
}  # how prompts are split, and what the run settles
PARTLY = {  # methods that ask less than the class can, or otherwise
    "circuit": "compares with a known circuit as well",
    "scores": "`scores` asks one's own score as well",
    "heads": "`heads` asks one's own relation as well",
    "own-target": "`probe` asks it as one of several",
    "draws": "replicates are a part of emergence",
    "own-draws": "replicates are a part of emergence",
    "probe": "has what `interp probe` has",
    "filters": "the settings that a picture of filters needs",
    "regression-heads": "`patterns` serves token heads as well",
    "composition": "prompts say nothing of weights",
    "weights": "prompts say nothing of weights",
    "curvature": "`hessian` is `sharp`, and other instruments can come along",
}
SHORT = {
    "train.steps": 2, "train.batch": 4, "train.eval_batch": 8, "train.schedule.log": 0, "train.schedule.every": 2,
    "model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8,
}  # fmt: skip
LINEAR = {
    "task": {"kind": "regression", "d": 2, "n": 4, "layout": "merged"},
    "model": {"kind": "linear", "n_layers": 1, "family": "gd"},
    "train": {"steps": 2, "batch": 8, "lr": 0.1},
}
QUICK = {
    "algorithms": {"filter_prompts": 8, "weight_prompts": 4, "draws": 20},
    "filters": {"filter_prompts": 8, "weight_prompts": 4, "draws": 20},
    "causal-probe": {"prompts": 16, "fit_prompts": 64, "draws": 20},
    "targets": {"targets": ("w",), "draws": 20},
    "patch": {"pair": "swap-hop-1", "by": ("layer",), "prompts": 4},
    "circuit": {"prompts": 8},
    "own-score": {"score": lambda outputs, batch: outputs[:, -1, 0]},
    "own-draws": {"score": lambda outputs, batch: outputs[:, -1, 0]},
    "own-relation": {"relation": lambda batch: (torch.zeros(len(batch), 1).long(),) * 2},
    "own-target": {"target": lambda batch: batch.inputs},
    "edges": {"prompts": 8},
    "roles": {"prompts": 32},
    "mechanism": {"prompts": 32},
    "hop-growth": {"prompts": 32},
    "damage": {"prompts": 32},
    "curvature": {"prompts": 8, "probes": 2},
    "llc": {"prompts": 8, "minibatch": 8, "draws": 20, "burn_in": 0, "chains": 2},
    "noise": {"draws": 100, "prompts": 2},
    "composition": {"random": 2},
    "token-heads": {"prompts": 8},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """One run of each kind that some analysis wants, hardly trained."""
    root = tmp_path_factory.mktemp("registry")
    settings = {
        "retrieval": configure("retrieval", changes=SHORT),
        "regression": configure("regression", changes={**SHORT, "model.d_mlp": 8}),
        "linear": parse_config(LINEAR),
        "single-index": configure("single-index", changes={"train.steps": 2, "task.d": 8}),
    }
    return {name: Run.train(config, root / name) for name, config in settings.items()}


def test_every_analysis_of_the_package_is_registered() -> None:
    found = {}
    for path in HOUSE.rglob("*.py"):
        for name in re.findall(r'^    name: ClassVar\[str\] = "(.+)"$', path.read_text(), re.MULTILINE):
            found[name] = path
    assert sorted(found) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_true_to_its_class(name: str) -> None:
    known = entry(name)
    assert issubclass(known.load(), Analysis)
    assert known.load().name == name
    assert len(set(known.columns)) == len(known.columns)
    assert not set(known.columns) & set(IDENTITY)
    assert known.words("runs/mine").startswith("interp ")
    assert "runs/mine" in known.words("runs/mine")


@pytest.mark.parametrize("name", NAMES)
def test_a_table_has_the_columns_that_its_entry_names(name: str, runs) -> None:
    known = entry(name)
    fitting = [run for run in runs.values() if known.applies_to(run.config.model, run.task)]
    if name == "token-heads":
        assert fitting == []
        pytest.skip("measured on a language model in tests/interp/heads/test_patterns.py")
    for run in fitting:
        settings = dict(QUICK.get(name, {}))
        if name == "patch":
            settings["pair"] = run.task.pair_kinds[0]
        found = run.measure(build(name, **settings), "last")
        named = [re.sub(r"^draw \d+$", "draw *", str(each)) for each in found.table.columns]
        assert tuple(dict.fromkeys(named)) == (*IDENTITY, *known.columns)
        for each in found.table.columns:
            assert str(found.table[each].dtype) == TYPES[column(str(each)).kind], each
        assert "{" not in found.caption
        assert found.conclusion or found.table.empty, (
            "an analysis says what its table says, of an untrained net as well"
        )
        with contextlib.suppress(UserError):  # where there is nothing to draw
            ax = Figure().add_subplot()
            assert found.plot(ax).get_xlabel()
        assert all(re.fullmatch(r"[A-Z0-9].*\.", str(each), re.S) for each in found.conclusion), (
            found.conclusion
        )


CHOOSES = "view"  # of `Run.heads`: which of several analyses, a setting of none


@pytest.mark.parametrize("name", [name for name in NAMES if name != "draws"])
def test_a_method_of_a_run_has_the_settings_of_its_class_by_name(name: str) -> None:
    method = getattr(Run, METHODS.get(name, name))
    assert method.__doc__
    parameters = inspect.signature(method).parameters.values()
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters), "a wrong word must be seen"
    if name in PARTLY:
        return
    fields = entry(name).load().model_fields
    asked = {p.name: p.default for p in parameters if p.name not in ("self", "steps", "progress", CHOOSES)}
    assert set(fields) - INNER <= set(asked)
    assert set(asked) <= set(fields)
    for key, default in asked.items():
        if default is not None and default is not inspect.Parameter.empty:
            assert fields[key].default == default, f"{name}.{key}"


def test_a_run_lists_what_can_be_asked_of_it(runs) -> None:
    listed = {name: set(run.analyses()["name"]) for name, run in runs.items()}
    assert {"heads", "chain", "roles", "mechanism", "circuit"} <= listed["retrieval"]
    assert "algorithms" not in listed["retrieval"]
    assert {"algorithms", "regression-heads"} <= listed["regression"]
    assert "overlaps" in listed["single-index"]
    assert not {"heads", "circuit"} & listed["single-index"]
    assert "preconditioners" in listed["linear"]
    everything = {name for names in listed.values() for name in names}
    assert everything == set(NAMES) - {"token-heads"}


def test_what_is_wrong_is_told_in_one_line(runs) -> None:
    with pytest.raises(UserError, match="unknown analysis 'scorse': did you mean 'scores'"):
        runs["retrieval"].measure("scorse")
    with pytest.raises(UserError, match="roles: unknown setting 'prompst': did you mean 'prompts'"):
        build("roles", prompst=8)
    with pytest.raises(UserError, match="targets: is missing"):
        build("targets")
    with pytest.raises(UserError, match=r"'scores' is taken by interp\.emergence\.scores:Scores"):
        register(caption="", columns=())(
            type("Other", (Analysis,), {"name": "scores", "__module__": __name__})
        )
    assert [each.name for each in entries()][: len(NAMES)] == NAMES
