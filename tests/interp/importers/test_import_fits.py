"""Weights that are not there are never made up: what a file lacks is refused by name, at import and at every load."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import interp
from interp.config.run import configure
from interp.importers.hf import import_hf
from interp.importers.plain import import_plain
from interp.io.hf_reference import Reference
from interp.models import build_model
from interp.models.pretrained import shared_prefixes
from interp.runs.recorder import Recorder
from interp.runs.verify import verify
from interp.studies.retrieval_prompts.runs import save
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from interp.studies.retrieval_prompts.runs_weights import build_small, tokenizer_of
from tasks.errors import UserError

LACKING = "transformer.h.1.mlp.c_fc.weight"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "gpt2"
    model = build_small(SmallModel(family="gpt2", layers=2, heads=2, width=16, keep=(0,), seed=0)).eval()
    save(model, tokenizer_of(), folder)
    return folder


def changed(saved: Path, folder: Path, **settings) -> dict[str, torch.Tensor]:
    """A copy of the model under `folder` with other settings; returns its tensors for `put`."""
    shutil.copytree(saved, folder)
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(own | settings))
    return load_file(folder / "model.safetensors")


def put(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def lacking(tensors):
    return {name: value for name, value in tensors.items() if name != LACKING}


DAMAGE = {
    "one tensor missing": (lacking, {}, LACKING),
    "a layer more in the configuration": (dict, {"n_layer": 3}, "transformer.h.2."),
    "a layer fewer in the configuration": (dict, {"n_layer": 1}, "transformer.h.1."),
    "a tensor of another shape": (
        lambda t: t | {LACKING: t[LACKING][:, :8].contiguous()}, {}, LACKING,
    ),
    "a tensor that no model has": (lambda t: t | {"extra.weight": torch.ones(2)}, {}, "extra.weight"),
    "values that are not finite": (lambda t: t | {LACKING: t[LACKING] * float("nan")}, {}, LACKING),
    "all names in capitals": (lambda t: {name.upper(): value for name, value in t.items()}, {}, "transformer"),
    "an untied head that is not there": (dict, {"tie_word_embeddings": False}, "lm_head.weight"),
}  # fmt: skip


@pytest.fixture(scope="module")
def imported(saved, tmp_path_factory) -> tuple[Path, interp.Run]:
    """Sound weights, and the run that was made of them and refers to them."""
    place = tmp_path_factory.mktemp("imported")
    shutil.copytree(saved, place / "good")
    run = interp.load(import_hf(str(place / "good"), place / "run", hops=2, chains=2).path)
    assert verify(run.path).ok
    return place / "good", run


@pytest.fixture
def good(saved, imported) -> Iterator[Path]:
    """The weights that the run refers to, put right again after the test."""
    yield imported[0]
    for file in ("config.json", "model.safetensors"):
        shutil.copy2(saved / file, imported[0] / file)


@pytest.mark.parametrize("name", DAMAGE)
def test_weights_that_are_not_there_are_refused_by_name_at_import_and_at_load(
    name, saved, imported, good, tmp_path, monkeypatch
):
    change, settings, named = DAMAGE[name]
    folder = tmp_path / "theirs"
    put(folder, change(changed(saved, folder, **settings)))
    with pytest.raises(UserError, match=re.escape(named)):
        import_hf(str(folder), tmp_path / "run", hops=2, chains=2)
    assert not (tmp_path / "run").exists()
    run = interp.load(imported[1].path)
    for file in ("config.json", "model.safetensors"):  # as an import that did not look would have left it
        shutil.copy(folder / file, good / file)
    monkeypatch.setattr(Reference, "check", lambda self: None)
    with pytest.raises(UserError, match=re.escape(named)):
        run.model()
    found = verify(run.path)
    assert not found.ok
    assert named in str(found.problem)


def test_revisions_are_each_looked_at(saved, tmp_path):
    place = tmp_path / "several"
    for step in (0, 5):
        put(place / f"step{step}", changed(saved, place / f"step{step}"))
    put(place / "step5", lacking(load_file(place / "step5" / "model.safetensors")))
    with pytest.raises(UserError, match=f"step5.*{re.escape(LACKING)}"):
        import_hf(str(place), tmp_path / "run", hops=2, chains=2)


def test_a_tied_head_is_not_missing(saved, tmp_path):
    assert "lm_head.weight" not in load_file(saved / "model.safetensors")
    assert import_hf(str(saved), tmp_path / "run", hops=2, chains=2).steps == (0,)


@pytest.mark.parametrize("prefix", ["module._orig_mod."])
def test_a_prefix_that_all_keys_share_is_taken_off_with_a_note(prefix, saved, tmp_path):
    folder = tmp_path / "wrapped"
    tensors = changed(saved, folder)
    put(folder, {prefix + name: value for name, value in tensors.items()})
    with pytest.warns(UserWarning, match=re.escape(prefix)):
        run = interp.load(import_hf(str(folder), tmp_path / "run", hops=2, chains=2).path)
    plain = interp.load(import_hf(str(saved), tmp_path / "plain", hops=2, chains=2).path)
    inputs = plain.task.sample(0, "eval", 0, 4).inputs
    with torch.no_grad():
        assert torch.equal(run.model()(inputs), plain.model()(inputs))
        assert torch.equal(run.model()(inputs), run.model()(inputs))


def test_a_prefix_in_a_torch_file_too_and_no_adapter(saved, tmp_path):
    folder = tmp_path / "wrapped"
    tensors = changed(saved, folder)
    (folder / "model.safetensors").unlink()
    torch.save({f"module.{name}": value for name, value in tensors.items()}, folder / "pytorch_model.bin")
    with pytest.warns(UserWarning, match="module"):
        assert import_hf(str(folder), tmp_path / "run", hops=2, chains=2).steps == (0,)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="holds an adapter"):
        import_hf(str(folder), tmp_path / "other", hops=2, chains=2)


def test_shared_prefixes_are_whole_names():
    assert shared_prefixes(["ab.x", "abc.x"]) == []
    assert shared_prefixes(["w", "a.w"]) == []


SETTINGS = {
    "task": {"kind": "regression", "d": 2, "n": 3, "layout": "merged"},
    "model": {"kind": "linear", "n_layers": 1},
    "train": {"steps": 4, "batch": 2, "lr": 0.1},
}


def plain_parts(tmp_path: Path):
    config = configure(SETTINGS)
    state = build_model(config.model, config.task.interface, 3).state_dict()
    (tmp_path / "map.toml").write_text("".join(f'"{name}" = "net.{name}"\n' for name in state))
    return config, {f"net.{name}": value for name, value in state.items()}, state


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefixes_of_plain_files(wrapper, prefix, tmp_path, recwarn):
    config, theirs, state = plain_parts(tmp_path)
    content = {wrapper: {prefix + name: value for name, value in theirs.items()}, "epoch": 3}
    torch.save(content, tmp_path / "theirs.pt")
    run = interp.load(
        import_plain(tmp_path / "theirs.pt", tmp_path / "map.toml", config, tmp_path / "run").path
    )
    found = run.model().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert [prefix in str(w.message) for w in recwarn if "taken off" in str(w.message)] == [True] * bool(
        prefix
    )


def test_a_recording_of_our_settings_takes_only_weights_of_our_model(tmp_path):
    config = configure(SETTINGS)
    model = build_model(config.model, config.task.interface, 0)
    wrapped = {f"_orig_mod.{name}": value for name, value in model.state_dict().items()}
    recorder = Recorder(tmp_path / "wrapped", config, [0, 4])
    with pytest.warns(UserWarning, match="_orig_mod"):
        recorder.record(0, wrapped)
    recorder.record(4, model.state_dict())
    assert verify(tmp_path / "wrapped").ok
    other = Recorder(tmp_path / "other", config, [0, 4])
    with pytest.raises(UserError, match=r"missing|unknown"):
        other.record(0, torch.nn.Linear(2, 2))
