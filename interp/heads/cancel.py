"""Pairs of heads that a single ablation misjudges: two that cancel each other, two that stand in for each other.

"cancels": each head's own ablation has an effect and ablating both has much less of one, so that neither does anything
that the other does not undo. The upper limit of the joint effect has to lie below `CANCELLED` of the smaller of the two
effects (and of 1: a head that another one reads can do worse alone than both together). "redundant": neither ablation
has an effect, ablating both has one, at least twice the sum of the two. Sources: backup heads in Wang et al. (arXiv
2211.00593), self-repair in McGrath et al. (arXiv 2307.15771); the two rules are this project's.

Pairs are searched among the heads with an effect of their own, and among those without one where ablating all of the
latter together has one; at most `MOST` heads each, those of the largest effects. Three heads that stand in for each
other are found by their role alone (`interp.heads.roles`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from interp.heads.ablation import GroupEffects, HeadName, counts
from probes.stats import Interval

CANCELLED = 0.5
MOST = 24
Losses = Callable[[Sequence[Sequence[HeadName]]], Float[Tensor, "prompt group"]]
Partners = dict[HeadName, tuple[str, HeadName]]


def cancels(a: Interval, b: Interval, both: Interval) -> bool:
    """Whether two heads undo each other, from their own ablation effects and the joint one."""
    return counts(a) and counts(b) and both.high < CANCELLED * min(a.value, b.value, 1.0)


def stands_in(a: Interval, b: Interval, both: Interval) -> bool:
    """Whether two heads stand in for each other: an effect together that neither has alone."""
    alone = max(a.value, 0.0) + max(b.value, 0.0)
    return not counts(a) and not counts(b) and counts(both) and both.value >= 2 * alone


def partners(effects_of: GroupEffects, heads: Sequence[HeadName], losses: Losses) -> Partners:
    """Each head's verdict by pairs, "cancels" or "redundant", with the head that it concerns; only heads that have one.

    `losses` runs groups that `effects_of` does not hold.
    """
    own = {head: effects_of.of([head]) for head in heads}
    loud = _largest([head for head in heads if counts(own[head])], own)
    quiet = _largest([head for head in heads if not counts(own[head])], own)
    found = _pairs(effects_of, own, loud, losses, cancels, "cancels", lambda e: e.value)
    if len(quiet) > 1:
        together = effects_of.with_losses([quiet], losses([quiet]))
        if counts(together.of(quiet)):
            found |= _pairs(effects_of, own, quiet, losses, stands_in, "redundant", lambda e: -e.value)
    return found


def _largest(heads: list[HeadName], own: Mapping[HeadName, Interval]) -> list[HeadName]:
    return sorted(sorted(heads, key=lambda head: -own[head].value)[:MOST])


def _pairs(
    effects_of: GroupEffects,
    own: Mapping[HeadName, Interval],
    heads: Sequence[HeadName],
    losses: Losses,
    rule: Callable[[Interval, Interval, Interval], bool],
    verdict: str,
    order: Callable[[Interval], float],
) -> Partners:
    """The pairs among some heads to which a rule applies; for each head the one that comes first in `order`."""
    pairs = [list(pair) for pair in itertools.combinations(heads, 2)]
    if not pairs:
        return {}
    joint = effects_of.with_losses(pairs, losses(pairs), level=1 - 0.05 / len(pairs))
    fitting = [(order(joint.of([a, b])), (a, b)) for a, b in pairs if rule(own[a], own[b], joint.of([a, b]))]
    found: Partners = {}
    for _, (a, b) in sorted(fitting):
        found.setdefault(a, (verdict, b))
        found.setdefault(b, (verdict, a))
    return found
