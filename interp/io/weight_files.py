"""Other people's weight files as checkpoints: which files, proof that they are the same, reading without running them.

A checkpoint of an adopted run may hold a reference in place of weights. A file's bytes are hashed once for its path,
size and time of change (at the first use), and again by `interp verify`. Of a `.pt` file only tensors and plain
containers are read (`weights_only=True`), of `.safetensors` everything is data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from interp.io.files import write_atomically
from interp.io.hf_reference import REFERENCE
from tasks.errors import UserError

HOLDERS = ("model", "model_state_dict", "state_dict", "weights", "params", "module", "net")
STEPS = ("iter_num", "step", "train_step", "global_step", "iteration", "steps")
LEDGER = "files.json"  # of a run folder: the SHA-256 of every weight file that was read


class WeightFiles(BaseModel):
    """The files that stand for the weights of one checkpoint: size and time of change (ns) by path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_files: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, files: Sequence[Path]) -> WeightFiles:
        """A reference to files as they are now; no byte is read. Raises UserError for one that is not there."""
        return cls(weight_files={str(file.resolve()): _facts(file) for file in files})

    @classmethod
    def behind(cls, weights: Mapping[str, Tensor]) -> WeightFiles | None:
        """The reference in a checkpoint; None where it refers to something else."""
        try:
            return cls.model_validate(json.loads(bytes(weights[REFERENCE].tolist())))
        except (KeyError, TypeError, ValueError, ValidationError):
            return None

    def pack(self) -> dict[str, UInt8[Tensor, "byte"]]:
        """The reference as what a checkpoint holds: canonical JSON, byte by byte."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return {REFERENCE: torch.tensor(list(text.encode()), dtype=torch.uint8)}

    def check(self, run: Path, again: bool = False) -> None:
        """Compare the files with what was first read of them, kept in RUN/files.json.

        Bytes are hashed at the first use, then only where size or time of change differ, or if asked `again`. Raises
        UserError for a file that is gone or altered.
        """
        known = _ledger(run)
        fresh = {}
        for path, stated in self.weight_files.items():
            same = _facts(Path(path)) == stated
            if same and path in known and not again:
                continue
            found = _sha256(Path(path))
            if known.get(path, found if same else "") != found:
                raise UserError(f"{path}: altered since it was adopted; adopt it again into another folder")
            fresh[path] = found
        if fresh.items() - known.items():
            text = json.dumps({**known, **fresh}, indent=1, sort_keys=True)
            write_atomically(run / LEDGER, text.encode())

    def hashes(self, run: Path) -> list[str]:
        """The SHA-256 of each file, as RUN/files.json has them once they were checked."""
        known = _ledger(run)
        return [known[path] for path in self.weight_files]

    def moved(self, places: Mapping[str, str]) -> WeightFiles:
        """The same files where they lie now, by their old paths."""
        return WeightFiles(
            weight_files={places.get(path, path): facts for path, facts in self.weight_files.items()}
        )

    def found_in(self, run: Path, folder: Path) -> dict[str, str]:
        """The files below another folder: new paths by old ones, and their hashes into RUN/files.json.

        Raises UserError for a file that is not there, or that cannot be shown to be the one that was adopted: by the
        hash of its bytes, or where none was taken yet by its size and time of change.
        """
        known, found = _ledger(run), {}
        for old, stated in self.weight_files.items():
            new = _below(folder, Path(old))
            digest = _sha256(new)
            same = known[old] == digest if old in known else _facts(new) == stated
            if not same:
                raise UserError(f"{new}: is not the file that was adopted as {old}")
            found[old] = str(new)
            known[str(new)] = digest
        write_atomically(run / LEDGER, json.dumps(known, indent=1, sort_keys=True).encode())
        return found

    def read(self) -> Mapping[str, Tensor]:
        """The weights of all files by their own names, each read when it is asked for."""
        return Weights([Path(path) for path in self.weight_files])


class Weights(Mapping[str, Tensor]):
    """Weights in files, by name; of a safetensors file one tensor at a time is in memory."""

    def __init__(self, files: Sequence[Path]):
        self._held: dict[str, Tensor] = {}
        self._place: dict[str, Path] = {}
        for file in files:
            if file.suffix == ".safetensors":
                self._place |= dict.fromkeys(_names(file), file)
            else:
                self._held |= read_weights(file)[0]

    def __getitem__(self, name: str) -> Tensor:
        if name in self._held:
            return self._held[name]
        with _opened(self._place[name]) as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._held, *self._place])

    def __len__(self) -> int:
        return len(self._held) + len(self._place)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({str(error)[:80]})") from None


def _below(folder: Path, old: Path) -> Path:
    """A file under a folder, by as much of the end of its old path as is there."""
    for start in range(1, len(old.parts)):
        new = folder.joinpath(*old.parts[start:])
        if new.is_file():
            return new.resolve()
    raise UserError(f"{folder}: has no {old.name}; give the folder that holds the weight files of the run")


def _names(path: Path) -> list[str]:
    with _opened(path) as file:
        return list(file.keys())


def _ledger(run: Path) -> dict[str, str]:
    path = run / LEDGER
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError):
        raise UserError(f"{path}: not whole; delete it, and the weight files are read again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: no table of hashes; delete it, and the weight files are read again")
    return found


def _facts(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise UserError(
            f"{file}: {error.strerror}; weights are referred to, not copied: put the file back, or "
            "give its place of today: interp relink RUN --to FOLDER"
        ) from None
    return found.st_size, found.st_mtime_ns


def _sha256(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None


def read_weights(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The state dict in a file and the step that it states, if it does.

    Beside the weights a `.pt` file may hold plain values (an optimiser's state, settings). Raises UserError for a file
    that is missing, damaged, could run code, or holds no table of tensors.
    """
    if path.suffix == ".safetensors":
        return _safetensors(path)
    content = load_plain(path)
    step = next((v for k in STEPS if type(v := _get(content, k)) is int and v >= 0), None)
    for holder in HOLDERS:
        inner = _get(content, holder)
        if isinstance(inner, Mapping) and _is_state(inner):
            return dict(inner), step
    if not isinstance(content, Mapping) or not _is_state(content):
        raise UserError(
            f"{path}: holds no state dict, nor one under {', '.join(HOLDERS)}; save model.state_dict()"
        )
    return dict(content), step


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _is_state(content: Mapping[Any, Any]) -> bool:
    dense = (isinstance(v, Tensor) and v.layout == torch.strided for v in content.values())
    return bool(content) and all(isinstance(key, str) for key in content) and all(dense)


def _safetensors(path: Path) -> tuple[dict[str, Tensor], int | None]:
    with _opened(path) as file:
        stated = (file.metadata() or {}).get("step", "")
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return weights, int(stated) if stated.isdigit() else None


def load_plain(path: Path) -> Any:
    """What a torch file holds, tensors mapped from the disk where it can be. Raises UserError as `read_weights`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats; what is wrong is said below
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # files of before torch 1.6 cannot be mapped
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: refused, not a file of tensors and plain containers alone (anything else could run code when "
            "loaded); save model.state_dict()"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged archive can make the unpickler raise anything
        raise UserError(f"{path}: not a whole torch file ({type(error).__name__}); save it again") from None
