"""`interp.adopt`: a module that was trained elsewhere as a run on which everything works."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from interp.config.layout import Layout
from interp.importers.adopt import adopt_folder
from interp.models.layouts.proof import Proof
from interp.run import Run
from tasks.base import Task


def adopt(
    module: nn.Module | Callable[[], nn.Module] | str | Path,
    *,
    task: Task | Mapping[str, Any],
    checkpoints: str
    | Path
    | Mapping[int, Mapping[str, Tensor]]
    | Callable[[int], Mapping[str, Tensor]]
    | None = None,
    layout: str | Path | Mapping[str, Any] | Layout | None = None,
    out: str | Path | None = None,
    steps: Sequence[int] = (),
    copy: bool = False,
    pad: int | None = None,
    quiet: bool = False,
) -> Run:
    """A run around somebody else's module, which stays as it is.

    `module` is a torch module, a function that builds one, such a function's name ("package.file:function", which a
    later process can find again), or the folder of a saved Hugging Face model. `checkpoints` is a pattern
    (`out/ckpt_*.pt`), a file, a folder, a mapping from step to state dict, or a function of the step (say which
    `steps`); without any it is the module's own weights. `layout` says where the parts of a block lie: the name of a
    shipped layout, a TOML file, or data; left out, the shipped one that fits. `out` is the run's folder (one that goes
    with the process unless given). Weight files are referred to unless `copy`. `pad` is the token that fills up short
    prompts. What is proven of the model on two prompts is printed unless `quiet`, and tried again wherever a model is
    loaded with other weights or in other code. The first `model()` of the run is the one that was proven.

    Raises UserError for parts that do not fit each other, and for a model whose outputs would not be the module's.
    """
    folder, step, model = adopt_folder(
        module,
        task=task,
        out=_place(out),
        checkpoints=checkpoints,
        steps=steps,
        layout=layout,
        copy=copy,
        pad=pad,
    )
    if not quiet:
        print(proven(model.proofs))
    run = Run(folder)
    run._proven.append((step, model))
    return run


def _place(out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    folder = tempfile.mkdtemp(prefix="adopted-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "run"


def proven(proofs: Sequence[Proof]) -> str:
    """What was tried, a line each."""
    held = sum(proof.holds for proof in proofs)
    return "\n".join([*map(str, proofs), f"{held} of {len(proofs)} hold"])
