"""Checkpoints of somebody else's training: which files, which steps, without reading a weight.

A pattern (`out/ckpt_*.pt`), a file, or a folder: of files with a number each, of one model in shards, or of subfolders
(`checkpoint-1000/`). The step is the last number of the name; of a lone file without one, what it states inside.
"""

from __future__ import annotations

import re
from pathlib import Path

from interp.io.weight_files import read_weights
from tasks.errors import UserError

ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-\d{5}")
_NUMBER = re.compile(r"\d+")
_NO_WEIGHTS = re.compile(r"(optimizer|scheduler|rng_state.*|training_args|scaler)")


def find_checkpoints(where: str | Path) -> dict[int, tuple[Path, ...]]:
    """Files of every step, increasing. Raises UserError when there is none, and for two of one step."""
    path = Path(where)
    if any(mark in str(where) for mark in "*?["):
        root = Path(path.anchor or ".")
        found = sorted(root.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        return _by_step([entry for entry in found if _holds(entry)], str(where))
    if path.is_file():
        return {_stated(path): (path,)}
    if not path.is_dir():
        raise UserError(f"{where}: no such file or folder of checkpoints")
    files = _weight_files(path)
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and _weight_files(entry))
    if not files and not inside:
        raise UserError(f"{where}: holds no weights ({', '.join(ENDINGS)}), nor do its subfolders")
    if len(_models(files)) == 1 and not inside:
        return {_step(files[0].stem, None) if len(files) == 1 else 0: tuple(files)}
    return _by_step([*_models(files).values(), *inside], str(where))


def _holds(entry: Path) -> bool:
    return bool(_weight_files(entry)) if entry.is_dir() else entry.suffix in ENDINGS


def _weight_files(folder: Path) -> list[Path]:
    found = [f for f in sorted(folder.iterdir()) if f.suffix in ENDINGS and not _NO_WEIGHTS.fullmatch(f.stem)]
    safe = [f for f in found if f.suffix == ".safetensors"]
    return safe or found


def _models(files: list[Path]) -> dict[str, tuple[Path, ...]]:
    """Files that belong together: shards of one model."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        shard = _SHARD.fullmatch(file.stem)
        groups.setdefault(shard["stem"] if shard else file.name, []).append(file)
    return {name: tuple(group) for name, group in groups.items()}


def _by_step(entries: list[Path | tuple[Path, ...]] | list[Path], where: str) -> dict[int, tuple[Path, ...]]:
    found: dict[int, tuple[Path, ...]] = {}
    for entry in entries:
        files = (
            entry if isinstance(entry, tuple) else tuple(_weight_files(entry)) if entry.is_dir() else (entry,)
        )
        name = files[0].stem if isinstance(entry, tuple) or entry.is_file() else entry.name
        step = _step(name, files[0] if len(entries) > 1 else None)
        if step in found:
            raise UserError(f"{where}: {found[step][0]} and {files[0]} are both of step {step}")
        found[step] = files
    if not found:
        raise UserError(f"{where}: matches no weight file ({', '.join(ENDINGS)})")
    return dict(sorted(found.items()))


def _step(name: str, must: Path | None) -> int:
    shard = _SHARD.fullmatch(name)
    numbers = _NUMBER.findall(shard["stem"] if shard else name)
    if numbers:
        return int(numbers[-1])
    if must is not None:
        return _stated(must, required=True)
    return 0


def _stated(file: Path, required: bool = False) -> int:
    """The step in a file's name, else inside it, else 0."""
    numbers = _NUMBER.findall(file.stem)
    if numbers:
        return int(numbers[-1])
    step = read_weights(file)[1]
    if step is None and required:
        raise UserError(f"{file}: states no step, in its name or inside; call it ckpt_N{file.suffix}")
    return step or 0
