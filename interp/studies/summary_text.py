"""The words of the ledgers' summary: the README's short table and the page of every claim, in Markdown.

Confirmatory rows are counted by verdict; identities and exploratory rows are counted apart, as are confirmatory rows
whose source states no value or direction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from interp.studies.cost import minutes
from interp.studies.criteria import VERDICTS
from interp.studies.findings import Found as Found
from interp.studies.findings import short_text
from interp.studies.ledger import Claim, Measured, Row, by_kind
from tasks.errors import UserError

BEGIN, END = "<!-- ledger: begin (python -m interp.studies.summary) -->", "<!-- ledger: end -->"
UNKNOWN = "not measured yet"
BOLD = ("contradicted",)
HEAD = """# Every claim, and what was measured

Written by `python -m interp.studies.summary`. Condition, budget and command of each row are in the JSON file of the
study, in the same folder as this page. "Power": the
chance that the criterion is met when the claim is true / when it is false, at the n of the row (at that of the quick
scale where nothing was measured). An identity is a closed form or a theorem, which code can only confirm; an
exploratory claim was found by looking, or its criterion was set after the measurement."""

REPLACED = (
    "Criteria that were replaced (powers in these lines were computed on the day, with the intervals of that day, and "
    "are not simulated again):"
)


def summary_text(found: Found) -> str:
    """One line a study."""
    lines = [
        "| study | rows | reproduced | contradicted | inconclusive | not measured | not testable | of these, no paper "
        "value | identities that hold | exploratory reproduced | measured |",
        "|" + "---|" * 11,
    ]
    return "\n".join([*lines, *(_study_line(study, *one) for study, one in found.items())])


def brief_text(found: Found) -> str:
    """The README's table: confirmatory rows of each study by verdict, if it has any, and what was measured when."""
    names = ("reproduced", "contradicted", "inconclusive", "not measured, not testable")
    lines = [f"| study | {' | '.join(names)} | measured |", "|" + "---|" * 6]
    return "\n".join([*lines, *(_brief_line(study, one[1]) for study, one in found.items())])


def _brief_line(study: str, found: Measured | None) -> str:
    if found is None:
        return _line([f"`{study}`", *[""] * 4, UNKNOWN])
    own = by_kind(found.ledger.claims)["confirmatory"]
    count = Counter(row.verdict for row in own)
    counts = [*(count[verdict] for verdict in VERDICTS[:3]), sum(count[verdict] for verdict in VERDICTS[3:])]
    stale = ", **stale**" if found.stale else ""
    seeds = len(found.ledger.seeds)
    when = f"{found.ledger.scale}, {seeds} seed{'s' * (seeds != 1)}, {found.date}{stale}"
    return _line([f"`{study}`", *(counts if own else ["exploratory"] * 4), when])


def _study_line(study: str, claims: dict[str, Claim], found: Measured | None) -> str:
    if found is None:
        return _line([f"`{study}`", len(claims), *[""] * 8, UNKNOWN])
    rows = found.ledger.claims
    kinds = by_kind(rows)
    count = Counter(row.verdict for row in kinds["confirmatory"])
    seeds = len(found.ledger.seeds)
    when = f"{found.ledger.scale}, {seeds} seed{'s' * (seeds != 1)}, {found.version}, {found.date}"
    if found.ledger.cpu_seconds is not None:
        when += f", {minutes(found.ledger.cpu_seconds)}"
    apart = [_of(kinds[kind]) for kind in ("identity", "exploratory")]
    unstated = sum(not row.stated for row in kinds["confirmatory"])
    stale = f"; **stale**: {', '.join(found.stale)}" if found.stale else ""
    return _line([f"`{study}`", len(rows), *(count[v] for v in VERDICTS), unstated, *apart, when + stale])


def _of(rows: Iterable[Row]) -> str:
    own = list(rows)
    return f"{sum(row.verdict == 'reproduced' for row in own)} of {len(own)}"


def every_claim_text(found: Found) -> str:
    """What holds of each paper, one line a study, then a table a study, and the criteria that were replaced."""
    parts = [HEAD, short_text(found), summary_text(found)]
    return "\n\n".join([*parts, *(_claims(study, *one) for study, one in found.items())]) + "\n"


def _claims(study: str, claims: dict[str, Claim], found: Measured | None) -> str:
    rows = found.ledger.claims if found else ()
    lines = [f"## {study}", ""]
    if found and found.stale:
        lines += [f"Stale until the study is run again: {', '.join(found.stale)}.", ""]
    lines += ["| id | claim | paper | here | counts if | power | kind | verdict |", "|" + "---|" * 8]
    for name, claim in claims.items():
        own = [row for row in rows if row.claim == name]
        lines += [_row(row, claim) for row in own] or [_absent(claim)]
    replaced = [
        f"- `{name}`, until {old.when}: {old.criterion}. {old.why[:1].upper()}{old.why[1:]}."
        for name, claim in claims.items()
        for old in claim.history
    ]
    return "\n".join([*lines, *(["", REPLACED, "", *replaced] if replaced else [])])


def _row(row: Row, claim: Claim) -> str:
    power = row.power or claim.power
    verdict = f"**{row.verdict}**" if row.verdict in BOLD else row.verdict
    note = (
        f" ({row.note})" if row.verdict in ("not measured", "not testable at this scale") and row.note else ""
    )
    return _line(
        [row.id, f"{row.statement} ({row.source})", row.paper_value, f"{row.shown}, n={row.n}" if row.n else "–",
         row.criterion, power.shown if power else "–", row.kind, verdict + note]
    )  # fmt: skip


def _absent(claim: Claim) -> str:
    power = claim.power
    return _line(
        [claim.id, f"{claim.statement} ({claim.source})", claim.paper_value, "–", claim.criterion.text,
         power.shown if power else "–", claim.kind, UNKNOWN]
    )  # fmt: skip


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"


def rewritten(readme: str, table: str) -> str:
    """The README with the table between its markers. Raises UserError when they are not there, once each."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise UserError(f"the README must hold the lines {BEGIN} and {END} once each")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"
