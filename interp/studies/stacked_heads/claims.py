"""The claims on stacked heads and implicit curricula (Musat, arXiv 2411.12118): what is said, where, and what
counts as reproducing it. The paper's full text and code are not public; where it gives no number the row says
"none stated".
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion

P = "Musat 2411.12118"
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("depth-necessity", "No net solves a hop that lies beyond the depth bound D <= (3^L - 1)/2",
              f"{P} Thm 1", "none stated", Criterion.below(0.5), "share of runs"),
        Claim("closure-bound", "The closure simulator needs exactly ceil(log_3 2D) layers, for every D up to 41",
              f"{P} Thm 1", "t >= log_3(2D)", Criterion.within(1.0, 1.0), "share of hop counts"),
        Claim("one-layer-hop-1", "One layer answers hop 1",
              f"{P} Thm 1 at L=1, D=2", "none stated", Criterion.above(0.99), "accuracy of hop 1"),
        Claim("one-layer", "One layer answers hop 1 and guesses hop 2 among the ends of chains (1/4 of 4)",
              f"{P} Thm 1 at L=1, D=2", "1/4 (guess)", Criterion.within(0.15, 0.35), "accuracy of hop 2"),
        Claim("information-reach", "No layer's query stream holds a symbol before information could reach it",
              f"{P} Thm 1, by linear probe", "none stated", Criterion.below(0.5), "share of runs"),
        Claim("curriculum-solves", "With every hop in the target, all hops are learned",
              f"{P} Fig. 4", "none stated", Criterion.above(0.5), "share of runs"),
        Claim("last-hop", "With every hop in the target, hop 3 is answered almost always",
              f"{P} Fig. 4", "none stated", Criterion.above(0.99), "accuracy of hop 3"),
        Claim("final-discrete", "Without the curriculum nothing is learned (discrete symbols)",
              f"{P} Fig. 4", "never learned", Criterion.below(0.35), "accuracy of hop 3"),
        Claim("final-gaussian", "Without the curriculum nothing is learned (Gaussian symbols)",
              f"{P} Fig. 4", "never learned", Criterion.below(0.5), "share of runs that learned it"),
        Claim("mix", "A mixture of all hop counts is a curriculum as well",
              "Wang et al. 2505.23683", "none stated", Criterion.above(0.5), "share of runs"),
        Claim("dropped-hop", "Dropping hop 1 from the loss delays hop 2",
              f"{P}, reading of section 6", "none stated", Criterion.above(1.0), "onset / onset with every hop"),
        Claim("fixed-order", "Hops are learned in the order 1 < 2 < 3",
              f"{P} Section 8", "always", Criterion.above(0.5), "share of runs"),
        Claim("fixed-order-tau", "Onsets of hops follow the order of the chain",
              f"{P} Section 8", "always", Criterion.above(0.0), "Kendall's tau"),
        Claim("head-order", "A head that reads link 1 emerges before any that reads link 2",
              f"{P} Section 8", "always", Criterion.above(0.5), "share of runs"),
        Claim("head-leads", "A head that reads link 2 emerges before hop 2 is answered",
              f"{P} Section 8", "none stated", Criterion.above(0.0), "steps of lead"),
        Claim("stages", "The loss falls in as many separate drops as there are hops",
              f"{P} Section 8", "one drop a hop", Criterion.above(0.5), "share of runs"),
        Claim("retrieval-heads", "A first-layer look-ahead head and later heads on links 1 and 2 form the circuit",
              f"{P} Fig. 5", "by inspection", Criterion.above(0.5), "share of runs"),
        Claim("heads-matter", "Heads that hold a role matter: needed, or redundant with a peer",
              f"{P} Section 8", "none stated", Criterion.above(0.5), "share of heads with a role"),
        Claim("stacked-circuit", "Hop 3 is answered by a head on its own source (a stack of retrieval heads)",
              f"{P} Fig. 5", "by inspection", Criterion.above(0.5), "share of runs"),
        Claim("merging-circuit", "Hop 3 is answered without a head on its source: links were read ahead",
              "this project", "not in the paper", Criterion.above(0.5), "share of runs"),
        Claim("edges-in-stages", "Edges of the final circuit come to matter in stages, not all at once",
              f"{P} Section 8", "none stated", Criterion.above(0.5), "share of runs"),
        Claim("graft-before", "Before hop 1 is learned, the final heads on link 2 do not bring hop 2",
              f"{P} Section 8, by grafting", "none stated", Criterion.below(0.1), "gain in accuracy of hop 2"),
        Claim("graft-between", "After hop 1 is learned, the same heads bring hop 2 at once",
              f"{P} Section 8, by grafting", "none stated", Criterion.above(0.1), "gain in accuracy of hop 2"),
        Claim("clamp-first-plateau", "With a perfect hop-1 head from the start the first plateau goes",
              f"{P} Section 8, by clamping", "none stated", Criterion.below(1.0), "onset of hop 1 / usual"),
        Claim("clamp-next-plateau", "With a perfect hop-1 head from the start hop 2 comes earlier",
              f"{P} Section 8, by clamping", "none stated", Criterion.below(1.0), "onset of hop 2 / usual"),
        Claim("clamp-uniform", "Without attention in the first layer hop 1 is delayed",
              f"{P} Section 8, by clamping", "none stated", Criterion.above(1.0), "onset of hop 1 / usual"),
        Claim("paper-size", "12 layers, 8 heads, width 128 on Gaussian symbols learn three hops",
              f"{P} Fig. 5", "learned", Criterion.above(0.5), "share of runs"),
    )
}  # fmt: skip
