"""`interp probe` at the command line: targets, rivals, prompts of another law, layers over training, and bad input."""

from __future__ import annotations

import json

import pytest
import torch

from interp.cli import run as cli
from interp.models.transformer import HookedTransformer

SMALL = [
    *(
        "--steps",
        "4",
        "--set",
        "train.batch=16",
        "train.schedule.log=0",
        "train.schedule.every=4",
        "train.warmup=1",
    ),
    *("train.eval_batch=16", "model.n_layers=2", "model.n_heads=2", "model.d_model=16", "train.save_every=4"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("cli") / "run")
    changes = ["model.positions=token_type", "task.d=2", "task.n=4"]
    assert cli(["train", "regression", "--out", path, *SMALL, *changes]) == 0
    return path


def test_targets_of_one_checkpoint_and_of_all(folder, capsys) -> None:
    assert cli(["probe", folder, "--targets", "label", "w", "xy", "spectrum", "newton", "--steps", "4"]) == 0
    shown = capsys.readouterr().out
    for word in ("by target and site", "spectrum", "X'y", "newton", "untrained", "shuffled", "embed", "L1"):
        assert word in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("that is read")) <= 110
    assert cli(["probe", folder, "--targets", "w", "cg", "--output", "t>d"]) == 0
    assert "L1: R2 of linear readouts, t>d, by checkpoint" in capsys.readouterr().out
    assert cli(["probe", folder, "--targets", "w", "--layers", "0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["site"] for row in rows} == {"blocks.0.hook_resid_post"}
    assert {row["control"] for row in rows} == {"none", "shuffled", "untrained", "zero"}


def test_further_rivals_and_when_layers_take_their_place(folder, capsys) -> None:
    rivals = ["gd", "newton", "momentum", "chebyshev", "preconditioned-gd", "newton-identity", "ogd", "bayes"]
    assert cli(["probe", folder, "--algorithms", "--families", *rivals, "--layers", "0"]) == 0
    shown = capsys.readouterr().out
    for word in (
        *rivals,
        "best step [range] of each algorithm",
        "free filter",
        "L0, by checkpoint",
        "filter verdict, by checkpoint and layer",
    ):
        assert word in shown
    assert max(len(line) for line in shown.splitlines()) <= 100


def test_prompts_of_another_law(folder, capsys) -> None:
    assert cli(["probe", folder, "--shift", "x_scale=2", "n=8", "--output", "x 9"]) == 0
    shown = capsys.readouterr().out
    assert "x 9, prompts with x_scale=2, n=8" in shown
    assert (
        cli(["probe", folder, "--algorithms", "--steps", "4", "--shift", "weight_scale=2", "kappa=10"]) == 0
    )
    assert "prompts with weight_scale=2, kappa=10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--targets", "v"], "no target 'v'"),
        (["--targets", "w", "--algorithms"], "give one at a time"),
        (["--algorithms", "--families", "adam"], "no algorithm 'adam'"),
        (["--families", "gd"], "unknown setting 'families'"),
        (["--layers", "9"], "no layer '9'"),
        (["--algorithms", "--context", "99"], "context 99 is not read"),
        (["--output", "x 99"], "no output position 'x 99'"),
        (["--algorithms", "--output", "x 2"], "leave it out"),
        (["--shift", "d=9"], "'d' cannot change"),
        (["--shift", "x_scale"], "key=value"),
        (["--shift", "noise=-1"], "noise"),
        (["--shift", "n=0"], "n: "),
        (["--shift", "x_scale=nan"], "x_scale"),
        (["--causal", "--shift", "x_scale=2"], "unknown setting 'shift'"),
        (["--ridge", "0"], "strengths.0: must be greater than 0"),
        (["--ridge", "1", "-1"], "strengths.1: must be greater than 0"),
        (["--steps", "3"], "no checkpoint at step 3"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, arguments, words, capsys) -> None:
    assert cli(["probe", folder, *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: torch.full_like(x, float("nan")), "NaN or infinity"),
        (torch.zeros_like, "every feature is constant"),
    ],
)
def test_activations_that_say_nothing_are_refused(folder, spoil, words, capsys, monkeypatch) -> None:
    plain = HookedTransformer.run_with_cache

    def spoiled(self, *arguments, **settings):
        outputs, cache = plain(self, *arguments, **settings)
        return outputs, {name: spoil(cache[name]) for name in settings["names_filter"]}

    monkeypatch.setattr(HookedTransformer, "run_with_cache", spoiled)
    assert cli(["probe", folder, "--targets", "xy", "--per-position"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_task_without_least_squares_is_refused(tmp_path, capsys) -> None:
    assert cli(["train", "retrieval", "--out", str(tmp_path / "run"), *SMALL]) == 0
    for arguments in (["--algorithms"], ["--targets", "w"], ["--shift", "x_scale=2"]):
        capsys.readouterr()
        assert cli(["probe", str(tmp_path / "run"), *arguments]) == 2
        error = capsys.readouterr().err.strip()
        assert "regression runs" in error
        assert len(error.splitlines()) == 1
