"""The command line. This module loads nothing heavy: each command's module is imported when the command runs.

Exit codes: 0 done; 1 a check failed (damage found, a claim contradicted under --strict, training diverged); 2 bad
input, one line on standard error; 130 Ctrl-C; 141 the output pipe was closed (`| head`).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, Parameter

from interp._version import __version__
from interp.cli import asking
from interp.cli.plain_help import UNFOLDED, PlainHelp
from interp.cli.terminal import Output, screenful, unread
from tasks.renamed import refuse_options

app = App(
    name="interp",
    version=__version__,
    help="Which algorithm does a small transformer run, which heads carry it, and in what order did they emerge?",
    help_epilogue="interp COMMAND --help explains a command and gives an example. A first run: interp train retrieval",
    # a flag that is off by default needs neither a negative form nor a printed default
    default_parameter=Parameter(
        negative=(), show_default=lambda value: None if value is False or value == () else value
    ),
    suppress_keyboard_interrupt=False,  # `run` prints how to continue
)
app.register_install_completion_command(help="Install shell completion of commands and options.")

# what a command is (module:function), what it does, an example: nothing is imported before it runs
COMMANDS = {
    "Train": {
        "train": (
            "training:train",
            "Train a preset or a TOML configuration.",
            "train retrieval --out runs/mine --seed 1 --set train.lr=2e-3 model.n_layers=2",
        ),
        "sweep": (
            "sweeps:sweep",
            "Train and measure many runs on parallel workers.",
            "sweep retrieval --seeds 0:8 --grid train.lr=[1e-3,2e-3] --analyses scores heads",
        ),
        "resume": ("training:resume", "Resume an interrupted run.", "resume runs/mine"),
        "extend": (
            "keeping:extend",
            "Continue training from a checkpoint, as a new run.",
            "extend runs/mine --steps 400 --out runs/longer --set train.lr=1e-4",
        ),
        "watch": (
            "watching:watch",
            "Refresh the tables of a run while it trains.",
            "watch runs/mine --every 10",
        ),
        "demo": ("training:demo", "Train the two demo runs and write their report.", "demo --out runs/demo"),
    },
    "Manage runs": {
        "runs": ("training:runs", "List the runs in a folder.", "runs runs/demo"),
        "verify": (
            "training:verify",
            "Re-hash a run and name the first damaged file.",
            "verify runs/demo/retrieval",
        ),
        "export": (
            "training:export",
            "Write a checkpoint as a plain state dict.",
            "export runs/demo/retrieval --step last --out exported",
        ),
        "thin": (
            "keeping:thin",
            "Delete checkpoints that are no longer needed.",
            "thin runs/mine --every 100",
        ),
        "relink": (
            "keeping:relink",
            "Update where the weights of an imported or adopted model are.",
            "relink runs/pythia --to models/pythia-70m",
        ),
        "adopt": (
            "adopting:adopt",
            "Make a run of a module that was trained elsewhere, without converting it.",
            "adopt mine:build --checkpoints 'out/ckpt_*.pt' --task task.toml --out runs/theirs",
        ),
        "check": (
            "adopting:check",
            "Test again that an adopted model computes what its module computes.",
            "check runs/theirs",
        ),
        "import": ("importing:app", "Make a run from weights that were trained elsewhere.", ""),
    },
    "Measure": {
        "scores": (
            "analyses:scores",
            "Loss and score at every output position, with Bayes risk and chance level.",
            "scores runs/demo/retrieval --steps last",
        ),
        "probe": (
            "probing:probe",
            "What can be decoded linearly from each layer.",
            "probe runs/demo/regression --steps last --algorithms",
        ),
        "heads": (
            "heads:heads",
            "How much each head attends to the positions that matter for the task.",
            "heads runs/demo/retrieval --view roles --steps last",
        ),
        "emergence": (
            "heads:emergence",
            "When each skill and head emerged; for several runs, in which order.",
            "emergence runs/demo/retrieval",
        ),
        "strategies": (
            "strategies:strategies",
            "Which closed-form predictor the outputs follow at which step.",
            "strategies runs/demo/markov",
        ),
        "measure": (
            "measuring:measure",
            "Run any registered analysis, of this package or of a plug-in.",
            "measure runs/demo/retrieval ablation --steps last",
        ),
        "curvature": (
            "landscape:curvature",
            "Curvature of the loss over training.",
            "curvature runs/demo/regression --steps 0,120",
        ),
    },
    "Intervene": {
        "patch": (
            "causes:patch",
            "Activation patching: which sites carry the answer?",
            "patch runs/demo/retrieval --component head_out --pair swap-hop-2 --by layer head",
        ),
        "circuit": (
            "causes:circuit",
            "Find the circuit: the edges that carry the behaviour.",
            "circuit runs/demo/retrieval --steps 400,1200",
        ),
    },
    "Conclude": {
        "report": (
            "reports:report",
            "One HTML page with all results of one or more runs.",
            "report runs/demo/retrieval runs/demo/regression -o both.html",
        ),
        "study": (
            "studies:study",
            "Test a paper's claims against measurements made here.",
            "study one-step-gd --scale quick",
        ),
    },
}
MEASURING = {*COMMANDS["Measure"], *COMMANDS["Intervene"], "report", "study", "watch"}
SEVERAL = {"emergence", "report"}  # commands that take any number of runs
OTHER = Group("Other", sort_key=len(COMMANDS))

for place, (title, commands) in enumerate(COMMANDS.items()):
    chapter = Group(title, sort_key=place)
    for turn, (name, (target, text, example)) in enumerate(commands.items()):
        shown = {"help_epilogue": f"Example: interp {example}"} if example else {}
        if name in SEVERAL:
            shown["usage"] = f"Usage: interp {name} [OPTIONS] RUN..."
        app.command(f"interp.cli.{target}", name=name, help=text, group=chapter, sort_key=turn, **shown)
for flag in ("--help", "--version", "--install-completion"):
    app[flag].group = OTHER


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a user's error is one line on standard error."""
    _suit(sys.stdout.isatty())
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            refuse_options(arguments)
            words, how = asking.taken(arguments) if _measures(arguments) else (arguments, {})
            everything = how.pop("all", False)
            with asking.asked_so(how), screenful(everything or not _measures(arguments)):
                code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
            if _measures(arguments) and not {"--help", "-h"}.isdisjoint(arguments):
                print(asking.folded())
            sys.stdout.flush()  # here, where a closed pipe is not yet an error message at exit
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _refuse(error)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "stopped", 130)
    except BrokenPipeError:
        return unread()
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise
        return _say(str(error), code)


def _measures(arguments: Sequence[str]) -> bool:
    """Whether a command looks at runs, and so takes the options of `interp.cli.asking`."""
    return bool(arguments) and arguments[0] in MEASURING


def _suit(terminal: bool) -> None:
    """Help in boxes for a terminal, as plain text for a pipe."""
    app.help_formatter = "default" if terminal else PlainHelp()
    app.console = None if terminal else Output(width=UNFOLDED)


def _code_of(error: Exception) -> int | None:
    """The exit code of an error that is meant for the user; None for a bug."""
    from interp.train.loop import Diverged
    from tasks.errors import UserError

    if isinstance(error, Diverged):
        return 1
    return 2 if isinstance(error, UserError | OSError) else None


def _warn(message: Warning | str, *_: object) -> None:
    """A warning as one line, without the line of code that gave it."""
    print(f"interp: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _refuse(error: CycloptsError) -> int:
    from interp.cli.usage import complaint

    command = " ".join(["interp", *(error.command_chain or ())])
    return _say(f"{complaint(error)}; see {command} --help", 2)


def _say(text: str, code: int) -> int:
    print(f"interp: {' '.join(text.split())}", file=sys.stderr)
    return code
