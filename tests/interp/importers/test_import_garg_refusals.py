"""State dicts and configurations of other code that do not fit, are damaged or would run code: refused in one line."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest
import torch

from tests.interp.importers.garg_nets import HEADS, WIDTH, config_yaml, refused, write

C_ATTN = "_backbone.h.1.attn.c_attn.weight"
CHANGES = {
    "missing": (lambda s: s.pop(C_ATTN), C_ATTN),
    "missing read-in": (lambda s: s.pop("_read_in.weight"), "_read_in.weight"),
    "missing read-out": (lambda s: s.pop("_read_out.bias"), "_read_out.bias"),
    "a layer too few": (
        lambda s: [s.pop(k) for k in list(s) if ".h.0." in k],
        "_backbone.h.0.mlp.c_fc.weight",
    ),
    "unknown": (lambda s: s.update(extra=torch.zeros(1)), "'extra' is not known"),
    "transposed": (
        lambda s: s.update({C_ATTN: s[C_ATTN].T}),
        f"'{C_ATTN}' has shape [48, 16], should be [16, 48]",
    ),
    "flat": (lambda s: s.update({"_read_in.weight": torch.zeros(5)}), "'_read_in.weight' has shape [5]"),
    "not finite": (
        lambda s: s.update({C_ATTN: s[C_ATTN] * torch.nan}),
        f"'{C_ATTN}' has values that are not finite",
    ),
    "float64": (lambda s: s.update({C_ATTN: s[C_ATTN].double()}), "float64"),
    "no tensor": (lambda s: s.update({C_ATTN: 3}), f"'{C_ATTN}' is no dense tensor"),
    "huge": (lambda s: s.update({"_backbone.wpe.weight": torch.zeros(1).expand(10**9, WIDTH)}), "n"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_dict_that_does_not_fit_is_named(name, theirs, tmp_path, capsys) -> None:
    change, said = CHANGES[name]
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    change(state)
    file = write(tmp_path / "theirs", state)
    assert said in refused("garg", file, "--out", tmp_path / "run", "--n-heads", HEADS, capsys=capsys)
    assert not (tmp_path / "run").exists()


CONFIGS = {
    "another width": (config_yaml(n_embd=32), "model.n_embd is 32, but the weights have 16"),
    "another family": (config_yaml(family="lstm"), "family"),
    "other heads than asked": (config_yaml(n_head=4), "--n-heads 2, but config.yaml has n_head: 4"),
    "another task": ({**config_yaml(), "training": {"task": "decision_tree"}}, "task"),
    "unknown task setting": (
        {**config_yaml(), "training": {"task_kwargs": {"sparsity": 3}}},
        "task_kwargs.sparsity",
    ),
    "too many points": ({**config_yaml(), "training": {"curriculum": {"points": {"end": 99}}}}, "end is 99"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_does_not_fit_is_named(name, theirs, tmp_path, capsys) -> None:
    config, said = CONFIGS[name]
    file = write(tmp_path / "theirs", theirs.state_dict(), config=config)
    line = refused("garg", file, "--out", tmp_path / "run", "--n-heads", HEADS, capsys=capsys)
    assert said in line
    assert "config.yaml" in line


def test_heads_and_steps_are_never_guessed(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    assert "--n-heads N" in refused("garg", file, "--out", tmp_path / "run", capsys=capsys)
    uneven = refused("garg", file, "--out", tmp_path / "run", "--n-heads", 3, capsys=capsys)
    assert "3 heads do not divide the width 16" in uneven
    unnamed = write(tmp_path / "theirs", theirs.state_dict(), "weights.pt")
    assert "model_N.pt" in refused("garg", unnamed, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "none.pt"):
        refused("garg", nothing, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    assert not (tmp_path / "run").exists()


class Hostile:
    """Unpickled by the ordinary unpickler, it makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("wrap", ["zip", "bare pickle", "inside a state"])
def test_a_file_that_would_run_code_is_refused_and_does_not(wrap, theirs, tmp_path, capsys) -> None:
    mark, file = tmp_path / "it-ran", tmp_path / "model_5.pt"
    if wrap == "bare pickle":
        file.write_bytes(pickle.dumps(Hostile(mark)))
    else:
        inside = {"model_state_dict": theirs.state_dict(), "train_step": Hostile(mark)}
        torch.save(Hostile(mark) if wrap == "zip" else inside, file)
    assert "refused" in refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    assert not mark.exists(), "the file's code ran"
    assert not (tmp_path / "run").exists()
    with contextlib.suppress(
        RuntimeError
    ):  # a bare pickle runs before torch sees that it is none of its files
        torch.load(file, weights_only=False)
    assert mark.exists(), "the file is harmless and proves nothing"


def test_a_hostile_configuration_is_plain_data(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    mark = tmp_path / "it-ran"
    (file.parent / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert "config.yaml: not valid YAML" in refused("garg", file, "--out", tmp_path / "run", capsys=capsys)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no torch file", b"\x80\x02]q\x00."])
def test_a_damaged_file_is_one_line(content, tmp_path, capsys) -> None:
    file = tmp_path / "model_5.pt"
    file.write_bytes(content)
    assert "model_5.pt" in refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)


def test_a_cut_off_file_is_one_line(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    file.write_bytes(file.read_bytes()[:-2000])
    refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
