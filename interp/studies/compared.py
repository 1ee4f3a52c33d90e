"""Ledgers of before and of today as one table: each row's old verdict, its new one, the power, and why they differ.

`python -m interp.studies.compared [--until 2026-11-27]` takes each study's last kept measurement up to a day (the first
there is, where there was none) from the repository's history and keeps its verdicts as `measured/before.json`. The page
`measured/before-and-after.md` is written from these and today's ledgers, with the README, by `interp.studies.summary`.
Old verdicts stand as they were written: until 30 November 2026 a row was "partly" reproduced where its value met a
bound and its interval did not, and a mean over three seeds had a t interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interp.io.files import write_atomically
from interp.studies.catalogue import STUDIES
from interp.studies.cost import minutes
from interp.studies.findings import Found
from interp.studies.ledger import Claim, Measured, Row
from tasks.errors import UserError

HERE = Path(__file__).parent
BEFORE = HERE / "measured" / "before.json"
PAGE = HERE / "measured" / "before-and-after.md"
UNTIL = "2026-11-27"
# rows that ask the same under another name since
RENAMED = {
    "other-distributions": "other-laws", "transplant-before": "graft-before", "transplant-between": "graft-between",
    "filter-growth": "filter-slope",
}  # fmt: skip
PREFIXES = ("value and interval ", "95% CI ", "value ")
HEAD = """# Ledgers before and after

Written by `python -m interp.studies.summary`; what was before is kept in `before.json` (`python -m
interp.studies.compared`, from the repository's history). In between changed for all rows: the 95% interval alone
decides, where the value had a say ("partly"); a mean over three seeds has a range, which settles nothing, where it had
an interval; the unit is the training seed, where some rows counted prompts. "Power": the chance that today's criterion
is met when the claim is true / when it is false, at the n of the row. "Why": what is different about the row."""


def earlier(study: str, until: str, root: Path = HERE) -> dict[str, Any] | None:
    """A study's kept measurement as it stood at the end of a day (ISO), or the first one there ever was; None where
    it never had one. Raises UserError without git or history.
    """
    path = f"interp/studies/measured/{study}.json"
    every = _git(root, "log", "--format=%H", "--", f":/{path}").split()
    if not every:
        return None
    old = _git(root, "log", "-1", "--format=%H", f"--until={until}T23:59:59", "--", f":/{path}").split()
    return json.loads(_git(root, "show", f"{(old or every[-1:])[0]}:{path}"))


def _git(root: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"{root}: no history to take ledgers from ({type(error).__name__} of git)") from None


def shortened(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the table needs of a kept measurement."""
    rows = {
        row["id"]: {
            "verdict": row["verdict"],
            "value": None if row["value"] is None else round(float(row["value"]), 6),
            "n": row["n"],
            "criterion": row["criterion"],
        }
        for row in document["claims"]
    }
    return {"date": document["date"], "seeds": len(document["seeds"]), "rows": rows}


def kept(path: Path = BEFORE) -> dict[str, Any]:
    """The measurements of before by study; empty where none were kept."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def compared_text(found: Found, before: Mapping[str, Any]) -> str:
    """The page: what each study cost, then a table a study."""
    parts = [HEAD, _costs(found, before)]
    parts += [
        _table(study, claims, now, before[study])
        for study, (claims, now) in found.items()
        if now and study in before
    ]
    return "\n\n".join(parts) + "\n"


def _costs(found: Found, before: Mapping[str, Any]) -> str:
    lines = ["| study | before | after | verdicts before | verdicts after | cost |", "|" + "---|" * 6]
    for study, (_, now) in found.items():
        if now is None or study not in before:
            continue
        old = before[study]
        spent = now.ledger.cpu_seconds
        stale = ", stale" if now.stale else ""
        lines.append(_line([
            f"`{study}`", f"{old['date']}, {_seeds(old['seeds'])}",
            f"{now.date}, {_seeds(len(now.ledger.seeds))}, {now.ledger.scale}{stale}",
            _counted(row["verdict"] for row in old["rows"].values()),
            _counted(row.verdict for row in now.ledger.claims),
            "not counted" if spent is None else minutes(spent),
        ]))  # fmt: skip
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _counted(verdicts: Iterable[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common())


def _table(study: str, claims: Mapping[str, Claim], now: Measured, old: Mapping[str, Any]) -> str:
    lines = [f"## {study}", "", "| row | before | after | here | power | why |", "|" + "---|" * 6]
    used: set[str] = set()
    for row in now.ledger.claims:
        asked = _old_rows(row, old["rows"])
        used |= asked.keys()
        power = row.power or claims[row.claim].power
        lines.append(_line([
            row.id, _old_verdict(asked), _verdict(row), row.shown, power.shown if power else "–",
            "; ".join(reasons(row, claims[row.claim], asked, old["date"])),
        ]))  # fmt: skip
    gone = [name for name in old["rows"] if name not in used]
    return "\n".join([*lines, *(["", f"Asked no more: {', '.join(gone)}."] if gone else [])])


def _verdict(row: Row) -> str:
    return f"{row.verdict} (exploratory)" if row.kind == "exploratory" else row.verdict


def _old_rows(row: Row, rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The row of before; those of several models, where the claim had a row for each."""
    for name in (row.id, RENAMED.get(row.id, row.id)):
        if name in rows:
            return {name: rows[name]}
    return {name: one for name, one in rows.items() if name.startswith(f"{row.id}, ")}


def _old_verdict(asked: Mapping[str, dict[str, Any]]) -> str:
    if len(asked) > 1:
        return _counted(row["verdict"] for row in asked.values())
    return next((row["verdict"] for row in asked.values()), "no row")


def reasons(row: Row, claim: Claim, asked: Mapping[str, dict[str, Any]], date: str) -> list[str]:
    """In words, what is different about a row since `date`: its criterion, its units, or that it is not asked."""
    if not asked:
        return ["asked since"]
    if len(asked) > 1:
        return [f"{len(asked)} models had a row each; now the unit is the model"]
    (old,) = asked.values()
    if row.value is None:
        return [row.note or "no value"]
    found = []
    if _bound(old["criterion"]) != _bound(row.criterion):
        replaced = [one.why for one in claim.history if one.when > date]
        found.append(
            f"criterion was: {_bound(old['criterion'])}" + (f" ({replaced[-1]})" if replaced else "")
        )
    if old["n"] != row.n:
        found.append(f"n {old['n']} before, {row.n} now")
    same = old["value"] is not None and abs(old["value"] - row.value) <= 1e-6 * max(1.0, abs(row.value))
    if same and old["n"] == row.n:
        ranged = row.ci_low is None and row.n > 1
        found.append("the same figure, whose interval is a range" if ranged else "the same figure")
    elif old["n"] == row.n:
        found.append("measured again")
    return found


def _bound(criterion: str) -> str:
    for prefix in PREFIXES:
        criterion = criterion.removeprefix(prefix)
    return criterion


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interp.studies.compared", description=__doc__)
    parser.add_argument("--until", default=UNTIL, metavar="DAY", help="the last day that counts as before")
    until = parser.parse_args(arguments).until
    found = {study: earlier(study, until) for study in STUDIES}
    document = {study: shortened(one) for study, one in found.items() if one}
    write_atomically(BEFORE, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"compared: {error}", file=sys.stderr)
        sys.exit(2)
