"""What the command line says of itself: contents, examples, where errors point, tables that keep names whole."""

from __future__ import annotations

import shlex
import subprocess

import pandas as pd
import pytest

from interp.cli import COMMANDS, app, show
from interp.cli import run as cli
from interp.cli.ledger_text import print_ledger
from interp.config.run import configure
from interp.config.schedule import checkpoint_steps
from interp.hooks.sites import COMPONENTS, HEAD_OUT
from interp.runs.folder import RunFolder
from interp.studies.ledger import Claim, Criterion, Ledger
from interp.train import train

TINY = [
    *(
        "train.steps=4",
        "train.batch=4",
        "train.eval_batch=4",
        "train.schedule.log=0",
        "train.schedule.every=2",
    ),
    *("model.n_layers=1", "model.n_heads=1", "model.d_model=4"),
]
EXAMPLES = {name: entry[2] for group in COMMANDS.values() for name, entry in group.items()}


def said(arguments: list[str], capsys) -> str:
    assert cli(arguments) == 0
    return capsys.readouterr().out


def test_help_is_a_table_of_contents_one_line_a_command(capsys) -> None:
    lines = said(["--help"], capsys).splitlines()
    titles = [line.rstrip(":") for line in lines if line.rstrip(":") in COMMANDS]
    assert titles == list(COMMANDS)
    listed = [
        line.split(":")[0].strip()
        for line in lines
        if line.startswith("  ") and not line.strip().startswith("-")
    ]
    assert listed == [name for group in COMMANDS.values() for name in group]
    assert max(map(len, lines)) <= 100
    assert not any(character in "".join(lines) for character in "╭│\x1b"), "plain text in a pipe"


@pytest.mark.parametrize(
    "command",
    [*(name.split() for name in EXAMPLES), ["import", "garg"], ["import", "plain"], ["import", "hf"]],
    ids=" ".join,
)
def test_every_command_has_an_example_that_can_be_read(command, capsys) -> None:
    text = said([*command, "--help"], capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines), "folded twice"
    assert all(line.startswith("  ") for line in lines if line.startswith(" ")), "further lines hang"
    assert "default: False" not in text
    if command == ["import"]:
        assert "interp import garg --help" in text
        return
    (line,) = [line for line in text.splitlines() if line.startswith("Example: ")]
    words = shlex.split(line.removeprefix("Example: interp "))
    assert words[: len(command)] == command
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("example", EXAMPLES.values())
def test_examples_name_what_the_demo_runs_have(example) -> None:
    """Steps are checkpoints of the run that the example names, pairs those of its task."""
    words = shlex.split(example)
    runs = [word for word in words if word.startswith("runs/demo/")]
    for run in runs:
        config = configure(run.removeprefix("runs/demo/"))
        kept = {str(step) for step in checkpoint_steps(config.train.schedule, config.train.steps)}
        for option, known in (("--steps", {*kept, "all", "last"}), ("--step", {*kept, "last"})):
            for asked in words[words.index(option) + 1].split(",") if option in words else ():
                assert asked in known, f"{run} keeps no step {asked}"
        if "--pair" in words:
            assert words[words.index("--pair") + 1] in config.task.pair_kinds


@pytest.mark.parametrize(
    ("columns", "widest"), [("60", 60), ("250", 100), ("", 100)], ids=["60", "250", "unsaid"]
)
def test_a_pipe_is_as_wide_as_columns_says_and_never_over_100(columns, widest, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = [line for line in said(["patch", "--help"], capsys).splitlines() if "Example:" not in line]
    assert max(map(len, lines)) <= widest
    frame = pd.DataFrame(
        {"layer": [0, 1], "head": [2, 3], **{f"a long name {i}": [0.123] * 2 for i in range(8)}}
    )
    show.table(frame)
    show.note("a/path/that/is/whole " * 12)
    shown = capsys.readouterr().out
    assert max(map(len, map(str.rstrip, shown.splitlines()))) <= widest
    assert shown.count("a long name") == 8, "no name is folded or lost"
    assert shown.count("layer") == shown.count("head") > 1, "each piece says which row it is of"
    assert shown.count("a/path/that/is/whole") == 12


def test_every_piece_of_a_wide_table_says_which_row_it_is_of(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    keys = {"step": [0, 1], "layer": [0, 1], "head": [2, 3], "position": ["hop 1", "hop 2"]}
    show.table(pd.DataFrame({**keys, **{f"a rather long name {i}": [0.123] * 2 for i in range(6)}}))
    shown = capsys.readouterr().out
    assert shown.count("step") == shown.count("position") > 1
    assert shown.count("a rather long name") == 6


def test_what_is_on_by_default_can_be_turned_off() -> None:
    found = {}
    for name in EXAMPLES:
        if name != "import":
            for argument in app[name].assemble_argument_collection():
                if argument.hint is bool and argument.field_info.default is True:
                    found[f"{name} {argument.name}"] = argument.negatives
    assert found == {"circuit --tests": ("--no-tests",)}, "each has a negative"


def test_help_names_runs_and_flags_as_they_are_typed(capsys) -> None:
    for command in ("report", "emergence"):
        text = said([command, "--help"], capsys)
        assert "RUN..." in text.splitlines()[0]
        assert "ARGS" not in text
    assert "True" not in said(["curvature", "--help"], capsys)
    text = " ".join(said(["patch", "--help"], capsys).split())
    assert f"[choices: {', '.join((*COMPONENTS, HEAD_OUT))}]" in text


@pytest.mark.parametrize(
    ("arguments", "help"),
    [
        (["scores"], "interp scores --help"),
        (["heads", "a", "b"], "interp heads --help"),
        (["import", "garg"], "interp import garg --help"),
        (["train", "retrieval", "--bogus", "3"], "interp train --help"),
        (["frobnicate"], "interp --help"),
    ],
)
def test_a_usage_error_points_to_the_help_of_its_command(arguments, help, capsys) -> None:
    assert cli(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.rstrip().endswith(f"see {help}")


def test_columns_are_left_out_before_a_name_is_folded(capsys) -> None:
    frame = pd.DataFrame(
        {"run": ["n" * 60, "m"], "one": ["x" * 25, "y"], "two": ["x" * 25, "y"], "last": [1, 2]}
    )
    show.table(frame, spare=("two", "one"))
    shown = capsys.readouterr().out
    assert "n" * 60 in shown
    assert "two" not in shown.splitlines()[0]
    assert "one" in shown.splitlines()[0]
    assert "columns not shown: two" in shown
    show.table(frame.drop(columns=["two"]), spare=("one",))
    assert "left out" not in capsys.readouterr().out


def test_runs_keeps_names_whole_and_says_what_is_wrong_below(tmp_path, capsys) -> None:
    name = "a-long-name-for-a-run-of-someone-who-likes-to-say-everything-in-the-name"
    train(configure("retrieval", overrides=TINY), tmp_path / name)
    RunFolder.create(tmp_path / "broken", configure("retrieval", overrides=TINY))
    (tmp_path / "broken/config.json").write_text("{")
    shown = said(["runs", str(tmp_path)], capsys)
    assert name in shown
    assert "restore it from a copy, or train the run again in another folder" in " ".join(shown.split())
    assert max(len(line) for line in shown.splitlines() if "config.json" not in line) <= 100


def test_a_damaged_configuration_comes_with_a_remedy(tmp_path, capsys) -> None:
    RunFolder.create(tmp_path / "r", configure("retrieval", overrides=TINY))
    (tmp_path / "r/config.json").write_text('{"schema": 1}')
    assert cli(["scores", str(tmp_path / "r")]) == 2
    assert (
        capsys.readouterr()
        .err.rstrip()
        .endswith("restore it from a copy, or train the run again in another folder")
    )


def test_a_finished_run_without_its_checkpoints_is_no_success(tmp_path, capsys) -> None:
    run = train(configure("retrieval", overrides=TINY), tmp_path / "r")
    for again in (["resume"], ["train", "retrieval", "--set", *TINY, "--out"]):
        assert cli([*again, str(tmp_path / "r")]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "r: was finished already, nothing trained, 3 checkpoints" in told
    for step in run.steps:
        run.checkpoint_path(step).unlink()
    assert cli(["resume", str(tmp_path / "r")]) == 2
    assert "is finished, but the checkpoint of step 0 is missing (3 of 3)" in capsys.readouterr().err


def test_weights_that_ran_away_behind_a_layer_norm_are_told(tmp_path, capsys) -> None:
    wild = ["--set", *TINY, "train.lr=1e10", "train.max_loss=0", "model.layer_norm=no_affine"]
    assert cli(["train", "retrieval", "--out", str(tmp_path / "wild"), *wild]) == 0
    assert "weights have grown to" in capsys.readouterr().err
    assert cli(["train", "retrieval", "--out", str(tmp_path / "tame"), "--set", *TINY]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "tame: trained, 3 checkpoints" in " ".join(told.out.split())


def test_watch_shows_readouts_beside_scores_and_heads(tmp_path, capsys) -> None:
    train(configure("retrieval", overrides=TINY), tmp_path / "r")
    shown = said(["watch", str(tmp_path / "r"), "--once"], capsys)
    assert shown.endswith("\n")
    (header,) = [line.split() for line in shown.splitlines() if line.startswith("accuracy")]
    assert header == ["accuracy", "embed", "L0"]
    assert [line.split()[:2] for line in shown.splitlines()[-3:]] == [["hop", str(hop)] for hop in (1, 2, 3)]


def test_a_ledger_is_not_squeezed_into_columns(capsys) -> None:
    claim = Claim(
        "first", "Words that go on " * 8, "arXiv 1, Fig 2", "about 3", Criterion.within(2.0, 4.0), "steps"
    )
    row = claim.measured(3.1, 2.5, 3.5, 5, condition="main", budget="1 step", command="interp study x")
    later = claim.not_testable(would_need="a GPU", command="interp study x")
    print_ledger(Ledger("x", "quick", (0, 1), (row, later)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "first: reproduced" in lines
    assert any(
        line.strip().startswith("measured 3.1 [2.5, 3.5] steps, n 5; paper about 3;") for line in lines
    )
    assert [line for line in lines[-5:] if line] == [
        "confirmatory: 1 reproduced, 1 not testable at this scale",
        "identity: none",
        "exploratory: none",
    ]


def test_completion_can_be_had(tmp_path, monkeypatch) -> None:
    script = app.generate_completion(shell="bash")
    assert all(name in script for name in EXAMPLES)
    (tmp_path / "interp.bash").write_text(script)
    for words, found in ((["train", "ret"], "retrieval"), (["study", "new"], "newton")):
        typed = " ".join(words)
        asked = f"COMP_WORDS=(interp {typed}); COMP_CWORD=2; _interp; echo ${{COMPREPLY[@]}}"
        out = subprocess.run(
            ["bash", "-c", f". {tmp_path}/interp.bash; {asked}"], capture_output=True, text=True
        )
        assert out.stdout.split() == [found]
