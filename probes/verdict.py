"""What is concluded about a readout: one of six verdicts, in one order.

Decided in this order, every limit one-sided at the corrected level (`probes.filters.FilterConfig`):

1. `none`: the best family explains no more than chance (lower limit of the share explained at 0 or below).
2. `not a filter`: more than tau of the outputs is a smooth function of the query that is not linear.
3. `identified`: one family fits (upper limit of its misfit below tau) and every other misfits by more.
4. `indistinguishable`: several families fit, or a rival is not shown to misfit by more than the one that fits.
   Also where nothing is precise enough: no family is shown to fit nor to misfit; "unlisted filter" is then among them.
5. `mixture`: no family fits, but a weighted mean of two does and the means of no other two do; or no filter fits, but
   the mean of two families or one of the two for each prompt does.
6. `unlisted filter`: no family fits, a free function of the eigenvalues does: its shape is the answer.
7. `not a filter`: that misfits as well; the families named are the nearest, and no more.

What fits is within tau of the outputs, which is not to say that it is what computes them.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import pandas as pd

from probes import mixtures, stats, tables
from probes.families import LIMITS
from probes.filters import Evidence, split
from probes.mixtures import Mixture

Kind = Literal["identified", "indistinguishable", "unlisted filter", "not a filter", "mixture", "none"]
UNLISTED: Kind = "unlisted filter"
NO_FILTER: Kind = "not a filter"
FREE = "free filter"
IMPRECISE = "too imprecise: ask more prompts or queries"
NEAREST = 2


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict, the families it is about (the one identified, those not told apart, a mixture's two, or the nearest
    ones), and misfits with their 95% CI: of the best family, of the free filter, of the mixture where there is one.
    """

    kind: Kind
    families: tuple[str, ...]
    misfit: stats.Interval
    free: stats.Interval
    note: str = ""
    mixtures: tuple[Mixture, ...] = ()

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.words} (misfit {self.misfit}, free filter {self.free}{note})"

    @property
    def words(self) -> str:
        """Kind and families."""
        named = ", ".join(self.families)
        if self.kind == "identified":
            return named
        if self.kind in (UNLISTED, NO_FILTER):
            return f"{self.kind}; nearest: {named}"
        return f"{self.kind}: {named}" if named else self.kind


def decide(evidence: Evidence) -> Verdict:
    """The verdict on a readout's outputs."""
    best = evidence.order[0]
    concluded = _conclude(evidence, best)
    return Verdict(*concluded[:2], evidence.misfit(best), evidence.free_misfit, *concluded[2:])


Concluded = tuple[Kind, tuple[str, ...], str, tuple[Mixture, ...]]


def _conclude(evidence: Evidence, best: str) -> Concluded:
    if evidence.explains_nothing:
        return "none", (), "no family explains more than chance", ()
    nearest = evidence.order[:NEAREST]
    if evidence.bent:
        return (
            NO_FILTER,
            nearest,
            f"{evidence.smooth.value:.1%} of the output is smooth in the query, not linear",
            (),
        )
    if evidence.fitting(evidence.of(best).left):
        standing = _standing(evidence, best)
        return "identified" if len(standing) == 1 else "indistinguishable", standing, _limits(standing), ()
    among = tuple(f for f in evidence.order if evidence.limits(evidence.of(f).left)[0] <= 0)
    if among:
        return "indistinguishable", (*among, UNLISTED), IMPRECISE, ()
    return _beyond(evidence, nearest)


def _standing(evidence: Evidence, best: str) -> tuple[str, ...]:
    """The best family, and those that fit as well or are not shown to misfit by more."""
    return tuple(
        f
        for f in evidence.order
        if f == best or evidence.fitting(evidence.of(f).left) or not evidence.worse(f, best)
    )


def _limits(families: tuple[str, ...]) -> str:
    """Which of some families are limits of others among them, so that no data could tell them apart."""
    pairs = {limit: [of for of in LIMITS[limit] if of in families] for limit in LIMITS if limit in families}
    return "; ".join(f"{limit} is a limit of {', '.join(of)}" for limit, of in pairs.items() if of)


def _beyond(evidence: Evidence, nearest: tuple[str, ...]) -> Concluded:
    """Where no family fits: a mean of two, a free filter, a choice of two, or neither."""
    free = evidence.free.left
    means = _fitting(evidence, "mean")
    if evidence.fitting(free):
        if len(means) == 1:
            return "mixture", means[0].families, str(means[0]), means
        also = "; ".join(" + ".join(m.families) for m in means)
        return UNLISTED, nearest, f"means of two that fit: {also}" if also else "", means
    found = (*means, *_fitting(evidence, "choice"))
    if found:
        return "mixture", found[0].families, "; ".join(map(str, found)), found
    if evidence.limits(free)[0] > 0:
        return NO_FILTER, nearest, "", ()
    return "indistinguishable", (UNLISTED, NO_FILTER), IMPRECISE, ()


def _fitting(evidence: Evidence, how: mixtures.How) -> tuple[Mixture, ...]:
    folds = split(len(evidence.seen), evidence.config.folds)
    found = mixtures.search(evidence.seen, folds, evidence.families, how)
    return tuple(m for m in found if evidence.fitting(m.left))


def table(evidence: Evidence) -> pd.DataFrame:
    """One row a family, ascending by misfit, and one for the free filter: misfit with its 95% CI, by how much it is
    above that of the best family (with its own 95% CI), the best member, and the verdict.
    """
    found, best = decide(evidence), evidence.order[0]
    shared = {"metric": "filter misfit", "unit": "share of the outputs' mean square"}
    told = {"verdict": found.kind, "families": ", ".join(found.families), "note": found.note}
    rows = []
    for family in evidence.order:
        fit, behind = evidence.of(family), evidence.difference(family, best)
        own = {"member": fit.best.label, "gain": fit.gain, "k": fit.best.k, "above_best": behind.value}
        ends = {"above_low": behind.low, "above_high": behind.high}
        rows.append({**shared, "algorithm": family, **evidence.misfit(family).row(), **own, **ends, **told})
    free = {"algorithm": FREE, "member": f"of eigenvalue, {evidence.free.of}", **evidence.free_misfit.row()}
    return tables.frame([*rows, {**shared, **free, **told}])
