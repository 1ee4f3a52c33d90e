"""The presets that come with the package: TOML files, known by their stem.

Loads nothing but the standard library, so that `interp train --help` can list them at once.
"""

from __future__ import annotations

from importlib.resources import files


def preset_names() -> list[str]:
    """Names of the presets, in alphabetical order."""
    found = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def preset_path(name: str) -> str:
    """Where the TOML file of a preset lies."""
    return str(files(__name__).joinpath(f"{name}.toml"))


def preset_text(name: str) -> str:
    """The TOML text of a preset; KeyError when there is none of that name."""
    if name not in preset_names():
        raise KeyError(name)
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
