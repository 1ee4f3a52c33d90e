"""A terminal shows a screen of a command's tables and says what is left; --all and a pipe show everything."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

from interp.analysis import stream
from interp.cli import asking, show, terminal


@pytest.fixture
def lines(monkeypatch, capsys):
    """Tables as a terminal of 24 lines shows them; with `everything` as --all does."""

    def shown(frames: dict[str, pd.DataFrame], everything: bool = False) -> list[str]:
        monkeypatch.setenv("LINES", "24")
        monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
        with terminal.screenful(everything):
            for title, frame in frames.items():
                show.table(frame, title)
        return [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]

    return shown


MANY = pd.DataFrame({"step": [*map(str, range(0, 530, 10)), "chance"], "hop 1": 0.5})


def test_of_many_checkpoints_an_even_spread_is_shown_with_the_controls(lines) -> None:
    found = lines({"accuracy by checkpoint": MANY})
    assert "… 30 more checkpoints: --all" in found
    steps = [line.split()[0] for line in found if line[0].isdigit()]
    assert (steps[0], steps[-1], len(steps)) == ("0", "520", 23)
    assert any(line.startswith("chance") for line in found)
    assert len(found) < 30


def test_tables_without_room_are_named(lines) -> None:
    found = lines({"first": MANY, "second": MANY, "third": MANY})
    assert found[-1] == "… 2 more tables with --all: second; third"
    assert len(found) < 32


def test_all_shows_everything(lines) -> None:
    found = lines({"first": MANY, "second": MANY}, everything=True)
    assert sum(line.startswith("520") for line in found) == 2
    assert len([line for line in found if line[0].isdigit()]) == 106
    assert not any("--all" in line for line in found)


def test_a_pipe_has_everything(capsys) -> None:
    with terminal.screenful(False):
        show.table(MANY, "first")
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(MANY)


def test_the_option_is_taken_from_any_command_that_measures() -> None:
    assert asking.taken(["scores", "r", "--all"]) == (["scores", "r"], {"all": True})


@pytest.mark.parametrize(("seconds", "announced"), [(7.1, True), (0.1, False)])
def test_a_long_measurement_is_announced_after_its_first_checkpoint(seconds: float, announced: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream._announce(["slow"], 52, seconds)
    said = [str(warning.message) for warning in caught]
    assert bool(said) is announced
    if announced:
        assert "slow: 7 s for the first of 53 checkpoints, about 6 min for the rest" in said[0]
        assert "--steps last" in said[0]
