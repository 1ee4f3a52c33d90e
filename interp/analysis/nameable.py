"""Which rows of head scores a conclusion may name: relations whose rows can reach an output, kept beside the table.

What reaches an output (`interp.causal.reach`) follows from mask, layers and the task's relations, and finding it out
takes torch; a terminal that only looks at kept scores reads it here. The file is sealed, and is of one version of the
package and one run's settings: of any other it has nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from interp._version import __version__
from interp.io.files import canonical, sha256, write_atomically
from tasks.errors import UserError

NAME = "heads-reach.json"
Reaching = Mapping[
    str, "list[bool]"
]  # of each relation whether attending to it in a layer can change any output


def keep(folder: Path, config: str, known: Reaching) -> None:
    """Keep it in a folder of tables, where that can be written."""
    body = {"config": config, "version": __version__, "reaching": dict(known)}
    if read(folder, config) != dict(known) and folder.is_dir():
        with contextlib.suppress(UserError):
            text = canonical({**body, "seal": sha256(canonical(body))})
            write_atomically(folder / NAME, text.encode() + b"\n")


def read(folder: Path, config: str) -> dict[str, list[bool]] | None:
    """What is kept of the run with these settings; None where that is nothing, or not whole."""
    try:
        body = json.loads((folder / NAME).read_bytes())
        seal = body.pop("seal")
        whole = seal == sha256(canonical(body)) and (body["config"], body["version"]) == (config, __version__)
        return body["reaching"] if whole else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def reachable(scores: pd.DataFrame, known: Reaching) -> pd.DataFrame:
    """Head scores (columns layer, metric, control) less those of trained heads on rows that reach no output."""
    rows = zip(scores["metric"], scores["layer"], scores["control"], strict=True)
    kept = [c != "none" or m not in known or pd.isna(at) or known[m][int(at)] for m, at, c in rows]
    return scores[kept]
