"""From an external state dict to the weights of one of this package's models, by an explicit mapping.

A mapping gives, for every weight, the key it comes from and its layout there. Weights here multiply from the right:
`x @ w` with w [in, out], as in TransformerLens; an nn.Linear stores [out, in] and is transposed.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from einops import EinopsError, rearrange
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from interp.importers.state import as_float32
from tasks.complaints import first_problem, nearest
from tasks.errors import UserError, listed

TensorShape = tuple[int, ...]


class Source(BaseModel):
    """The source of one weight, applied in this order.

    `key`: its name there. `reshape`: how its axes are arranged, as einops writes it ("h d k -> d (h k)"). `transpose`:
    it lies there as [out, in]. `part` (i, k): it is the i-th of k equal parts, side by side on the last axis (after
    transposing). `cut`: only its first rows are wanted (a longer position table). In place of a key: `zeros` for what
    is not there (a bias), `eye` for a map that leaves everything as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = ""
    zeros: bool = False
    eye: bool = False
    reshape: str = ""
    transpose: bool = False
    part: tuple[int, int] = Field(default=(0, 1))
    cut: bool = False

    @model_validator(mode="after")
    def _a_part_that_exists(self) -> Source:
        if not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"part {list(self.part)} must be [i, k] with 0 <= i < k")
        if bool(self.key) + self.zeros + self.eye != 1:
            raise ValueError("names no key: give one of key, zeros = true, eye = true")
        return self

    def at(self, layer: int) -> Source:
        """The same with {l} in its key filled in."""
        return self.model_copy(update={"key": self.key.replace("{l}", str(layer))})

    def constant(self, own: TensorShape) -> Tensor:
        """The weight that stands in for a key: zeros, or the identity."""
        return torch.eye(*own) if self.eye else torch.zeros(own)

    def arranged(self, value: Tensor, where: str) -> Tensor:
        """The key's tensor with its axes as wanted. Raises UserError for a pattern that does not fit it."""
        if not self.reshape:
            return value
        try:
            return rearrange(value, self.reshape)
        except (EinopsError, ValueError) as wrong:
            raise UserError(
                f"{where}: key {self.key!r} {list(value.shape)} cannot be arranged as {self.reshape!r}: "
                f"{str(wrong).splitlines()[-1].strip()}"
            ) from None

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


def for_layers(mapping: Mapping[str, Source], shapes: Iterable[str]) -> dict[str, Source]:
    """The mapping with an entry that has {l} written out for every layer of the model.

    An entry of a layer's own, without {l}, goes before one with it.
    """
    layers = sorted({int(name.split(".")[1]) for name in shapes if re.match(r"blocks\.\d+\.", name)})
    found = {
        name.replace("{l}", str(layer)): source.at(layer)
        for name, source in mapping.items()
        if "{l}" in name
        for layer in layers
    }
    return {**found, **{name: source for name, source in mapping.items() if "{l}" not in name}}


def ignoring(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for keys that match any of some shell patterns (`*.attn.bias`); None for none."""
    found = [fnmatch.translate(pattern) for pattern in patterns]
    return re.compile("|".join(found)) if found else None


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
        if source.eye and (len(shapes[name]) != 2 or len(set(shapes[name])) != 1):
            raise UserError(f"{where}: weight {name!r} is {list(shapes[name])}: eye is for square maps")


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
    wanted = {source.key for source in mapping.values() if source.key}
    if missing := sorted(wanted - set(state)):
        raise UserError(f"{where}: without {listed(missing)}")
    if unknown := sorted(k for k in set(state) - wanted if unused is None or not unused.fullmatch(k)):
        raise UserError(f"{where}: {listed(unknown)} {'is' if len(unknown) == 1 else 'are'} not known here")
    return {name: _taken(state, source, shapes[name], where) for name, source in mapping.items()}


def _taken(state: Mapping[str, Tensor], source: Source, own: TensorShape, where: str) -> Tensor:
    """One weight. Raises UserError for a key of another shape, or values that float32 does not hold."""
    if not source.key:
        return source.constant(own)
    value = source.arranged(state[source.key], where)
    found = tuple(value.shape)
    if not source.fits(found, own):
        more = " (or more rows)" if source.cut else ""
        arranged = f", arranged {list(found)}," if source.reshape else ","
        raise UserError(
            f"{where}: key {source.key!r} has shape {list(state[source.key].shape)}{arranged} should be "
            f"{list(source.foreign(own))}{more}"
        )
    return as_float32(where, source.key, source.take(value, own))
