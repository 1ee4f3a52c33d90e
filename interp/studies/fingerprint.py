"""What made a ledger: the settings of its runs, the versions of its analyses and of training, the source of its study.

Each part is short text, so that a stored ledger can be held against today's code without running anything: `changes`
names the parts that differ. The source is that of the modules that train and measure (`runs`, `measure`, `rows`,
`theory`, `study`) and of what studies share, without comments, docstrings and layout; claims, criteria and pictures may
change without a new run, since verdicts are given anew from stored values (`interp.studies.rejudge`). What it does not
show: a change elsewhere in the package that was not given a new version.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from interp._version import BITS
from interp.analysis.registry import entry
from interp.runs.folder import RunFolder
from interp.runs.header import NAME
from interp.studies.catalogue import STUDIES
from interp.studies.ledger import Ledger, Scale
from tasks.errors import UserError

ROOM = Path(__file__).parent
SHARED = ("context", "linear_nets", "regression_distribution")
UNMEASURED = ("claims", "figures")
PARTS = {
    "settings": "the settings of its runs",
    "analyses": "a version of its analyses",
    "training": "the version of training",
    "source": "the source of its study",
}


def fingerprint(study: str, scale: Scale) -> dict[str, str]:
    """What would make the ledger of a study today, part by part."""
    package = STUDIES[study].rpartition(".")[0]
    module = import_module(f"{package}.runs")
    return {
        "settings": digest(f"{name} {value}" for name, value in sorted(module.planned(scale).items())),
        "analyses": ", ".join(f"{name} {version}" for name, version in versions(module.ANALYSES).items()),
        "training": str(BITS),
        "source": digest(normalised(path) for path in sources(package)),
    }


def changes(ledger: Ledger) -> list[str]:
    """In words, what differs between what made a ledger and today's code; empty when it is what today's code gives."""
    if not ledger.fingerprint:
        return ["made before ledgers had fingerprints"]
    today = fingerprint(ledger.study, ledger.scale)
    return [
        f"{words} changed" for part, words in PARTS.items() if ledger.fingerprint.get(part) != today[part]
    ]


def refuse_older(out: Path) -> None:
    """Raises UserError where a run under a folder was begun under an older version of training: it would be reused."""
    for path in sorted(out.rglob(NAME)):
        folder = RunFolder.open(path.parent)
        if not folder.recorded and folder.head.bits < BITS:
            raise UserError(
                f"{folder.path}: was begun under version {folder.head.bits} of training, this is {BITS}; delete it or "
                "choose another --out"
            )


def sources(package: str) -> list[Path]:
    """The modules of a study that train and measure, and what studies share."""
    own = sorted((ROOM / package.rpartition(".")[2]).glob("*.py"))
    kept = [path for path in own if path.stem.partition("_")[0] not in UNMEASURED]
    return [*kept, *(ROOM / f"{name}.py" for name in SHARED)]


def normalised(path: Path) -> str:
    """A module's source as its syntax tree, without docstrings, comments and layout, and without `configs`: what that
    gives counts as the settings of the runs.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", None) != "configs"]
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return ast.dump(tree)


def versions(names: Iterable[str]) -> dict[str, int]:
    """The version of each analysis by its name. Raises UserError for one that does not exist."""
    return {name: entry(name).load().version for name in names}


def digest(parts: Iterable[str]) -> str:
    """A short hash of texts in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
