"""Atomic files, and the facts that tensor files state of themselves. Loads no torch (`interp.io.tensors` does).

A tensor file is safetensors with one metadata key, `algoscope`: canonical JSON of the file's facts, among them
the hash of every name, dtype, shape and byte. One key only, because safetensors writes several in random order.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import itertools
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tasks.errors import UnknownTask, UserError

KEY = "algoscope"
TEMPORARY = ".writing-"
RESTORE = "restore it from a copy, or train the run again in another folder"
OWN = ("hash", "seal")
_COUNT = itertools.count()  # threads of one process write at once
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_WRITTEN_BY = re.compile(  # version 0.1 had the process alone
    re.escape(TEMPORARY) + r".*?(?:-(?P<machine>[0-9a-f]{8}))?-(?P<process>\d{1,10})(?(machine)-\d+)"
)


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII only and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str | bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a machine that lost power, sees all of it or the former one.

    Raises UserError when the place cannot be written (no space, no permission).
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{writer()}-{next(_COUNT)}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise cannot_write(path, error) from None


def writer() -> str:
    """This process by its machine and number, as the names of its temporary files have it."""
    return f"{_MACHINE}-{os.getpid()}"


def sweep(folder: Path) -> None:
    """Remove what writers that are no more have left below a folder: temporary files of dead processes of this machine.

    What another machine, or a process that lives, is writing stays.
    """
    for stray in folder.rglob(f"{TEMPORARY}*"):
        named = _WRITTEN_BY.fullmatch(stray.name)
        if named and named["machine"] in (None, _MACHINE) and not _lives(int(named["process"])):
            stray.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except (OSError, IndexError, OverflowError):  # another user's, or a system without /proc
        return process < 2**31


def make_room(path: Path) -> None:
    """Make the folder of a file. Raises UserError where none can be made or written into, before work is wasted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise cannot_write(path, error) from None


def no_folder(path: Path) -> UserError:
    """The error about a missing folder, with the nearest existing name or where to list runs."""
    if path.exists():
        return UserError(f"{path}: is a file, not the folder of a run")
    beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    where = path.parent if beside else "FOLDER"
    hint = (
        f": did you mean {path.parent / close[0]}?" if close else f"; interp runs {where} lists what there is"
    )
    return UserError(f"{path}: no such folder{hint}")


def cannot_write(path: Path, error: OSError) -> UserError:
    """The one line for a disk that refuses."""
    return UserError(
        f"{path}: cannot be written ({error.strerror}); make room there or choose another folder"
    )


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def remedied() -> Iterator[None]:
    """Errors about damage leave the block with what to do about it."""
    try:
        yield
    except UnknownTask:
        raise
    except UserError as error:
        raise error if RESTORE in str(error) else UserError(f"{error}; {RESTORE}") from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; UserError when it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def parse_facts(path: Path, data: bytes) -> dict[str, Any]:
    """The facts in the header of a tensor file whose layout safetensors has accepted."""
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return _facts(path, metadata)


@remedied()
def header_facts(path: Path) -> dict[str, Any]:
    """The facts a tensor file states, without reading its tensors (nothing but the layout is checked)."""
    try:
        with safe_open(path, framework="np") as file:
            return _facts(path, file.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except (SafetensorError, OSError, OverflowError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({brief(error)})") from None


def _facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if set(metadata) != {KEY}:
        raise UserError(
            f"{path}: not one of our files (metadata keys {sorted(metadata)[:5]}, should be {[KEY]})"
        )
    try:
        facts = json.loads(metadata[KEY])
    except (ValueError, RecursionError):
        raise UserError(f"{path}: its metadata is not JSON") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("hash"), str):
        raise UserError(f"{path}: its metadata states no hash")
    return facts


@remedied()
def check_facts(path: Path, facts: dict, expected: Mapping[str, Any], free: tuple[str, ...] = ()) -> None:
    """UserError unless the facts are exactly those expected (besides `hash` and the `free` ones) and sealed."""
    wanted = {*expected, *free, *OWN}
    if set(facts) != wanted:
        odd = sorted(set(facts) ^ wanted)[0]
        raise UserError(f"{path}: metadata key {odd!r} is {'unknown' if odd in facts else 'missing'}")
    for name, value in expected.items():
        if facts[name] != value or type(facts[name]) is not type(value):
            raise UserError(f"{path}: states {name} {brief(facts[name])}, should be {brief(value)}")
    if facts["seal"] != sha256(canonical({k: v for k, v in facts.items() if k != "seal"})):
        raise UserError(f"{path}: its metadata is not what was written (seal differs)")


def brief(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
