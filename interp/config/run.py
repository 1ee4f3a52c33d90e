"""Settings of a run: a task, a model, a training and its seeds, and how they are read.

Settings are read from a preset or a TOML file, then changed by `key=value` overrides. Their hash covers
settings only: no path, device, version or time. `init_seed` and `data_seed` default to `seed` and are stored
resolved.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from interp.config.model import MODULES, ModelConfig, model_kinds, settings_class
from interp.config.parent import Parent
from interp.config.train import TrainConfig
from interp.io.files import canonical, sha256
from interp.presets import preset_names, preset_path, preset_text
from tasks.base import Task, build, settings_of, task_class
from tasks.complaints import joined, nearest, place, wrong
from tasks.errors import Faults, UnknownTask, UserError

__all__ = ["RunConfig", "configure", "parse_config", "preset_names"]

_SECTIONS = (("train",), ("model",), ("task",))
_QUOTES = "\"'"
_BARE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class RunConfig(BaseModel):
    """Everything that determines a run's numbers. `parent` is the checkpoint that a run was trained on from; it is not
    among the settings of a run without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    task: Task
    model: ModelConfig
    train: TrainConfig
    seed: int = Field(default=0, ge=0, lt=2**62)
    init_seed: int = Field(ge=0, lt=2**62)
    data_seed: int = Field(ge=0, lt=2**62)
    parent: Parent | None = None

    @model_serializer(mode="wrap")
    def _silent_without_parent(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        settings = handler(self)
        return settings if self.parent else {k: v for k, v in settings.items() if k != "parent"}

    @model_validator(mode="before")
    @classmethod
    def _seeds_follow(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        seed = settings.get("seed", 0)
        given = {name: settings.get(name) for name in ("init_seed", "data_seed")}
        return {**settings, **{name: seed if value is None else value for name, value in given.items()}}

    @field_validator("task", mode="before")
    @classmethod
    def _task_by_kind(cls, task: Any) -> Any:
        return build(task) if isinstance(task, dict) else task

    @field_serializer("task")
    def _task_settings(self, task: Task) -> dict[str, Any]:
        return settings_of(task)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain JSON values; `parse_config` makes the configuration again."""
        return self.model_dump(mode="json")

    @property
    def canonical(self) -> str:
        """The settings as canonical JSON."""
        return canonical(self.settings)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical settings."""
        return sha256(self.canonical)


def parse_config(settings: dict[str, Any]) -> RunConfig:
    """The run that these settings describe.

    Raises UserError with every error on one line; for an unknown key it names the nearest known one.
    """
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise _refusal(error, settings) from None


def configure(
    source: str | Path | Mapping[str, Any],
    *,
    seed: int | None = None,
    init_seed: int | None = None,
    data_seed: int | None = None,
    steps: int | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The run of a preset's name, a TOML file, the config.json of a run, or nested settings, changed by overrides, then
    by the named arguments.

    An override is `section.key=value`; its value is read as TOML, and a bare word is taken as text. `changes` are the
    same with values already read. A clamp's donor is looked up when training begins (`interp.runs.source_models`).
    Raises UserError naming the culprit.
    """
    settings = _read(source)
    bare = not {"task", "model", "train"} & set(settings)
    for key, value in [*map(parse_override, overrides), *(changes or {}).items()]:
        *parents, last = key.split(".")
        _put(settings, parents, last, copy.deepcopy(value), f"setting {key!r}")
    named = {"seed": seed, "init_seed": init_seed, "data_seed": data_seed}
    settings.update({name: value for name, value in named.items() if value is not None})
    if steps is not None:
        _put(settings, ["train"], "steps", steps, f"--steps {steps}")
    try:
        return parse_config(settings)
    except UserError as error:
        hint = f"; a whole example: {preset_path('retrieval')}" if bare else ""
        raise UserError(str(error) if isinstance(source, Mapping) else f"{source}: {error}{hint}") from None


def _read(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return copy.deepcopy(dict(source))
    if str(source) in preset_names():
        return tomllib.loads(preset_text(str(source)))
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"{source}: no TOML file, no config.json of a run, nor a preset{nearest(str(source), preset_names())}"
        )
    return _read_json(path) if path.suffix == ".json" else read_toml(path)


def _read_json(path: Path) -> dict[str, Any]:
    """The settings in the config.json of a run, or of a checkpoint that was exported. Raises UserError for others."""
    try:
        body = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    found = body.get("settings", body) if isinstance(body, dict) else None
    if isinstance(found, dict) and "recorded" in found:
        found = found["recorded"]
    if not isinstance(found, dict) or not isinstance(found.get("task"), dict):
        raise UserError(f"{path}: holds no settings of a run (tables task, model and train)")
    return {name: value for name, value in found.items() if name not in ("step", "config_hash")}


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises UserError when it cannot be read or is none."""
    try:
        return tomllib.loads(
            path.read_text(encoding="utf-8-sig")
        )  # a mark of byte order is not the file's text
    except (ValueError, RecursionError) as error:  # a number too long is a plain ValueError
        raise UserError(f"{path}: not valid TOML ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def parse_override(text: str, option: str = "--set", example: str = "train.lr=0.002") -> tuple[str, Any]:
    """`a.b=value` as its dotted key and value. Raises UserError for text of another form, which names the `option`
    it was given to.
    """
    key, equals, value = text.partition("=")
    who = f"{option} {text!r}"
    if not equals or not all(key.strip().split(".")):
        raise UserError(f"{who}: write it as key=value, such as {example}")
    return key.strip(), _toml_value(who, value.strip(), example)


def _put(settings: dict[str, Any], parents: list[str], last: str, value: Any, who: str) -> None:
    place = settings
    for depth, name in enumerate(parents):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UserError(f"{who}: {'.'.join(parents[: depth + 1])} is a value, not a section")
    place[last] = value


def _toml_value(who: str, value: str, example: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {value if set(value) & set(_QUOTES) else _with_digits(value)}")
    except (ValueError, RecursionError):
        if _BARE_WORD.fullmatch(value):
            return value
        raise UserError(f"{who}: {value!r} is not a TOML value (quote text); an example: {example}") from None
    if set(parsed) != {"value"}:
        raise UserError(f"{who}: one value at a time")
    return parsed["value"]


def _with_digits(value: str) -> str:
    """The value with numbers as TOML wants them, which is with digits on both sides of the point: 0.5 for .5"""
    return re.sub(r"(?<![\w.])(\d+)\.(?![\d.])", r"\1.0", re.sub(r"(?<![\w.])\.(?=\d)", "0.", value))


def _refusal(error: ValidationError, settings: dict[str, Any]) -> UserError:
    """The error that names every problem; kinds that nobody knows are told from settings that are wrong."""
    told = _complaints(error, settings)
    if all(_of_unknown_kind(problem) for problem in error.errors(include_url=False)):
        return UnknownTask("; ".join(told))
    return Faults(told)


def _of_unknown_kind(problem: Any) -> bool:
    own = problem.get("ctx", {}).get("error")
    return isinstance(own, UnknownTask) or (problem["type"], problem["loc"]) == (
        "union_tag_invalid",
        ("model",),
    )


def _complaints(error: ValidationError, settings: dict[str, Any]) -> list[str]:
    """Every problem in a few words, unknown keys first: with them something else is often missing."""
    unknown: list[str] = []
    others: list[tuple[str, str]] = []
    for problem in error.errors(include_url=False):
        own = problem.get("ctx", {}).get("error")
        where = place(problem)
        if where[:1] in (["init_seed"], ["data_seed"]) and where[0] not in settings:
            continue  # it follows `seed`, which is told of
        if problem["type"] == "extra_forbidden":
            unknown.append(_unknown(where, settings))
        elif isinstance(own, UserError):
            others += [("", line) for line in (own.faults if isinstance(own, Faults) else [str(own)])]
        elif problem["type"] in ("union_tag_not_found", "union_tag_invalid"):
            others.append(("", _no_kind(where, (problem.get("ctx") or {}).get("tag"))))
        else:
            others.append((".".join(where) or "settings", wrong(problem)))
    return unknown + joined(others)


def _unknown(where: list[str], settings: dict[str, Any]) -> str:
    """An unknown key with the one that was meant: of this very name in another section, or the nearest of its own."""
    *parents, last = where
    known = {name: list(_known_names(name, settings)) for name in ((), *_SECTIONS)}
    elsewhere = [".".join((*at, last)) for at, names in known.items() if last in names]
    hint = (
        f": did you mean {elsewhere[0]!r}?"
        if elsewhere
        else nearest(last, _known_names(parents, settings), "".join(f"{name}." for name in parents))
    )
    return f"unknown setting {'.'.join(where)!r}{hint}"


def _no_kind(where: list[str], tag: str | None) -> str:
    name = ".".join(where)
    known = model_kinds()
    which = f"{name} has no kind" if tag is None else f"unknown {name} kind {tag!r}"
    if tag is None:
        return f"{which}: known are {', '.join(sorted(known))}"
    own = f"import the module that registers yours (at a terminal: {MODULES}=module interp ...)"
    return f"{which}{nearest(tag, known)}; {own}"


def _known_names(parents: Sequence[str], settings: dict[str, Any]) -> Iterator[str]:
    """Names that a section knows, found by walking the configuration classes."""
    level: Any = RunConfig
    for name in parents:
        section = settings.get(name)
        if name == "task":
            level = task_class(section.get("kind")) if isinstance(section, dict) else None
        elif name == "model":
            kind = section.get("kind") if isinstance(section, dict) else None
            level = settings_class(kind)
        else:
            field = level.model_fields.get(name) if level else None
            level = field.annotation if field else None
        if not (isinstance(level, type) and issubclass(level, BaseModel)):
            return
    yield from level.model_fields
