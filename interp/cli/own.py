"""Questions of a user's own at the terminal: what `module:function` on the command line means.

Code is imported here and nowhere else on a text's word, because the person at the terminal named it; the working
folder is looked in last.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from tasks.errors import UserError


def question(text: str | None, option: str) -> Any:
    """The function that `module:name` stands for. Raises UserError for other text, and where it leads to none."""
    found = named_or_own(text, option, known=False)
    if found is not None and not callable(found):
        raise UserError(f"{option} {text}: {str(text).partition(':')[2]} is no function")
    return found


def named_or_own(text: str | None, option: str, known: bool = True) -> Any:
    """The object that `module:name` stands for; other text as it is where a `known` name may be given."""
    if text is None or (known and ":" not in text):
        return text
    place, colon, name = text.partition(":")
    if not colon or not place or not name:
        raise UserError(f"{option} {text}: write module:function, as in {option} mine:{option.lstrip('-')}")
    found: Any = _imported(place, f"{option} {text}")
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"{option} {text}: {place} has no {name!r}")
        found = getattr(found, part)
    return found


def _imported(place: str, asked: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise UserError(f"{asked}: cannot be imported ({error}); is it here, or on PYTHONPATH?") from None
    except Exception as error:
        raise UserError(f"{asked}: importing {place} fails: {type(error).__name__}: {error}") from error
    finally:
        if added:
            sys.path.remove(here)
