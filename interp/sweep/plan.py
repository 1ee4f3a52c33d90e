"""The runs of a sweep: a base configuration, a grid, zipped lists and seeds, as one list of named cells.

A cell's folder is named after the settings that vary, so that the same plan, or a longer one, always finds its runs
again. Cells stand in the order of the plan: grid (first key slowest), then zipped lists, then seeds.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from interp.config.run import RunConfig, configure, preset_names, read_toml
from interp.io.files import canonical, sha256
from interp.runs.source_models import resolve_sources
from tasks.complaints import first_problem
from tasks.errors import UserError

MOST_CELLS = 10_000
LONGEST_NAME = 120
_UNFIT = re.compile(r"[^A-Za-z0-9_.,=+-]+")
Values = tuple[Any, ...]


class SweepPlan(BaseModel):
    """A sweep as described by its TOML file.

    `config`: a preset, or a run's settings (`read_plan` puts them in the place of a run's TOML file, so that a sweep
    does not change when the file does). `set`: settings that all runs share. `grid`: every combination of its lists;
    `zip`: lists of one length that move together. `seeds`: numbers, or "0:8" for 0 to 7. `analyses`: what is measured
    at every checkpoint of every run: names of registered analyses ("scores", "heads", "probe", ...).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str | dict[str, Any]
    set: dict[str, Any] = {}
    grid: dict[str, Values] = {}
    zip: dict[str, Values] = {}
    seeds: tuple[int, ...] = Field(default=(0,))
    analyses: tuple[str, ...] = ("scores",)

    @field_validator("seeds", mode="before")
    @classmethod
    def _span(cls, seeds: Any) -> Any:
        return parse_seeds(seeds) if isinstance(seeds, str) else seeds

    @field_validator("grid", "zip", mode="before")
    @classmethod
    def _lists(cls, lists: Any) -> Any:
        for key, values in lists.items() if isinstance(lists, dict) else ():
            if isinstance(values, dict):
                raise ValueError(
                    f'write the dotted key in quotes, such as "{key}.{next(iter(values), "lr")}"'
                )
            if not isinstance(values, (list, tuple)):
                raise ValueError(f"{key} must be a list of values, got {values!r}")
        return lists

    @model_validator(mode="after")
    def _sound(self) -> SweepPlan:
        lengths = {len(values) for values in self.zip.values()}
        if len(lengths) > 1:
            raise ValueError(f"lists under zip must be of one length, got {sorted(lengths)}")
        twice = sorted(({*self.grid} & {*self.zip}) | ({*self.set} & {*self.grid, *self.zip}))
        if "seed" in {*self.set, *self.grid, *self.zip}:
            raise ValueError("write seeds as seeds, not as the setting 'seed'")
        if twice:
            raise ValueError(f"{twice[0]!r} is set in two places of the sweep")
        if self.size == 0:
            raise ValueError("the sweep has no cell: a list is empty")
        if self.size > MOST_CELLS:
            raise ValueError(f"the sweep has {self.size:,} cells, over the limit of {MOST_CELLS:,}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is listed twice")
        return self

    @property
    def size(self) -> int:
        """Number of cells."""
        lists = [self.seeds, *self.grid.values(), *list(self.zip.values())[:1]]
        return math.prod(map(len, lists))

    @property
    def varied(self) -> tuple[str, ...]:
        """Settings that differ between cells, seeds last."""
        return (*self.grid, *self.zip, "seed")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its folder name, its configuration, and what sets it apart."""

    name: str
    config: RunConfig
    varied: Mapping[str, Any]


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "0:8" as 0 to 7, "1,5" as these two. Raises UserError for anything else."""
    if span := re.fullmatch(r"(\d{1,18}):(\d{1,18})", text):
        if int(span[2]) <= int(span[1]):
            raise UserError(f"seeds {text!r}: names no seed; write 0:8 for 0 to 7")
        if int(span[2]) - int(span[1]) > MOST_CELLS:
            raise UserError(f"seeds {text!r}: more than {MOST_CELLS:,}, the most cells a sweep may have")
        return tuple(range(int(span[1]), int(span[2])))
    if re.fullmatch(r"\d{1,18}(,\d{1,18})*", text):
        return tuple(int(part) for part in text.split(","))
    raise UserError(f"seeds {text!r}: write 0:8 for 0 to 7, or comma-separated numbers")


def read_plan(source: str, changes: Mapping[str, Any]) -> SweepPlan:
    """The plan in a sweep's TOML file, or of a preset or a run's TOML file, with `changes` (from flags) over it.

    A run's file or a preset is the base of a sweep only with changes that say what varies. Raises UserError naming what
    is wrong.
    """
    given = {key: value for key, value in changes.items() if value not in (None, {}, ())}
    settings = {"config": source} if source in preset_names() else _from_file(source, given)
    try:
        plan = SweepPlan.model_validate({**settings, **given})
    except ValidationError as error:
        raise UserError(f"{source}: {first_problem(error, SweepPlan.model_fields)}") from None
    if isinstance(plan.config, dict) or plan.config in preset_names():
        return plan
    resolve_sources(configure(plan.config, changes=plan.set))  # its complaints name the file
    return plan.model_copy(update={"config": _toml(plan.config)})


def _from_file(source: str, given: Mapping[str, Any]) -> dict[str, Any]:
    settings = _toml(source)
    if "config" in settings:
        return settings
    if "task" not in settings and "model" not in settings:
        raise UserError(f"{source}: names no base run; add config = a preset or a run's TOML file")
    if not {"seeds", "grid", "zip"} & set(given):
        raise UserError(
            f"{source}: one run's settings, not a sweep's; name what varies (--seeds 0:8, --grid train.lr=[1e-3,2e-3]),"
            f' or write config = "{source}" and seeds = "0:8" into a file of its own and sweep that'
        )
    return {"config": source}


def _toml(source: str) -> dict[str, Any]:
    path = Path(source)
    if not path.is_file():
        known = ", ".join(preset_names())
        raise UserError(f"{source}: neither a preset ({known}) nor a sweep's or a run's TOML file")
    return read_toml(path)


def cells(plan: SweepPlan) -> list[Cell]:
    """Every run of a plan. Raises UserError for settings that no run can have, or two cells that are the same run."""
    found = [_cell(plan, dict(varied)) for varied in _combinations(plan)]
    seen: dict[str, Cell] = {}
    for cell in found:
        same = seen.setdefault(cell.config.hash, cell)
        if same is not cell:
            raise UserError(
                f"cells {same.name} and {cell.name} are the same run: a list names one value twice"
            )
    return found


def _combinations(plan: SweepPlan) -> Sequence[tuple[tuple[str, Any], ...]]:
    grid = [[(key, value) for value in values] for key, values in plan.grid.items()]
    rows = list(
        zip(*([(key, value) for value in values] for key, values in plan.zip.items()), strict=True)
    ) or [()]
    seeds = [("seed", seed) for seed in plan.seeds]
    return [
        (*combination, *row, seed)
        for combination in itertools.product(*grid)
        for row in rows
        for seed in seeds
    ]


def _cell(plan: SweepPlan, varied: dict[str, Any]) -> Cell:
    return Cell(
        _folder(varied), resolve_sources(configure(plan.config, changes={**plan.set, **varied})), varied
    )


def _folder(varied: Mapping[str, Any]) -> str:
    """A folder name that says what varies: `lr=0.001,seed=3`.

    Characters that paths dislike become a dash; a name that lost something by it, or by being cut, ends in a hash of
    what varies, so that no two cells share a folder.
    """
    text = ",".join(f"{key.rsplit('.', 1)[-1]}={plain(value)}" for key, value in varied.items())
    name = _UNFIT.sub("-", text)
    if name == text and len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 11]}~{sha256(canonical(dict(varied)))[:10]}"


def plain(value: Any) -> Any:
    """A varied setting as a cell of a table or a part of a name; lists as their JSON."""
    return canonical(value) if isinstance(value, (list, tuple, dict)) else value
