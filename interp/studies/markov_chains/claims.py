"""The claims on in-context Markov chains (Edelman et al., arXiv 2402.11004): what is said, where, and what counts as
reproducing it.

Rivals, from which a criterion's size is computed: a coin for each run (of "always" .6), a net that goes on counting
symbols, heads that attend evenly, no change of an onset. Sizes of effects are those of one seed trained beforehand;
criteria were fixed before the runs.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion
from interp.studies.power import Means, Shares, Signs

P = "Edelman et al. 2402.11004"
SEEDS = 8
above, below, always = Criterion.above, Criterion.below, Criterion.always
EVERY, MOST, EARLIER = Shares(0.99, 0.6, SEEDS), Shares(0.95, 0.5, SEEDS), Signs(0.95, 0.5, SEEDS)
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("unigram-first",
              "In every run the outputs follow the unigram predictor (symbol counts) before they follow the bigram "
              "predictor (transition counts).",
              f"{P} section 3", "always", always(0.6), "share of runs", "confirmatory", EVERY),
        Claim("bigram-last", "At its end every run follows the bigram predictor.",
              f"{P} section 3", "always", always(0.6), "share of runs", "confirmatory", EVERY),
        Claim("bigram-close",
              "At the end the outputs are within .05 nats of the bigram predictor on the second half of the prompt.",
              f"{P} Fig. 2", "near 0", below(0.05), "KL to the bigram, nats", "confirmatory",
              Means(0.028, 0.1, 0.006, SEEDS)),
        Claim("two-drops",
              "In most runs the loss falls in two separate drops, one to symbol counts and one to transition counts.",
              f"{P} Fig. 2", "sharp drops", above(0.5), "share of runs", "confirmatory", MOST),
        Claim("previous-token", "At the end the head of the first layer attends to the previous token.",
              f"{P} section 4", "by inspection", above(0.8), "attention on the previous token", "confirmatory",
              Means(0.97, 0.4, 0.03, SEEDS)),
        Claim("statistical-induction",
              "At the end the head of the second layer attends to the successors of the present symbol's earlier "
              "occurrences (evenly it would spend .36 on them).",
              f"{P} section 4", "by inspection", above(0.7), "attention on successors", "confirmatory",
              Means(0.88, 0.36, 0.05, SEEDS)),
        Claim("head-leads",
              "The head of the first layer attends to the previous token with half its final mass before the bigram "
              "predictor leads the outputs.",
              f"{P} section 4", "none stated", above(0.0), "steps of lead", "confirmatory", EARLIER),
        Claim("path-leads",
              "The path from the first layer into the keys of the second has half its final effect on the loss before "
              "the loss has fallen half-way from symbol counts to its end.",
              f"{P} section 4 (alignment of the layers), by path patching", "none stated", above(0.0),
              "steps of lead", "confirmatory", EARLIER),
        Claim("counts-delay",
              "On doubly stochastic chains, whose symbol counts are uninformative, the bigram predictor leads after "
              "fewer steps than usual.",
              f"{P} section 3.2", "faster", below(1.0), "onset of the bigram / usual", "confirmatory",
              Means(0.75, 1.0, 0.15, SEEDS, "log")),
        Claim("order-2",
              "On chains of order 2 every net of three layers follows the unigram, the bigram and the trigram "
              "predictor in this order.",
              f"{P} section 5", "in this order", always(0.6), "share of runs", "confirmatory", EVERY),
    )
}  # fmt: skip
