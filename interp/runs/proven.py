"""What was proven of an adopted run's model, kept in RUN/proofs.json, so that a later process need not prove it again.

Kept for the weights, settings and code it was proven of: the SHA-256 of what was loaded, the run's settings, this
package's own code of models and hooks, the versions of Python and of the libraries that compute, and the user's code
that builds the module. Where any of them is another, everything is tried again; so it is where code cannot be hashed,
and where the module was an object of one process. `interp check RUN` always tries again.
"""

from __future__ import annotations

import functools
import json
import platform
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp._version import __version__
from interp.io.code import Uncacheable, code_hash
from interp.io.files import canonical, read_bytes, sha256, write_atomically
from interp.io.weight_files import WeightFiles
from interp.models.builders import LIVE
from interp.models.layouts.proof import Proof
from interp.models.weights import load_weights
from interp.runs.folder import RunFolder
from tasks.errors import UserError

NAME = "proofs.json"
LIBRARIES = ("torch", "transformers", "transformer-lens", "numpy")
DECIDING = ("models", "hooks")  # folders of this package whose code decides what a proof says


def load_checkpoint(model: Any, folder: RunFolder, step: int) -> None:
    """Load a checkpoint's weights; an adopted model is proven where it was not with these weights in this code.

    Raises UserError for weights that do not fit, and for a model that is not the module.
    """
    weights, where = folder.weights(step), str(folder.checkpoint_path(step))
    if not hasattr(model, "trust") or model.proofs:
        load_weights(model, weights, where)
        return
    key = key_of(model, folder, step)
    if known := _kept(folder.path).get(key or "", ()):
        model.trust([Proof(**{**proof, "refuses": tuple(proof["refuses"])}) for proof in known])
    load_weights(model, weights, where)
    if not known:
        with suppress(
            UserError
        ):  # a folder that cannot be written to is read all the same, and proven at each load
            keep(model, folder, step)


def keep(model: Any, folder: RunFolder, step: int) -> None:
    """Keep what was proven of a model with a checkpoint's weights."""
    key = key_of(model, folder, step)
    if key is None:
        return
    code, _, _ = key.partition("/")
    others = {k: v for k, v in _kept(folder.path).items() if k.startswith(code)}
    found = {**others, key: [asdict(proof) for proof in model.proofs]}
    write_atomically(folder.path / NAME, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def key_of(model: Any, folder: RunFolder, step: int) -> str | None:
    """code/settings and weights; None where the code cannot be hashed, or lives in one process."""
    if model.config.builder.startswith(LIVE):
        return None
    try:
        users = code_hash({type(part) for part in model.module.modules()})
    except Uncacheable:
        return None
    libraries = {name: version(name) for name in LIBRARIES}
    code = sha256(canonical([__version__, _own_code(), platform.python_version(), libraries, users]))
    return f"{code}/{sha256(canonical([folder.config_hash, _weights(folder, step)]))}"


def _weights(folder: RunFolder, step: int) -> Any:
    """What stands for the bytes of a checkpoint's weights; of files that it refers to, theirs."""
    files = WeightFiles.behind(folder.weights(step))
    return folder.weights_hash(step) if files is None else files.hashes(folder.path)


@functools.cache
def _own_code() -> str:
    top = Path(__file__).parents[1]
    files = sorted(
        file for name in DECIDING for file in (top / name).rglob("*.*") if "__pycache__" not in file.parts
    )
    return sha256(canonical([[str(file.relative_to(top)), sha256(file.read_bytes())] for file in files]))


def _kept(run: Path) -> dict[str, list[dict[str, Any]]]:
    path = run / NAME
    if not path.exists():
        return {}
    try:
        found = json.loads(read_bytes(path))
        if all(
            set(proof) == set(Proof.__dataclass_fields__) for proofs in found.values() for proof in proofs
        ):
            return found
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    raise UserError(f"{path}: no list of proofs; delete it, and the model is proven again")
