"""The tables of what is said of planted truths, from the kept counts: a page of every case, and the matrix.

`python -m interp.calibration.tables` writes `interp/calibration/measured/README.md` and, between its markers, the
matrix on the page of the filter verdict (docs/estimators/filter-verdict.md); `--check` changes nothing and exits with
1 where one of them is not what the counts say. Shares are over replicates of all cases of a group, with
Clopper-Pearson limits (replicates of one case share nothing but the truth).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from interp.calibration.counts import COUNTS, TIED, Case, read
from interp.io.files import write_atomically
from probes.filters import FilterConfig
from probes.stats import share
from tasks.errors import UserError

FAR = 2 * FilterConfig().tau
MATRIX = Path(__file__).parents[2] / "docs" / "estimators" / "filter-verdict.md"
PAGE = COUNTS.parent / "README.md"
BEGIN, END = "<!-- verdicts: begin (python -m interp.calibration.tables) -->", "<!-- verdicts: end -->"
KINDS = ("identified", "indistinguishable", "mixture", "unlisted filter", "not a filter", "none")
NAMED = ("identified", "indistinguishable")
HEAD = """# What is said of planted truths

Written by `python -m interp.calibration.tables` from `counts.jsonl` (`python -m interp.calibration.counts` adds
replicates). 512 prompts, 2d + 2 queries a prompt, level as in a run of 7 sites and 32 checkpoints. "Distance": misfit
of the best member of any other family without noise; "nearest": that family. A truth nearer than 2 tau (2% of the
outputs' mean square) to another family need not be told from it, and stands in the last table."""


def families(answer: str) -> tuple[str, ...]:
    """Families that an answer names as those of the truth; none where it says that no listed one fits."""
    kind, _, named = answer.partition(": ")
    return tuple(named.split(", ")) if kind in NAMED and named else ()


def covered(case: Case) -> int:
    """Replicates whose set holds the truth."""
    return sum(n for answer, n in case.answers.items() if case.due in families(answer))


def alone(case: Case) -> int:
    """Replicates in which the truth alone is identified."""
    return sum(n for answer, n in case.answers.items() if families(answer) == (case.due,))


def listed(case: Case) -> int:
    """Replicates in which a listed family is among those that fit, also where the set is too imprecise to decide."""
    return sum(
        n for answer, n in case.answers.items() if set(families(answer)) - {"unlisted filter", "not a filter"}
    )


def kinds(case: Case) -> dict[str, int]:
    """Replicates by kind of answer."""
    return {k: sum(n for answer, n in case.answers.items() if answer.partition(": ")[0] == k) for k in KINDS}


def far(case: Case) -> bool:
    """Whether every other family misses the truth by 2 tau or more."""
    return (case.distance or 0.0) >= FAR


def page(cases: Sequence[Case]) -> str:
    """Every case, in tables."""
    on, off = ([c for c in cases if c.part == part] for part in ("on", "off"))
    parts = [
        HEAD,
        "## Summary\n\n" + summary(cases),
        "## Listed truths at least 2 tau from every other family\n\n" + _cases([c for c in on if far(c)]),
        "## Truths outside the list, at least 2 tau from every family\n\n"
        + _cases([c for c in off if far(c)]),
        "## Ties: cases in which nothing can be told apart\n\n" + _answers(cases, "ties"),
        "## Stacks of layers: does the residual filter double or add\n\n" + _answers(cases, "stacks"),
        "## Near truths, by distance\n\n"
        + _cases(sorted((c for c in (*on, *off) if not far(c)), key=lambda c: -(c.distance or 0.0))),
    ]
    return "\n\n".join(parts) + "\n"


def summary(cases: Sequence[Case]) -> str:
    """The confusion matrix: groups of truths against answers, and the shares that are asked for."""
    head = ["truth", *("identified, right", "identified, wrong", "indistinguishable, with the truth")]
    head += ["indistinguishable, without", *KINDS[2:], "simulations"]
    lines = [_line(head), "|" + "---|" * len(head)]
    for part, where in (("on", True), ("on", False), ("off", True), ("off", False)):
        group = [c for c in cases if c.part == part and far(c) is where]
        words = f"{'listed' if part == 'on' else 'outside the list'}, {'2 tau or more away' if where else 'nearer'}"
        lines.append(_line([f"{words} ({len(group)} cases)", *_confusion(group)]))
    return "\n".join([*lines, "", *goals(cases), "", _growth(cases)])


def _confusion(group: Sequence[Case]) -> list[int]:
    each = [kinds(c) for c in group]
    total = {k: sum(one[k] for one in each) for k in KINDS}
    right = sum(alone(c) for c in group)
    both = sum(covered(c) - alone(c) for c in group)
    rest = [total[k] for k in KINDS[2:]]
    said = [right, total["identified"] - right, both, total["indistinguishable"] - both, *rest]
    return [*said, sum(c.replicates for c in group)]


def goals(cases: Sequence[Case]) -> list[str]:
    """The shares that the verdict promises, pooled, and the worst case of each."""
    on, off = ([c for c in cases if c.part == part] for part in ("on", "off"))
    asked = (
        ("the returned set covers a listed truth (95% or more)", on, covered, min),
        ("a listed truth 2 tau or more away is identified alone (95% or more)", [c for c in on if far(c)], alone, min),
        ("a truth outside the list, 2 tau or more away, is given a listed name (5% or less)",
         [c for c in off if far(c)], listed, max),
    )  # fmt: skip
    return [f"- {words}: {_share(group, count, worst)}" for words, group, count, worst in asked]


def _share(group: Sequence[Case], count, worst) -> str:
    hits, n = sum(map(count, group)), sum(c.replicates for c in group)
    if not n:
        return "not counted yet"
    found = share(hits, n)
    text = f"{hits} of {n}, {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
    odd = worst(group, key=lambda c: count(c) / max(c.replicates, 1))
    return f"{text}; worst case: {odd.truth} at {odd.distribution}, {count(odd)} of {odd.replicates}"


def _growth(cases: Sequence[Case]) -> str:
    head = ["layers run", "doubling", "adding", "neither", "simulations"]
    lines = [_line(head), "|" + "---|" * len(head)]
    for due, words in (
        ("doubling", "Newton's method"),
        ("adding", "gradient descent"),
        ("neither", "neither"),
    ):
        group = [c for c in cases if c.part == "stacks" and c.due == due]
        said = [sum(c.answers[answer] for c in group) for answer in head[1:4]]
        lines.append(_line([words, *said, sum(c.replicates for c in group)]))
    tied = [c for c in cases if c.part == "ties"]
    told = sum(c.answers[TIED] for c in tied)
    return "\n".join([*lines, "", f"Ties: {told} of {sum(c.replicates for c in tied)} {TIED}."])


def _cases(group: Iterable[Case]) -> str:
    head = [
        "setting",
        "truth",
        "distance",
        "nearest",
        "covered",
        "alone",
        "given a listed name",
        "replicates",
        "answers",
    ]
    lines = [_line(head), "|" + "---|" * len(head)]
    for c in group:
        counts = [covered(c), alone(c), "–"] if c.due else ["–", "–", listed(c)]
        said = ", ".join(f"{k} {n}" for k, n in kinds(c).items() if n)
        lines.append(
            _line([c.distribution, c.truth, f"{c.distance:.4f}", c.nearest, *counts, c.replicates, said])
        )
    return "\n".join(lines)


def _answers(cases: Sequence[Case], part: str) -> str:
    head = ["setting", "case", "due", "answers", "replicates"]
    lines = [_line(head), "|" + "---|" * len(head)]
    for c in (c for c in cases if c.part == part):
        said = ", ".join(f"{answer} {n}" for answer, n in c.answers.most_common())
        lines.append(_line([c.distribution, c.truth, c.due, said, c.replicates]))
    return "\n".join(lines)


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def rewritten(readme: str, table: str) -> str:
    """The page with the matrix between its markers. Raises UserError when they are not there, once each."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise UserError(f"{MATRIX.name} must hold the lines {BEGIN} and {END} once each")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def texts() -> dict[Path, str]:
    """What the two pages should hold."""
    cases = list(read().values())
    return {PAGE: page(cases), MATRIX: rewritten(MATRIX.read_text(encoding="utf-8"), summary(cases))}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interp.calibration.tables", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    old = [p for p, text in texts().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{path.name}: {'not what the counts say' if check else 'written'}")
        if not check:
            write_atomically(path, texts()[path].encode())
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
