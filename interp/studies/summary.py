"""The ledgers' summary in the README, every claim in a page of its own, and the measurements they stand on.

`python -m interp.studies.summary LEDGER.json ...` takes in ledgers that `interp study` wrote, keeps each as
`interp/studies/measured/STUDY.json` with the version and the day, and writes the README's table, the page of all claims
and that of before and after (`measured/README.md`, `before-and-after.md`) anew; without a ledger it only writes these.
`--rejudge` first judges the kept ledgers by today's claims from their stored values. `--check` changes nothing and
exits with 1 when one of them is not what code and measurements say. A ledger that today's code would not give any more
(`interp.studies.fingerprint`) is marked stale in both until its study is run again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from interp._version import __version__
from interp.io.files import write_atomically
from interp.studies import compared
from interp.studies.catalogue import STUDIES
from interp.studies.findings import short_text
from interp.studies.fingerprint import changes
from interp.studies.ledger import Claim, Ledger, Measured
from interp.studies.rejudge import rejudged, repeated
from interp.studies.summary_text import brief_text, every_claim_text, rewritten, summary_text
from tasks.errors import UserError

MEASURED = Path(__file__).parent / "measured"
README = Path(__file__).parent.parent.parent / "README.md"
PAGE = MEASURED / "README.md"
FRESH = "as code and measurements say"


def claims_of(study: str) -> dict[str, Claim]:
    """Every claim of a study by its id, in the order of the ledger."""
    module = import_module(f"{STUDIES[study].rpartition('.')[0]}.claims")
    return {**module.CLAIMS, **getattr(module, "EXPLORATORY", {}), **getattr(module, "DERIVED", {})}


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
    ledger = repeated(ledger, measured(ledger.study, folder), claims_of(ledger.study))
    return _write(Measured(ledger, __version__, (day or written).isoformat()), folder)


def _write(found: Measured, folder: Path) -> Path:
    stamp = {"version": found.version, "date": found.date}
    folder.mkdir(exist_ok=True)
    kept = folder / f"{found.ledger.study}.json"
    text = json.dumps({**stamp, **json.loads(found.ledger.to_json())}, indent=1)
    write_atomically(kept, (text + "\n").encode())
    return kept


def measured(study: str, folder: Path = MEASURED) -> Measured | None:
    """The kept measurement of a study; None where there is none."""
    path = folder / f"{study}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    version, date = document.pop("version"), document.pop("date")
    ledger = Ledger.from_json(json.dumps(document))
    return Measured(ledger, version, date, tuple(changes(ledger)))


def current(study: str, folder: Path = MEASURED) -> Measured | None:
    """The kept measurement with today's verdicts.

    Raises UserError when it holds a claim that the code does not know.
    """
    found, claims = measured(study, folder), claims_of(study)
    if found is None:
        return None
    for row in found.ledger.claims:
        if row.claim not in claims:
            raise UserError(
                f"measured {study}: claim {row.claim!r} is not in the code; run interp study {study} again"
            )
    return replace(found, ledger=rejudged(found.ledger, claims, found.date))


def summary(folder: Path = MEASURED) -> str:
    """The table of the page: one line a study. Raises UserError as `current`."""
    return summary_text({study: (claims_of(study), current(study, folder)) for study in STUDIES})


def brief(folder: Path = MEASURED) -> str:
    """The README's table, one short line a study, and what holds of each paper. Raises UserError as `current`."""
    found = {study: (claims_of(study), current(study, folder)) for study in STUDIES}
    return f"{brief_text(found)}\n\n{short_text(found)}"


def every_claim(folder: Path = MEASURED) -> str:
    """The page of all claims: a table a study, in Markdown. Raises as `summary`."""
    return every_claim_text({study: (claims_of(study), current(study, folder)) for study in STUDIES})


def rejudge(folder: Path = MEASURED) -> list[Path]:
    """Judge every kept ledger by today's claims and keep it so. Raises UserError as `current`."""
    found = [current(study, folder) for study in STUDIES]
    return [_write(one, folder) for one in found if one]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interp.studies.summary", description=__doc__)
    parser.add_argument("ledgers", nargs="*", type=Path, metavar="LEDGER.json")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the table is stale")
    parser.add_argument("--rejudge", action="store_true", help="judge the kept ledgers by today's claims")
    asked = parser.parse_args(arguments)
    if asked.check:
        stale = [path for path, text in texts().items() if _read(path) != text]
        print(
            f"stale: {', '.join(map(str, stale))}; run python -m interp.studies.summary" if stale else FRESH
        )
        return int(bool(stale))
    for path in asked.ledgers:
        print(f"kept {keep(path)}")
    for path in rejudge() if asked.rejudge else ():
        print(f"judged {path}")
    for path, text in texts().items():
        write_atomically(path, text.encode())
    return 0


def texts() -> dict[Path, str]:
    """What the README, the page of all claims and that of before and after have to say, by their paths."""
    found = {study: (claims_of(study), current(study)) for study in STUDIES}
    return {
        README: rewritten(_read(README), brief()),
        PAGE: every_claim(),
        compared.PAGE: compared.compared_text(found, compared.kept()),
    }


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"summary: {error}")
