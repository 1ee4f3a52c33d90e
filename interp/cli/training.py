"""Commands that make and manage runs: train, resume, demo, runs, verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from interp.cli.options import Sinks
from interp.presets import preset_names

Json = Annotated[bool, Parameter(name="--json", help="Print one JSON document and nothing else.")]
if TYPE_CHECKING:
    PresetOrFile = str
else:  # the shell completes presets; any other word is a file
    PresetOrFile = Annotated[Literal[tuple(preset_names())] | str, Parameter(show_choices=False)]
Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]


def train(
    config: PresetOrFile,
    /,
    *,
    out: Path | None = None,
    seed: int | None = None,
    init_seed: int | None = None,
    data_seed: int | None = None,
    steps: int | None = None,
    threads: int | None = None,
    settings: Settings = None,
    device: str = "cpu",
    sink: Sinks = None,
) -> int:
    from interp.cli import show, training_notes
    from interp.config.run import configure
    from interp.train.loop import train as train_run

    changes = [*(settings or []), *([] if threads is None else [f"train.threads={threads}"])]
    config_ = configure(
        config, seed=seed, init_seed=init_seed, data_seed=data_seed, steps=steps, overrides=changes
    )
    folder = out or Path("runs") / f"{Path(config).stem}-seed{config_.seed}"
    ended = training_notes.is_finished(folder)
    with show.progress(folder.name) as advance:
        progress = training_notes.tell(advance, config_)
        run = train_run(config_, folder, device=device, progress=progress, sinks=sink or ())
    return training_notes.trained(run, ended)


train.__doc__ = f"""Train a model and save its checkpoints.

    Parameters
    ----------
    config
        A TOML file, or a preset: {", ".join(preset_names())}.
    out
        Folder of the run; runs/NAME-seedN by default.
    seed
        Seed of initialisation and data, unless init_seed or data_seed is given.
    init_seed
        Seed of the initial weights.
    data_seed
        Seed of the training and evaluation data.
    steps
        Number of training steps.
    threads
        Threads that torch computes on: the setting train.threads, on which the bits of the result depend.
    settings
        Settings to change, as section.key=value in TOML's notation.
    device
        Device to train on; not part of the settings' hash.
    """


def resume(run: Path, /, *, sink: Sinks = None) -> int:
    """Resume an interrupted run; of a finished one only sinks are handed what was logged.

    Parameters
    ----------
    run
        Folder of the run.
    """
    from interp.cli import show, training_notes
    from interp.runs.folder import RunFolder
    from interp.train.loop import resume as resume_run

    config, ended = RunFolder.open(run).config, training_notes.is_finished(run)
    with show.progress(run.name) as advance:
        folder = resume_run(run, progress=training_notes.tell(advance, config), sinks=sink or ())
    return training_notes.trained(folder, ended)


def demo(*, quick: bool = False, out: Path | None = None, settings: Settings = None) -> int:
    """Train the two demo runs and write their report.

    Parameters
    ----------
    quick
        One run instead (in-context Markov chains), trained and analysed in about a minute.
    out
        Folder of the runs and of report.html; runs/demo by default, runs/quick with --quick.
    settings
        Settings to change in the runs, as section.key=value.
    """
    from interp.demo import demo as run_demo

    folder = out or Path("runs/quick" if quick else "runs/demo")
    run_demo(folder, lambda line: print(line, flush=True), settings or [], quick=quick)
    return 0


def runs(folder: Path = Path("runs"), /, *, json: Json = False) -> int:
    """List the runs at or below a folder.

    Parameters
    ----------
    folder
        Folder to search.
    """
    from interp.cli import show
    from interp.runs.listing import list_runs

    table = list_runs(folder)
    if json:
        show.document({"folder": str(folder), "runs": show.records(table)})
    elif table.empty:
        show.note(f"{folder}: no runs; make one with: interp train retrieval")
    else:
        show.table(
            table.assign(state=table["state"].str.split(": ", n=1).str[0]),
            spare=("optimiser", "model", "seed", "checkpoints", "task", "steps", "loss", "step"),
        )
        for problem in table["state"][table["state"].str.contains(": ")]:
            show.note(problem)
    return 0


def verify(run: Path, /, *, json: Json = False) -> int:
    """Re-hash everything in a run; exit 1 and name the first file that is not what it claims.

    Parameters
    ----------
    run
        Folder of the run.
    """
    from interp.cli import show
    from interp.runs.verify import verify as verify_run

    found = verify_run(run)
    if json:
        show.document(
            {
                "run": str(run),
                "ok": found.ok,
                "state": found.state,
                "checked": found.checked,
                "problem": found.problem,
            }
        )
    else:
        show.note(str(found))
    return 0 if found.ok else 1


def export(
    run: Path, /, *, out: Path, step: str = "last", format: Literal["plain", "transformer-lens"] = "plain"
) -> int:
    """Write one checkpoint as a plain state dict (safetensors) with its settings.

    Parameters
    ----------
    run
        Folder of the run.
    out
        Folder for model.safetensors and config.json; neither may exist there.
    step
        A checkpoint step, or 'last'.
    format
        plain: under this package's names; transformer-lens: under those of the classic HookedTransformer, with
        lens.json for its settings in place of config.json.
    """
    from interp.cli import show
    from interp.importers.lens_export import export_lens
    from interp.runs.folder import RunFolder
    from interp.runs.listing import export_checkpoint
    from interp.runs.steps import no_checkpoint
    from tasks.errors import UserError

    folder = RunFolder.open(run)
    if not folder.steps:
        raise no_checkpoint(folder)
    if step != "last" and not step.isdecimal():
        raise UserError(f"--step {step!r}: give 'last' or one step number")
    write = export_lens if format == "transformer-lens" else export_checkpoint
    weights, settings = write(folder, folder.steps[-1] if step == "last" else int(step), out)
    show.note(f"wrote {weights} and {settings}")
    return 0
