"""The ledgers' summary in the README, every claim in a page of its own, and the measurements they stand on.

`python -m interp.studies.summary LEDGER.json ...` takes in ledgers that `interp study` wrote, keeps each as
`interp/studies/measured/STUDY.json` with the version and the day, and writes the README's table and
`interp/studies/measured/README.md` anew; without a ledger it only writes these. `--check` changes nothing and exits
with 1 when one of them is not what code and measurements say.

A claim counts as measured only while its criterion is word for word the one it was judged by.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from interp._version import __version__
from interp.io.files import write_atomically
from interp.studies import STUDIES
from interp.studies.ledger import Claim, Ledger, Row
from tasks.errors import UserError

MEASURED = Path(__file__).parent / "measured"
README = Path(__file__).parent.parent.parent / "README.md"
PAGE = MEASURED / "README.md"
BEGIN, END = "<!-- ledger: begin (python -m interp.studies.summary) -->", "<!-- ledger: end -->"
MARKS = {"reproduced": "reproduced", "partly": "partly", "not reproduced": "**not reproduced**"}
UNKNOWN = "not measured yet"
FRESH = "as code and measurements say"
CLAIMS_HEAD = """# Every claim, and what was measured

Written by `python -m interp.studies.summary`. Scale, seeds, version and day of each study stand in the table of the
project's README; criterion, n, condition, budget and command of each row in the JSON file of the study beside this
page."""


@dataclass(frozen=True)
class Measured:
    """A ledger with the version that measured it and the day (ISO)."""

    ledger: Ledger
    version: str
    date: str


def claims_of(study: str) -> dict[str, Claim]:
    """Every claim of a study by its id, in the order of its modules."""
    package = import_module(STUDIES[study].rpartition(".")[0])
    found: dict[str, Claim] = {}
    for module in sorted(
        pkgutil.iter_modules(package.__path__, f"{package.__name__}."), key=lambda m: m.name
    ):
        for value in vars(import_module(module.name)).values():
            found |= {claim.id: claim for claim in _claims_in(value)}
    return found


def _claims_in(value: object) -> Iterator[Claim]:
    if isinstance(value, Claim):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _claims_in(item)


def keep(path: Path, folder: Path = MEASURED, day: datetime.date | None = None) -> Path:
    """Take in a ledger that `interp study` wrote; its day is the file's unless given.

    Raises UserError for a file that is none, or of another study.
    """
    try:
        ledger = Ledger.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: no ledger; interp study writes one as OUT/NAME/ledger-SCALE.json") from None
    if ledger.study not in STUDIES:
        raise UserError(f"{path}: of the unknown study {ledger.study!r}")
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date()
    stamp = {"version": __version__, "date": (day or written).isoformat()}
    folder.mkdir(exist_ok=True)
    kept = folder / f"{ledger.study}.json"
    write_atomically(kept, (json.dumps({**stamp, **json.loads(ledger.to_json())}, indent=1) + "\n").encode())
    return kept


def measured(study: str, folder: Path = MEASURED) -> Measured | None:
    """The kept measurement of a study; None where there is none."""
    path = folder / f"{study}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    version, date = document.pop("version"), document.pop("date")
    return Measured(Ledger.from_json(json.dumps(document)), version, date)


def summary(folder: Path = MEASURED) -> str:
    """The README's table: one line a study.

    Raises UserError when a kept measurement holds a claim that the code does not know.
    """
    lines = [
        "| study | claims | reproduced | partly | not | not testable | measured |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(
        lines + [_study_line(study, claims_of(study), measured(study, folder)) for study in STUDIES]
    )


def every_claim(folder: Path = MEASURED) -> str:
    """The page of all claims: a table a study, in Markdown. Raises as `summary`."""
    parts = [CLAIMS_HEAD, *(_claims(study, claims_of(study), measured(study, folder)) for study in STUDIES)]
    return "\n\n".join(parts) + "\n"


def _current(study: str, claims: dict[str, Claim], found: Measured | None) -> dict[str, list[Row]]:
    """The rows of every claim whose criterion is still the one it was judged by."""
    rows: dict[str, list[Row]] = {name: [] for name in claims}
    for row in found.ledger.claims if found else ():
        name = row.claim
        if name not in claims:
            raise UserError(
                f"measured {study}: claim {row.id!r} is not in the code; run interp study {study} anew"
            )
        if row.criterion == claims[name].criterion.text:
            rows[name].append(row)
    return rows


def _study_line(study: str, claims: dict[str, Claim], found: Measured | None) -> str:
    rows = _current(study, claims, found)
    count = Counter(row.verdict for part in rows.values() for row in part)
    told = ["reproduced", "partly", "not reproduced", "not testable at this scale"]
    when = UNKNOWN
    if found:
        seeds = len(found.ledger.seeds)
        when = f"{found.ledger.scale}, {seeds} seed{'s' * (seeds != 1)}, {found.version}, {found.date}"
    asked = f"{len(claims)}, in {count.total()} rows" if count.total() > len(claims) else len(claims)
    return _line([f"`{study}`", asked, *(count[verdict] for verdict in told), when])


def _claims(study: str, claims: dict[str, Claim], found: Measured | None) -> str:
    lines = [f"## {study}", "", "| id | claim | paper | here | verdict |", "|---" * 5 + "|"]
    for name, rows in _current(study, claims, found).items():
        claim = claims[name]
        told = [f"{claim.statement} ({claim.source})", claim.paper_value]
        for row in rows:
            lines.append(_line([row.id, *told, row.shown, MARKS.get(row.verdict, row.verdict)]))
        if not rows:
            lines.append(_line([name, *told, "–", UNKNOWN]))
    return "\n".join(lines)


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"


def rewritten(readme: str, table: str) -> str:
    """The README with the table between its markers. Raises UserError when they are not there, once each."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise UserError(f"the README must hold the lines {BEGIN} and {END} once each")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interp.studies.summary", description=__doc__)
    parser.add_argument("ledgers", nargs="*", type=Path, metavar="LEDGER.json")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the table is stale")
    asked = parser.parse_args(arguments)
    if asked.check:
        stale = [path for path, text in texts().items() if _read(path) != text]
        print(
            f"stale: {', '.join(map(str, stale))}; run python -m interp.studies.summary" if stale else FRESH
        )
        return int(bool(stale))
    for path in asked.ledgers:
        print(f"kept {keep(path)}")
    for path, text in texts().items():
        write_atomically(path, text.encode())
    return 0


def texts() -> dict[Path, str]:
    """What the README and the page of all claims have to say, by their paths."""
    return {README: rewritten(_read(README), summary()), PAGE: every_claim()}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"summary: {error}")
