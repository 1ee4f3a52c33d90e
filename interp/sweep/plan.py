"""Which runs a sweep holds: a base configuration, a grid, zipped lists and seeds, as one list of named cells.

A cell's folder is named after the settings that vary, so that the same plan always finds its runs again. Cells stand in
the order of the plan: grid (first key slowest), then zipped lists, then seeds.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from interp.config import RunConfig, configure, preset_names
from tasks.base import first_problem
from tasks.errors import UserError

MOST_CELLS = 10_000
Values = tuple[Any, ...]


class SweepPlan(BaseModel):
    """A sweep as its TOML file says it.

    `config`: a preset or a TOML file of a run. `set`: settings that all runs share. `grid`: every combination of its
    lists; `zip`: lists of one length that move together. `seeds`: numbers, or "0:8" for 0 to 7. `analyses`: what is
    measured at every checkpoint of every run ("scores", "heads", "probe").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str
    set: dict[str, Any] = {}
    grid: dict[str, Values] = {}
    zip: dict[str, Values] = {}
    seeds: tuple[int, ...] = Field(default=(0,))
    analyses: tuple[str, ...] = ("scores",)

    @field_validator("seeds", mode="before")
    @classmethod
    def _span(cls, seeds: Any) -> Any:
        return parse_seeds(seeds) if isinstance(seeds, str) else seeds

    @model_validator(mode="after")
    def _sound(self) -> SweepPlan:
        lengths = {len(values) for values in self.zip.values()}
        if len(lengths) > 1:
            raise ValueError(f"lists under zip must be of one length, got {sorted(lengths)}")
        twice = sorted(({*self.grid} & {*self.zip}) | ({*self.set} & {*self.grid, *self.zip}))
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
        count = len(self.seeds)
        for values in self.grid.values():
            count *= len(values)
        for values in list(self.zip.values())[:1]:
            count *= len(values)
        return count

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
    if span := re.fullmatch(r"(\d+):(\d+)", text):
        return tuple(range(int(span[1]), int(span[2])))
    if re.fullmatch(r"\d+(,\d+)*", text):
        return tuple(int(part) for part in text.split(","))
    raise UserError(f"seeds {text!r}: write 0:8 for 0 to 7, or numbers with commas between")


def read_plan(source: str, changes: Mapping[str, Any]) -> SweepPlan:
    """The plan in a TOML file, or the one-cell plan of a preset, with `changes` from the command line put over it.

    Raises UserError naming what is wrong with it.
    """
    settings: dict[str, Any] = {"config": source}
    path = Path(source)
    if source not in preset_names():
        if not path.is_file():
            raise UserError(
                f"{source}: neither a preset ({', '.join(preset_names())}) nor a sweep's TOML file"
            )
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{source}: not valid TOML ({error})") from None
        if "config" not in settings:
            raise UserError(f"{source}: names no base run; add config = a preset or a run's TOML file")
    merged = {**settings, **{key: value for key, value in changes.items() if value not in (None, {}, ())}}
    try:
        return SweepPlan.model_validate(merged)
    except ValidationError as error:
        raise UserError(f"{source}: {first_problem(error)}") from None


def cells(plan: SweepPlan) -> list[Cell]:
    """Every run of a plan. Raises UserError for settings that no run can have, or two cells that are the same run."""
    found = [_cell(plan, dict(varied)) for varied in _combinations(plan)]
    seen: dict[str, Cell] = {}
    for cell in found:
        twin = seen.setdefault(cell.config.hash, cell)
        if twin is not cell:
            raise UserError(
                f"cells {twin.name} and {cell.name} are the same run: a list names one value twice"
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
    return Cell(_folder(varied), configure(plan.config, changes={**plan.set, **varied}), varied)


def _folder(varied: Mapping[str, Any]) -> str:
    """A folder name that says what varies: `lr=0.001,seed=3`; characters that paths dislike become a dash."""
    text = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in varied.items())
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", text)[:120]
