"""The claims on stacked heads and implicit curricula (Musat, arXiv 2411.12118): what is said, where, and what counts as
reproducing it.

The paper's full text and code are not public; where it gives no number the row says "none stated". A claim of "always"
or "never" is contradicted by runs that do otherwise, not only when they are the most. Rivals, from which a criterion's
size is computed: a coin for each run (.5, of "always" .6), no change of an onset, a net that guesses.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion, Replaced
from interp.studies.power import Exact, Means, Shares, Signs

P = "Musat 2411.12118"
POWER = "2026-11-30"  # the day on which powers were first computed
ORDERED, SEEDS = (
    9,
    6,
)  # seeds of the quick scale: of the condition on which the order is counted, of the others
above, below, within, always, never = (
    Criterion.above,
    Criterion.below,
    Criterion.within,
    Criterion.always,
    Criterion.never,
)
MOST, RARE = Shares(0.95, 0.5, ORDERED), Shares(0.05, 0.5, SEEDS)
FEW = (Replaced("value and interval on the same side of the same bound, of 3 seeds", POWER,
                "power 0 at three seeds: 3 of 3 have a lower limit of .29; six are trained"),)  # fmt: skip
RANGE = (Replaced("the range of 3 seeds on the same side of 1", POWER,
                  "a range of three covers the median 75 times in 100; six seeds have an interval, and the spread of "
                  "the usual onsets counts too", True),)  # fmt: skip
ALWAYS = (Replaced("value and interval above 0.5", POWER, "'always' is not a share above half"),)
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("depth-necessity", "No net answers a hop that lies beyond the depth bound 2 D <= 3^L.",
              f"{P} Thm 1", "none stated", never(0.4), "share of runs", "confirmatory", Shares(0.01, 0.5, 15),
              (Replaced("value and interval below 0.5", POWER, "'no net' is not a share below half"),)),
        Claim("closure-bound",
              "A simulator of what attention can pass on needs exactly ceil(log_3 2D) layers for D hops, for every D "
              "up to 41.",
              f"{P} Thm 1", "t >= log_3(2D)", Criterion.equals(1.0), "share of hop counts", "identity",
              Exact(1.0, 0.4)),
        Claim("one-layer-hop-1", "A net of one layer answers the first hop.",
              f"{P} Thm 1 at L=1, D=2", "none stated", above(0.99), "accuracy of hop 1", "confirmatory",
              Means(0.999, 0.95, 0.002, SEEDS)),
        Claim("one-layer", "A net of one layer guesses the second hop among the ends of the four chains.",
              f"{P} Thm 1 at L=1, D=2", "1/4 (guess)", within(0.15, 0.35), "accuracy of hop 2", "confirmatory",
              Means(0.25, 0.5, 0.0056, SEEDS)),
        Claim("information-reach",
              "No layer's query stream holds a symbol, by linear probe, before information could have reached it.",
              f"{P} Thm 1, by linear probe", "none stated", never(0.4), "share of runs", "confirmatory",
              Shares(0.01, 0.5, 32),
              (Replaced("value and interval below 0.5", POWER, "'no layer' is not a share below half"),)),
        Claim("curriculum-solves", "With every hop in the target, most runs learn all hops.",
              f"{P} Fig. 4", "none stated", above(0.5), "share of runs", "confirmatory", MOST),
        Claim("last-hop", "With every hop in the target, the third hop is answered almost always at the end.",
              f"{P} Fig. 4", "none stated", above(0.99), "accuracy of hop 3", "confirmatory",
              Means(0.999, 0.95, 0.002, ORDERED)),
        Claim("final-discrete",
              "With the last hop alone in the target, nothing is learned of it on discrete symbols within the budget.",
              f"{P} Fig. 4", "never learned", below(0.35), "accuracy of hop 3", "confirmatory",
              Means(0.25, 0.5, 0.0025, SEEDS)),
        Claim("final-gaussian",
              "With the last hop alone in the target, most runs do not learn it on Gaussian symbols within the budget.",
              f"{P} Fig. 4", "never learned", below(0.5), "share of runs that learned it", "confirmatory", RARE, FEW),
        Claim("mix", "A mixture of prompts that ask for one, two or three hops is a curriculum: most runs learn it.",
              "Wang et al. 2505.23683", "none stated", above(0.5), "share of runs", "confirmatory",
              Shares(0.95, 0.5, SEEDS), FEW),
        Claim("dropped-hop", "Without the first hop in the loss, the second is learned later than with it.",
              f"{P}, reading of section 6", "none stated", above(1.0), "onset / onset with every hop", "confirmatory",
              Signs(0.95, 0.5, SEEDS), RANGE),
        Claim("fixed-order", "Hops are always learned in the order 1, 2, 3.",
              f"{P} Section 8", "always", always(0.6), "share of runs", "confirmatory", Shares(0.99, 0.6, ORDERED),
              ALWAYS),
        Claim("fixed-order-tau", "Any two hops are always learned in the order of the chain.",
              f"{P} Section 8", "always", always(0.6), "share of pairs of hops", "confirmatory",
              Shares(0.99, 0.6, ORDERED),
              (Replaced("value and interval of Kendall's tau above 0", POWER, "'always' is not mostly", True),)),
        Claim("head-order", "A head that attends to link 1 always emerges before any that attends to link 2.",
              f"{P} Section 8", "always", always(0.6), "share of runs", "confirmatory", Shares(0.99, 0.6, ORDERED),
              ALWAYS),
        Claim("head-leads", "A head that attends to link 2 emerges before the second hop is answered.",
              f"{P} Section 8", "none stated", above(0.0), "steps of lead", "confirmatory", Signs(0.95, 0.5, ORDERED)),
        Claim("stages", "In most runs the loss falls in as many separate drops as there are hops.",
              f"{P} Section 8", "one drop a hop", above(0.5), "share of runs", "confirmatory", MOST),
        Claim("retrieval-heads",
              "In most runs a look-ahead head of the first layer and later heads on links 1 and 2 form the circuit.",
              f"{P} Fig. 5", "by inspection", above(0.5), "share of runs", "exploratory", MOST),
        Claim("heads-matter",
              "In most runs, more than half of the heads with a role are needed, or redundant with another head of"
              " that role.",
              f"{P} Section 8", "none stated", above(0.5), "share of runs", "confirmatory", MOST,
              (Replaced("share of all runs' heads above 0.5", POWER,
                        "heads of one run are not independent: the unit is the training seed", True),)),
        Claim("stacked-circuit",
              "In most runs the third hop is answered by a head on its own source (a stack of retrieval heads).",
              f"{P} Fig. 5", "by inspection", above(0.5), "share of runs", "exploratory", MOST),
        Claim("merging-circuit",
              "In most runs the third hop is answered without a head on its source, by links that attend to their"
              " successors in an earlier layer.",
              "this project", "not in the paper", above(0.5), "share of runs", "exploratory", MOST),
        Claim("edges-in-stages",
              "In most runs some edges of the final circuit matter by the onset of hop 1 and others only after that of "
              "hop 2.",
              f"{P} Section 8", "none stated", above(0.5), "share of runs", "confirmatory", Shares(0.95, 0.5, SEEDS),
              FEW),
        Claim("transplant-before",
              "Before the first hop is learned, transplanting the final heads on link 2 does not make the net"
              " answer the second hop.",
              f"{P} Section 8, by head transplant", "none stated", below(0.1), "gain in accuracy of hop 2",
              "exploratory", Means(0.05, 0.3, 0.035, ORDERED)),
        Claim("transplant-between",
              "After the first hop is learned, transplanting the final heads on link 2 makes the net answer the"
              " second hop at once.",
              f"{P} Section 8, by head transplant", "none stated", above(0.1), "gain in accuracy of hop 2",
              "exploratory", Means(0.3, 0.05, 0.076, ORDERED)),
        Claim("clamp-first-plateau",
              "With a perfect head on link 1 from the first step, the first hop is learned earlier than without.",
              f"{P} Section 8, by intervention", "none stated", below(1.0), "onset of hop 1 / usual", "confirmatory",
              Signs(0.95, 0.5, SEEDS), RANGE),
        Claim("clamp-next-plateau",
              "With a perfect head on link 1 from the first step, the second hop is learned earlier than without.",
              f"{P} Section 8, by intervention", "none stated", below(1.0), "onset of hop 2 / usual", "confirmatory",
              Signs(0.95, 0.5, SEEDS), RANGE),
        Claim("clamp-uniform",
              "With uniform attention in the first layer, the first hop is learned later than without.",
              f"{P} Section 8, by intervention", "none stated", above(1.0), "onset of hop 1 / usual", "confirmatory",
              Signs(0.95, 0.5, SEEDS), RANGE),
        Claim("paper-size",
              "Nets of 12 layers, 8 heads and width 128 learn three hops on Gaussian symbols.",
              f"{P} Fig. 5", "learned", above(0.5), "share of runs", "confirmatory", Shares(0.95, 0.5, SEEDS)),
    )
}  # fmt: skip
