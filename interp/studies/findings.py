"""What the ledgers say of each paper in one line: which of its findings hold here, which do not, what is undecided.

A finding is a few words and the claims that it rests on. It holds where every row of these was reproduced, it does not
hold where one was contradicted, and otherwise it is undecided by what was run. Which findings of a paper lead was
chosen by hand, from its abstract and summary, without regard to verdicts; all claims stand in the page of the ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interp.studies.ledger import Claim, Measured, Row

Found = Mapping[str, tuple[dict[str, Claim], Measured | None]]
HOLDS, FAILS, OPEN = "Holds", "Does not hold", "Undecided"
INTRO = (
    "In short, at these sizes (a finding holds where all rows on it were reproduced, it does not where one was "
    "contradicted; it is exploratory where one of them is):"
)


@dataclass(frozen=True)
class Finding:
    """`words` finish a sentence after "Holds:"; `claims` are those of `study`."""

    study: str
    words: str
    claims: tuple[str, ...]


def _of(study: str, *found: tuple[str, str]) -> tuple[Finding, ...]:
    """Findings from words and the claims' ids, with blanks between."""
    return tuple(Finding(study, words, tuple(ids.split())) for words, ids in found)


PAPERS: Mapping[str, tuple[Finding, ...]] = {
    "Mahankali et al. 2307.03576": _of(
        "one-step-gd",
        ("a trained layer of linear attention is one step of descent", "gd-cosine gd-error gd-excess"),
        (
            "all weights trained on noisy labels give one step of descent, too",
            "full-error full-excess full-nuisance",
        ),
        ("anisotropic covariates give the preconditioner of theory", "aniso-cosine aniso-excess"),
        ("the step is 1/(n+d+1+noise)", "scaling"),
        ("non-linear targets leave a step of linear regression", "nonlinear cubic even"),
    ),
    "Ahn et al. 2306.00297, 2310.01082": _of(
        "linear-attention",
        ("deeper nets reach the loss of as many optimal steps of descent or GD++", "gd-2 gd-3 gd++-2 gd++-3"),
        ("matrices of GD++ nets are multiples of the identity", "gd++-identity"),
        ("Adam ends below SGD on normal covariates and with few examples", "gap-S1 gap-S2"),
        ("Adam ends below SGD on heavy tails", "gap-S3"),
        ("SGD's path is worse conditioned at step 750", "condition-S1 condition-S2 condition-S3"),
        ("gradient noise has heavier tails where covariates have", "noise-S3"),
        ("the gap between Adam and SGD grows with depth", "depth-gap"),
    ),
    "Fu et al. 2310.17086": _of(
        "newton",
        ("the error falls superlinearly over layers", "a-order"),
        ("matched Newton steps grow linearly", "b-slope b-linear"),
        ("matched descent steps grow geometrically", "c-slope"),
        ("errors are nearer to Newton's than to descent's", "table-order"),
        ("the residual filter is squared from layer to layer", "filter-growth"),
        ("the residual filter is nearer to being squared than multiplied by a constant", "growth-difference"),
        ("a poor condition number costs no Newton steps", "f-newton f-mild"),
        ("an LSTM forgets and a transformer does not", "h-recent h-keeps"),
    ),
    "Arnaboldi et al. 2506.02651": _of(
        "single-index",
        ("escape times grow like d, d log d and d^2", "slope-1 slope-2 slope-3"),
        ("tying tokens gains a factor L at equal rates", "gain-1 gain-2 rule-equal"),
        ("tying gains L^1.5 and L^2 at larger tied rates", "rule-root rule-linear"),
        ("tying gains L^2 with each net at its best rate", "rule-best"),
        ("the share of semantic ends is steeper at d = 1000", "sharper"),
        ("one attention layer waits no longer on more tokens", "attention-length"),
    ),
    "Musat 2411.12118": (
        *_of(
            "stacked-heads",
            ("hops are always learned in order", "fixed-order fixed-order-tau"),
            ("heads on links 1 and 2 always emerge in order", "head-order"),
            ("a head on link 2 emerges before hop 2 is answered", "head-leads"),
            ("the loss falls in one drop a hop", "stages"),
            ("no hop is answered beyond the depth bound", "depth-necessity information-reach"),
            ("the last hop alone is not learned", "final-discrete"),
            ("the last hop rests on a stack of retrieval heads", "stacked-circuit"),
        ),
        *_of(
            "retrieval-prompts",
            ("small language models learn one hop before two", "order"),
            ("language models need the head that reads hop 2's value", "needed"),
        ),
    ),
    "Edelman et al. 2402.11004": _of(
        "markov-chains",
        ("unigrams are followed before bigrams", "unigram-first bigram-last"),
        ("a statistical induction head counts the bigrams", "previous-token statistical-induction"),
        ("the first layer is there before bigrams lead", "head-leads path-leads"),
        ("uninformative symbol counts speed bigrams up", "counts-delay"),
    ),
    "Raventós et al. 2306.15063": _of(
        "task-diversity",
        ("few tasks are remembered, many give ridge", "small-pool large-pool preference"),
        ("the threshold is sharp", "sharp"),
        ("ridge is left again in training", "leaves-ridge"),
    ),
}


def short_text(found: Found) -> str:
    """One line a paper, in Markdown, under a line that says what the words mean."""
    return "\n".join([INTRO, *(_line(paper, findings, found) for paper, findings in PAPERS.items())])


def _line(paper: str, findings: Iterable[Finding], found: Found) -> str:
    sides: dict[str, list[str]] = {HOLDS: [], FAILS: [], OPEN: []}
    named: dict[str, str] = {}
    for one in findings:
        own = found[one.study][1]
        named[one.study] = f"`{one.study}`{', stale' if own and own.stale else ''}"
        side = verdict_of(one, own)
        explored = side != OPEN and any(row.kind == "exploratory" for row in _rows(one, own))
        sides[side].append(f"{one.words} (exploratory)" if explored else one.words)
    said = " ".join(f"*{side}*: {'; '.join(words)}." for side, words in sides.items() if words)
    return f"- {paper} ({', '.join(named.values())}). {said}"


def verdict_of(finding: Finding, measured: Measured | None) -> str:
    """`HOLDS`, `FAILS` or `OPEN`, from the verdicts of every row of the finding's claims."""
    rows = _rows(finding, measured)
    if any(row.verdict == "contradicted" for row in rows):
        return FAILS
    asked = {row.claim for row in rows} == set(finding.claims)
    return HOLDS if asked and all(row.verdict == "reproduced" for row in rows) else OPEN


def _rows(finding: Finding, measured: Measured | None) -> list[Row]:
    """The rows that a finding rests on."""
    return [row for row in measured.ledger.claims if row.claim in finding.claims] if measured else []
