"""Commands for modules that were trained elsewhere: adopt, check."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.cli.training import Json
from tasks.errors import Faults, UserError


def adopt(
    module: str,
    /,
    *,
    task: str,
    out: Path,
    checkpoints: str | None = None,
    layout: str | None = None,
    steps: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    pad: int | None = None,
    copy: bool = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", consume_multiple=True)] = (),
) -> int:
    """Make a run of somebody else's module: weights stay where they are, and every hook is tested against the module.

    Parameters
    ----------
    module
        A function that builds the module (package.file:function), or the folder of a saved Hugging Face model.
    task
        The task that prompts it: a kind, a preset, or a TOML file with a table `task`.
    out
        Folder of the run.
    checkpoints
        Weights of the module: a pattern in quotes ('out/ckpt_*.pt'), a file, or a folder.
    layout
        Where the parts of a block lie: a shipped layout or a TOML file; the shipped one that fits unless given.
    steps
        Checkpoint steps to include; all of them unless given.
    pad
        Padding token of short prompts.
    copy
        Copy the weights into the run instead of referring to their files.
    set_
        Settings of the task, as key=value.
    """
    from interp.adoption import adopt as adopted
    from interp.cli import training_notes

    if ":" not in module and not Path(module).exists():
        raise UserError(f"{module}: no such folder; give a saved model's folder, or package.file:function")
    settings = task_settings(task, set_)
    _refuse_gaps(settings)
    run = adopted(
        module if ":" in module else Path(module),
        task=settings,
        out=out,
        checkpoints=checkpoints,
        layout=layout,
        steps=steps,
        pad=pad,
        copy=copy,
    )
    return training_notes.imported(run.folder)


def _refuse_gaps(settings: dict[str, Any]) -> None:
    """Raises UserError for settings that make no task, with the option that gives what is missing."""
    from tasks.base import build

    try:
        build(settings)
    except Faults as error:
        missing = re.findall(r"task\.(\w+): is missing", str(error))
        hint = f"; give it: --set {' '.join(f'{name}=VALUE' for name in missing)}" if missing else ""
        raise UserError(f"{error}{hint}") from None


def task_settings(task: str, changes: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a task by its kind, a preset, or a TOML file. Raises UserError for a file without a task."""
    from interp.config.run import parse_override, read_toml
    from interp.presets import preset_names, preset_text

    if task in preset_names():
        settings = tomllib.loads(preset_text(task))["task"]
    elif Path(task).is_file():
        found = read_toml(Path(task))
        settings = found.get("task", found)
        if "kind" not in settings:
            raise UserError(f"{task}: holds no task (a table `task` with its `kind`)")
    else:
        settings = {"kind": task}
    return {**settings, **dict(parse_override(text, example="n=8") for text in changes)}


def check(run: Path, *, step: str = "last", json: Json = False) -> int:
    """Test again that an adopted model computes what its module computes; print what holds and what is refused.

    Parameters
    ----------
    run
        Folder of a run made by `interp adopt`.
    step
        The checkpoint whose weights are tested.
    json
        Print one JSON document.
    """
    from interp.adoption import proven
    from interp.cli import show
    from interp.run import load

    model = load(run).model(int(step) if step.isdigit() else step)
    if not hasattr(model, "prove"):
        raise UserError(
            f"{run}: was trained or imported here, not adopted: there is nothing to check (interp verify re-hashes it)"
        )
    proofs = model.prove()
    if json:
        rows = [{"claim": p.claim, "holds": p.holds, "error": p.error, "refuses": p.refuses} for p in proofs]
        show.document({"run": str(run), "proofs": rows})
    else:
        print(proven(proofs))
    return 0 if all(p.holds for p in proofs) else 1
