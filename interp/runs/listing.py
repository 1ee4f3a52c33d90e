"""List of runs, which loads torch for unusual ones only, and export of one checkpoint as plain files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from interp.io.files import cannot_write, no_folder, write_atomically
from interp.runs.stored import NAME, StoredRun, stated
from tasks.errors import UnknownTask, UserError
from tasks.shipped import SHIPPED

if TYPE_CHECKING:
    from interp.runs.folder import RunFolder

UNREAD = "task not known here"
_COLUMNS = ["run", "task", "model", "optimiser", "seed", "step", "steps", "checkpoints", "loss", "state"]


def list_runs(folder: str | Path) -> pd.DataFrame:
    """Every run at or below a folder, one row each, by path; `state` says what is wrong with a damaged one.

    `loss` is the mean held-out loss of the last evaluated step. Raises UserError when the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise no_folder(folder)
    found = sorted(path.parent for path in folder.rglob(NAME))
    return pd.DataFrame([_row(path, folder) for path in found], columns=_COLUMNS)


def _row(path: Path, root: Path) -> dict[str, object]:
    name = str(path.relative_to(root)) if path != root else path.resolve().name
    try:
        return {"run": name, **_facts(_opened(path))}
    except UnknownTask as error:
        return {"run": name, "state": f"{UNREAD}: {error}"}
    except UserError as error:
        return {"run": name, "state": f"damaged: {error}"}


def _opened(path: Path) -> StoredRun:
    """A run by what its header states where that is of this package's tasks, else opened. Raises UserError as that."""
    head = stated(path)
    if head is not None and head.settings.get("task", {}).get("kind", "").replace("-", "_") in SHIPPED:
        return StoredRun(path, head)
    from interp.runs.folder import RunFolder

    return RunFolder.open(path)


def _facts(run: StoredRun) -> dict[str, object]:
    records = run.records()
    evaluated = [record["eval"]["loss"] for record in records if record.get("eval")]
    state = "diverged" if run.diverged is not None else "finished" if run.finished else "unfinished"
    facts: dict[str, object] = {
        "step": records[-1]["step"] if records else None,
        "steps": run.last_step,
        "checkpoints": len(run.steps),
        "loss": sum(evaluated[-1]) / len(evaluated[-1]) if evaluated else None,
        "state": state,
    }
    if run.recorded:
        return {**facts, "task": "recorded"}
    settings = run.head.settings
    known = {"task": settings["task"]["kind"], "model": settings["model"]["kind"]}
    return {**facts, **known, "optimiser": settings["train"]["optimiser"], "seed": settings["seed"]}


def export_checkpoint(run: RunFolder, step: int, out: str | Path) -> tuple[Path, Path]:
    """Write one checkpoint as OUT/model.safetensors (a plain state dict) and OUT/config.json (the settings).

    Raises UserError when the checkpoint is damaged or was never to be, or either file exists.
    """
    from safetensors.torch import save

    if step not in run.steps and step not in run.schedule:
        near = min(run.steps, key=lambda s: abs(s - step))
        raise UserError(f"{run.path} has no checkpoint at step {step}; the nearest is {near}")
    out = Path(out)
    weights, config = out / "model.safetensors", out / "config.json"
    for path in (weights, config):
        if path.exists():
            raise UserError(f"{path}: exists; choose another folder")
    tensors = run.weights(step)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from None
    write_atomically(weights, save(tensors))
    settings = {"step": step, "config_hash": run.config_hash, **run.head.settings}
    write_atomically(config, (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())
    return weights, config
