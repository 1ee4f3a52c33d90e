"""The layouts that come with the package, one TOML file each, and finding the one that fits a module."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from interp.config.layout import Layout
from interp.models.layouts.parts import find_parts
from tasks.complaints import first_problem, nearest
from tasks.errors import UserError


@cache
def shipped() -> dict[str, Layout]:
    """Every layout of the package by its name."""
    files = [f for f in resources.files("interp.models.layouts").iterdir() if f.name.endswith(".toml")]
    texts = {f.name.removesuffix(".toml"): f.read_text(encoding="utf-8") for f in files}
    return {name: Layout(name=name, **tomllib.loads(texts[name])) for name in sorted(texts)}


def layout_of(given: str | Path | Mapping[str, Any] | Layout | None, module: nn.Module) -> Layout:
    """The layout that is meant: by name, as a TOML file, as data, or (None) the shipped one that fits the module.

    Data may name another layout under "like", and then says only what differs. Raises UserError for an unknown name,
    a wrong entry, and a module that no shipped layout fits.
    """
    if isinstance(given, Layout):
        return given
    if given is None:
        return _guess(module)
    if isinstance(given, Mapping):
        return _parse(dict(given), "layout")
    if str(given) in shipped():
        return shipped()[str(given)]
    path = Path(given)
    if not path.is_file():
        raise UserError(
            f"layout {str(given)!r}: no TOML file, nor a shipped layout{nearest(str(given), shipped())}"
        )
    try:
        return _parse(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a layout in TOML ({error})") from None


def _parse(data: dict[str, Any], where: str) -> Layout:
    like = data.pop("like", None)
    if like is not None:
        if like not in shipped():
            raise UserError(f"{where}: like = {like!r} is no shipped layout{nearest(str(like), shipped())}")
        data = {**shipped()[like].model_dump(), "name": f"like {like}", **data}
    try:
        return Layout.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{where}: {first_problem(error, Layout.model_fields)}") from None


def _guess(module: nn.Module) -> Layout:
    for layout in shipped().values():
        try:
            find_parts(module, layout)
        except UserError:
            continue
        return layout
    raise UserError(
        f"{type(module).__name__}: none of the layouts {', '.join(shipped())} fits its names; "
        'specify where its parts are: layout={"like": "gpt2", "blocks": ...} or a TOML file'
    )
