"""Commands that make a run out of weights trained elsewhere: import garg, import plain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from interp.cli import show
from interp.train.runs import RunFolder

app = App(name="import")


@app.command
def garg(file: Path, /, *, out: Path, n_heads: int | None = None) -> int:
    """Read a checkpoint of Garg et al.'s in-context learners, or a folder of them, into a run.

    Example: interp import garg models/linear_regression/state.pt --out runs/garg

    Parameters
    ----------
    file
        state.pt, model_N.pt, or a folder whose every model_N.pt becomes a checkpoint.
    out
        Folder of the run.
    n_heads
        Number of attention heads, where no config.yaml beside the file says it.
    """
    from interp.importers.garg import import_garg

    return _imported(import_garg(file, out, n_heads))


@app.command
def plain(file: Path, /, *, mapping: Annotated[Path, Parameter(name="--map")], config: str, out: Path) -> int:
    """Read a plain state dict into a run, by a TOML file that says where each of our weights lies in it.

    Example: interp import plain weights.pt --map names.toml --config regression --out runs/theirs

    Parameters
    ----------
    file
        A state dict that torch saved.
    mapping
        Lines such as "W_U" = "head" or "W_U" = {key = "head.weight", transpose = true}.
    config
        The run's settings: a TOML file or a preset.
    out
        Folder of the run.
    """
    from interp.config import configure
    from interp.importers.plain import import_plain

    return _imported(import_plain(file, mapping, configure(config), out))


def _imported(run: RunFolder) -> int:
    steps = ", ".join(map(str, run.steps[:8])) + (", ..." if len(run.steps) > 8 else "")
    show.note(
        f"{run.path}: imported, {len(run.steps)} checkpoints at steps {steps}; look at it with: interp probe"
    )
    return 0
