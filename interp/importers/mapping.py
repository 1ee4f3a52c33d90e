"""From an external state dict to the weights of one of this package's models, by an explicit mapping.

A mapping gives, for every weight, the key it comes from and its layout there. Weights here multiply from the right:
`x @ w` with w [in, out], as in TransformerLens; an nn.Linear stores [out, in] and is transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from interp.importers.state import as_float32
from tasks.complaints import first_problem, nearest
from tasks.errors import UserError, listed

TensorShape = tuple[int, ...]


class Source(BaseModel):
    """The source of one weight, applied in this order.

    `key`: its name there. `transpose`: it lies there as [out, in]. `part` (i, k): it is the i-th of k equal parts, side
    by side on the last axis (after transposing). `cut`: only its first rows are wanted (a longer position table).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    transpose: bool = False
    part: tuple[int, int] = Field(default=(0, 1))
    cut: bool = False

    @model_validator(mode="after")
    def _a_part_that_exists(self) -> Source:
        if not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"part {list(self.part)} must be [i, k] with 0 <= i < k")
        return self

    def foreign(self, own: TensorShape) -> TensorShape:
        """The shape that the key must have for a weight of this shape (with `cut`, or more rows)."""
        whole = (*own[:-1], own[-1] * self.part[1])
        return whole[::-1] if self.transpose else whole

    def fits(self, found: TensorShape, own: TensorShape) -> bool:
        """Whether a key of this shape can serve."""
        wanted = self.foreign(own)
        if self.cut:
            return len(found) == len(wanted) and found[0] >= wanted[0] and found[1:] == wanted[1:]
        return found == wanted

    def take(self, value: Tensor, own: TensorShape) -> Tensor:
        """The weight from the key's tensor, as a copy."""
        whole = value.T if self.transpose else value
        first, width = self.part[0] * own[-1], own[-1]
        return whole[..., first : first + width][: own[0]].clone(memory_format=torch.contiguous_format)


def parse_mapping(entries: Mapping[str, Any], where: str) -> dict[str, Source]:
    """A mapping as written by hand: `ours = "theirs"`, or `ours = {key = "theirs", transpose = true, ...}`.

    Raises UserError naming the first entry that is neither.
    """
    return {name: _source(name, entry, where) for name, entry in entries.items()}


def _source(name: str, entry: Any, where: str) -> Source:
    try:
        return Source.model_validate({"key": entry} if isinstance(entry, str) else entry)
    except ValidationError as error:
        raise UserError(f"{where}: weight {name!r}: {first_problem(error)}") from None


def check_mapping(mapping: Mapping[str, Source], shapes: Mapping[str, TensorShape], where: str) -> None:
    """Refuse a mapping that leaves out a weight of the model or names one it does not have. Raises UserError."""
    if odd := sorted(set(mapping) - set(shapes)):
        raise UserError(f"{where}: the model has no weight {odd[0]!r}{nearest(odd[0], shapes)}")
    if odd := sorted(set(shapes) - set(mapping)):
        raise UserError(
            f"{where}: does not state where {listed(odd)} {'comes' if len(odd) == 1 else 'come'} from"
        )
    for name, source in mapping.items():
        if source.transpose and len(shapes[name]) != 2:
            raise UserError(f"{where}: weight {name!r} has {len(shapes[name])} axes and cannot be transposed")


def translate(
    state: Mapping[str, Tensor],
    mapping: Mapping[str, Source],
    shapes: Mapping[str, TensorShape],
    where: str,
    unused: re.Pattern[str] | None = None,
) -> dict[str, Tensor]:
    """This package's weights from an external state dict; keys that match `unused` are dropped.

    Raises UserError, one line, for keys that are missing or unknown, shapes that do not fit, and values that are not
    finite or not exact in float32.
    """
    check_mapping(mapping, shapes, where)
    wanted = {source.key for source in mapping.values()}
    if missing := sorted(wanted - set(state)):
        raise UserError(f"{where}: without {listed(missing)}")
    if unknown := sorted(k for k in set(state) - wanted if unused is None or not unused.fullmatch(k)):
        raise UserError(f"{where}: {listed(unknown)} {'is' if len(unknown) == 1 else 'are'} not known here")
    for name, source in mapping.items():
        found = tuple(state[source.key].shape)
        if not source.fits(found, shapes[name]):
            needed = list(source.foreign(shapes[name]))
            more = " (or more rows)" if source.cut else ""
            raise UserError(f"{where}: key {source.key!r} has shape {list(found)}, should be {needed}{more}")
    return {
        name: as_float32(where, source.key, source.take(state[source.key], shapes[name]))
        for name, source in mapping.items()
    }
