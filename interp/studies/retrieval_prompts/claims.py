"""The claims on language models that answer multi-hop questions from a prompt (Musat, arXiv 2411.12118, section 4).

What is at hand of the paper names no model and no accuracy, so every bound here was chosen beforehand by this project.
The heads among which "stacked" looks for a path were those of any relation at first; since a path from a head that
reads the name in the question was found to count, they are those of the hops alone. EXPLORATORY claims came after.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion

P = "Musat 2411.12118"
NONE = "none stated"
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("above-chance", "The model answers a one-hop question better than a guess among the choices",
              f"{P} Section 4", "solved without fine-tuning", Criterion.above(0.0), "accuracy - chance, 1 hop"),
        Claim("two-hops", "The model answers a two-hop question better than a guess among the choices",
              f"{P} Section 4", "solved without fine-tuning", Criterion.above(0.0), "accuracy - chance, 2 hops"),
        Claim("generation", "Its own next word is the answer more often than a guess among the choices is right",
              f"{P} Section 4", NONE, Criterion.above(0.0), "generated - chance, 1 hop"),
        Claim("falls", "Accuracy falls as more hops are asked for",
              f"{P} Fig. 2", "falls towards chance", Criterion.above(0.0), "accuracy, fewest - most hops"),
        Claim("head-hop-1", "Some head of the last token attends to the value of hop 1 and not evenly",
              "Olsson et al. 2209.11895; Wu et al. 2404.15574", NONE, Criterion.above(0.5), "share of argmax"),
        Claim("head-hop-2", "Some head of the last token attends to the value of hop 2 and not evenly",
              "Olsson et al. 2209.11895; Wu et al. 2404.15574", NONE, Criterion.above(0.5), "share of argmax"),
        Claim("copies", "The head of hop 2 writes the name it attends to",
              "Olsson et al. 2209.11895", NONE, Criterion.above(0.5), "share of names copied"),
        Claim("needed", "Taking away that head's output (mean over prompts) costs part of the behaviour",
              "Wu et al. 2404.15574", "causal by pruning", Criterion.above(0.1), "share of the loss gap"),
        Claim("stacked", "What the head of hop 1 tells the head of hop 2 directly carries part of the answer",
              f"{P} Section 8, by path patching", NONE, Criterion.above(0.1), "share of the loss gap"),
        Claim("order", "Over training the first hop is learned before the second",
              f"{P} Section 8", "always", Criterion.above(1.0), "onset of hop 2 / onset of hop 1"),
    )
}  # fmt: skip

AFTER = "exploratory: criterion set after a first look at small models"
EXPLORATORY = {
    claim.id: claim
    for claim in (
        Claim("fact-hop-1", "Some head of the last token looks anywhere in the sentence of hop 1's fact",
              f"{P} Section 8; {AFTER}", NONE, Criterion.above(0.5), "share of argmax"),
        Claim("fact-hop-2", "Some head of the last token looks anywhere in the sentence of hop 2's fact",
              f"{P} Section 8; {AFTER}", NONE, Criterion.above(0.5), "share of argmax"),
        Claim("fact-ahead", "Some head looks from hop 1's fact anywhere in the sentence of hop 2's",
              f"{P} Section 8; {AFTER}", NONE, Criterion.above(0.5), "share of argmax"),
        Claim("fact-needed", "Taking away a layer's heads that look at hop 1's fact from the last token costs more",
              f"{P} Section 8; {AFTER}", NONE, Criterion.above(0.1), "share of the loss gap, less random heads'"),
        Claim("ahead-needed", "Taking away a layer's heads that look at hop 2's fact from hop 1's costs more",
              f"{P} Section 8; {AFTER}", NONE, Criterion.above(0.1), "share of the loss gap, less random heads'"),
        Claim("fact-stacked", "What the heads of one look tell those of another directly carries part of the answer",
              f"{P} Section 8, by path patching; {AFTER}", NONE, Criterion.above(0.1), "share of the loss gap"),
    )
}  # fmt: skip
