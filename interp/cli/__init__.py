"""The command line. This module loads nothing heavy: each command's module is imported when the command runs.

Exit codes: 0 done; 1 the thing asked about does not hold (damage found, a strict study not reproduced, training
diverged); 2 bad input, one line on standard error; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from interp import __version__

app = App(
    name="interp",
    version=__version__,
    help="Which algorithm does a small transformer run, which heads carry it, and in what order did they appear?",
    suppress_keyboard_interrupt=False,  # `run` says how to go on
)

COMMANDS = {
    "Train": {
        "train": ("training:train", "Train a preset or a TOML configuration and keep its checkpoints."),
        "sweep": ("sweeps:sweep", "Train and measure many runs on parallel workers."),
        "resume": ("training:resume", "Go on with a run that was broken off."),
        "demo": ("training:demo", "Train the two demo runs and write their report."),
        "runs": ("training:runs", "List the runs in a folder."),
        "verify": ("training:verify", "Re-hash everything in a run and name the first file that is wrong."),
        "export": ("training:export", "Write one checkpoint as a plain state dict with its configuration."),
        "import": ("importing:app", "Make a run of weights that were trained elsewhere."),
    },
    "Analyse": {
        "scores": (
            "analyses:scores",
            "Loss and score of every read at every checkpoint, with floor and chance.",
        ),
        "probe": ("analyses:probe", "What a linear readout of each layer knows, at every checkpoint."),
        "heads": ("heads:heads", "How much each head attends to the positions that matter."),
        "emergence": (
            "heads:emergence",
            "When each skill and each head appeared; of several runs, in which order.",
        ),
        "curvature": (
            "landscape:curvature",
            "How the loss bends along the run: sharpness, conditioning, smoothness.",
        ),
    },
    "Intervene": {
        "patch": ("causes:patch", "Patch sites from one run into another: where is the answer carried?"),
        "circuit": ("causes:circuit", "Search the edges that carry the behaviour, and judge them."),
    },
    "Report": {
        "study": ("studies:study", "A paper's claims beside what is measured here, with verdicts."),
        "watch": ("watching:watch", "Refresh the scores and heads of a run while it trains."),
        "report": ("reports:report", "One HTML file with everything known about one or more runs."),
    },
}

for group, commands in COMMANDS.items():
    for name, (target, text) in commands.items():
        app.command(f"interp.cli.{target}", name=name, help=text, group=group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a user's error is one line on standard error."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise
        return _say(str(error), code)


def _code_of(error: Exception) -> int | None:
    """The exit code of an error that was meant for the user; None for a fault of ours."""
    from interp.train.loop import Diverged
    from tasks.errors import UserError

    if isinstance(error, Diverged):
        return 1
    return 2 if isinstance(error, UserError | OSError) else None


def _warn(message: Warning | str, *_: object) -> None:
    """A warning as one line, without the line of code that gave it."""
    print(f"interp: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _refuse(text: str) -> int:
    return _say(" ".join(text.split()) + "; see interp --help", 2)


def _say(text: str, code: int) -> int:
    print(f"interp: {' '.join(text.split())}", file=sys.stderr)
    return code
