"""config.json: the settings of a run, their hash, and where they were run.

`hash` covers the settings only; `checksum` covers the whole file, device and package version included. `bits` is the
version of training that a run was begun under (1 where it is not stated), which it keeps when it is resumed.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from interp._version import BITS, __version__
from interp.config.run import RunConfig, parse_config
from interp.io.code import Uncacheable, code_hash
from interp.io.files import canonical, no_folder, read_bytes, remedied, sha256
from interp.io.modules import is_foreign
from interp.models.build import builder_of
from interp.runs.stored import NAME
from tasks.complaints import first_problem
from tasks.errors import UnknownTask, UserError

SCHEMA = 1
_KEYS = {"schema", "version", "device", "hash", "settings", "checksum"}
_OPTIONAL = {"modules", "code", "bits"}


class Recording(BaseModel):
    """Settings of a run whose loop is someone else's: whatever describes it, and the steps it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recorded: dict[str, JsonValue]
    schedule: tuple[int, ...]

    @model_validator(mode="after")
    def _increasing(self) -> Recording:
        if not self.schedule or any(
            a >= b for a, b in zip((-1, *self.schedule), self.schedule, strict=False)
        ):
            raise ValueError("schedule must name steps from 0 on, strictly increasing")
        return self


@dataclass(frozen=True)
class Header:
    """What config.json holds."""

    content: RunConfig | Recording
    device: str
    version: str
    modules: tuple[str, ...] = ()
    code: str = ""  # hash of the code of `modules` that the run was trained with; "" where it has none
    bits: int = 1

    @classmethod
    def of(cls, content: RunConfig | Recording, device: str, bits: int = BITS) -> Header:
        """The header of a run that begins now; `bits`: the version of training, where it goes on from another run."""
        modules = _users_modules(content)
        code = _users_code(content) if modules else ""
        return cls(content, device, __version__, modules, code, 1 if isinstance(content, Recording) else bits)

    @property
    def code_of_today(self) -> str:
        """The same hash of the code as it is now; "" where it has none."""
        return _users_code(self.content) if self.modules else ""

    def changed(self) -> str:
        """What to say where the code of task or model is not that of the training, in one line; "" where it is."""
        now = self.code_of_today if self.code else ""
        if not now or now == self.code:
            return ""
        names = ", ".join(self.modules)
        return f"was trained with other code of {names} than today's (or other versions of what that uses)"

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        return self.content.model_dump(mode="json")

    @functools.cached_property
    def hash(self) -> str:
        return sha256(canonical(self.settings))

    @property
    def bytes(self) -> bytes:
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "version": self.version,
            "device": self.device,
            "hash": self.hash,
            "settings": self.settings,
        }
        if self.modules:
            body["modules"] = list(self.modules)
        if self.code:
            body["code"] = self.code
        if self.bits > 1:
            body["bits"] = self.bits
        return _text({**body, "checksum": sha256(canonical(body))})


def _text(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _no_run(folder: Path) -> UserError:
    """The error about a folder without a run, naming the runs one level below."""
    below = sorted(str(found.parent) for found in folder.glob(f"*/{NAME}"))
    rest = f" (or {len(below) - 2} more: interp runs {folder})" if len(below) > 2 else ""
    hint = (
        f"did you mean {' or '.join(below[:2])}{rest}?"
        if below
        else "interp runs FOLDER lists those below a folder"
    )
    return UserError(f"{folder}: holds no run (no {NAME}); {hint}")


def read(path: Path) -> Header:
    """The header in a file. Raises UserError for one that is damaged, of a newer schema, or no run's."""
    if not path.parent.is_dir():
        raise no_folder(path.parent)
    if not path.exists():
        raise _no_run(path.parent)
    data = read_bytes(path)
    _refuse_newer(path, data)
    with remedied():
        body = _parsed(path, data)
        modules = _modules(path, body.get("modules", []))
        content = _content(path, body["settings"], modules)
        head = Header(
            content,
            str(body["device"]),
            str(body["version"]),
            modules,
            str(body.get("code", "")),
            _bits(path, body),
        )
        if head.hash != body["hash"]:
            raise UserError(f"{path}: its settings are not those it was written with (hash differs)")
    return head


def _refuse_newer(path: Path, data: bytes) -> None:
    try:
        schema = json.loads(data)["schema"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return
    if type(schema) is int and schema > SCHEMA:
        raise UserError(
            f"{path}: of schema {schema}, newer than this version reads ({SCHEMA}); upgrade algoscope"
        )


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not whole (no valid JSON)") from None
    if not isinstance(body, dict) or "schema" not in body:
        raise UserError(f"{path}: not the header of a run")
    if odd := sorted((set(body) - _OPTIONAL) ^ _KEYS):
        raise UserError(f"{path}: key {odd[0]!r} is {'unknown' if odd[0] in body else 'missing'}")
    checksum = body.pop("checksum")
    if (
        body["schema"] != SCHEMA
        or checksum != sha256(canonical_or_empty(body))
        or _text({**body, "checksum": checksum}) != data
    ):
        raise UserError(f"{path}: is not what was written (checksum differs)")
    return body


def canonical_or_empty(body: dict[str, Any]) -> str:
    """Canonical JSON; empty for a body with NaN or infinity in it, which no header has."""
    try:
        return canonical(body)
    except ValueError:
        return ""


def _users_modules(content: RunConfig | Recording) -> tuple[str, ...]:
    """Modules of the task and the model that are not this package's."""
    if isinstance(content, Recording):
        return ()
    builder = builder_of(content.model.kind)
    things = (type(content.task), type(content.model), builder)
    return tuple(sorted({t.__module__ for t in things if not isinstance(t, str) and is_foreign(t, set())}))


def _users_code(content: RunConfig | Recording) -> str:
    """The hash of the user's code that a run is trained with; "" where it cannot be had."""
    if isinstance(content, Recording):
        return ""
    roots = (type(content.task), *content.task.uses(), type(content.model), builder_of(content.model.kind))
    try:
        return code_hash(root for root in roots if root is not None)
    except Uncacheable:
        return ""


def _modules(path: Path, names: Any) -> tuple[str, ...]:
    """Modules that a folder names: told of, never imported."""
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not whole or not all(part.isidentifier() for name in names for part in name.split(".")):
        raise UserError(f"{path}: its modules are no names of modules")
    return tuple(names)


def _bits(path: Path, body: dict[str, Any]) -> int:
    bits = body.get("bits", 1)
    if type(bits) is not int or bits < 1 or ("bits" in body and bits == 1):
        raise UserError(f"{path}: its version of training is no whole number over 1")
    return bits


def _content(path: Path, settings: Any, modules: tuple[str, ...]) -> RunConfig | Recording:
    if not isinstance(settings, dict):
        raise UserError(f"{path}: its settings are no table of names and values")
    try:
        return Recording.model_validate(settings) if "recorded" in settings else parse_config(settings)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
    except UserError as error:
        if not modules:
            kind = UnknownTask if isinstance(error, UnknownTask) else UserError
            raise kind(f"{path}: {error}") from None
        names = ",".join(modules)
        raise UnknownTask(
            f"{path}: {error}; it was made with code of {names}, which is not imported because a folder names it: "
            f"if you trust that code, ALGOSCOPE_TASKS={names} interp ..."
        ) from None
