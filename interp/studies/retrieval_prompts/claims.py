"""The claims on language models that answer multi-hop questions from a prompt (Musat, arXiv 2411.12118, section 4).

What is at hand of the paper names no model and no accuracy, so every bound here was chosen beforehand by this project.
The unit is the model (a training seed of a family): a row is the mean over the models that were trained, and each
model's own value stands in its note. Of one published model, the rows are that model's, with intervals over prompts.
The heads among which "stacked" looks for a path were those of any relation at first; since a path from a head that
reads the name in the question was found to count, they are those of the hops alone. EXPLORATORY claims came after.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion, Replaced
from interp.studies.power import Means

P = "Musat 2411.12118"
HEADS = "Olsson et al. 2209.11895; Wu et al. 2404.15574"
NONE = "none stated"
POWER = "2026-11-30"  # the day on which powers were first computed
MODELS = 4
above = Criterion.above
EACH = (Replaced("the same bound for each model, over its prompts", POWER,
                 "prompts of one model say nothing of another training seed: the unit is the model"),)  # fmt: skip
GAINED = Means(0.5, 0.0, 0.1, MODELS)  # above chance
ATTENDED = Means(0.9, 0.3, 0.1, MODELS)
CAUSED = Means(0.3, 0.0, 0.08, MODELS)
SHARE, GAP = "share of argmax", "share of the loss gap"
LESS = "share of the loss gap, less random heads'"
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("above-chance", "Models answer a one-hop question better than a guess among the choices would.",
              f"{P} Section 4", "solved without fine-tuning", above(0.0), "accuracy - chance, 1 hop", "confirmatory",
              GAINED, EACH),
        Claim("two-hops", "Models answer a two-hop question better than a guess among the choices would.",
              f"{P} Section 4", "solved without fine-tuning", above(0.0), "accuracy - chance, 2 hops", "confirmatory",
              GAINED, EACH),
        Claim("generation",
              "A model's own next word is the answer to a one-hop question more often than a guess among the choices.",
              f"{P} Section 4", NONE, above(0.0), "generated - chance, 1 hop", "confirmatory", GAINED, EACH),
        Claim("falls", "Accuracy falls as more hops are asked for.",
              f"{P} Fig. 2", "falls towards chance", above(0.0), "accuracy, fewest - most hops", "confirmatory",
              GAINED, EACH),
        Claim("head-hop-1",
              "Some head of the last token has its largest attention on the value of hop 1 in most prompts.",
              HEADS, NONE, above(0.5), SHARE, "confirmatory", ATTENDED, EACH),
        Claim("head-hop-2",
              "Some head of the last token has its largest attention on the value of hop 2 in most prompts.",
              HEADS, NONE, above(0.5), SHARE, "confirmatory", ATTENDED, EACH),
        Claim("copies", "The head that attends to the value of hop 2 writes the name that it attends to.",
              "Olsson et al. 2209.11895", NONE, above(0.5), "share of names copied", "confirmatory", ATTENDED, EACH),
        Claim("needed",
              "Mean ablation of the head that attends to the value of hop 2 costs part of the behaviour.",
              "Wu et al. 2404.15574", "causal by pruning", above(0.1), GAP, "confirmatory", CAUSED, EACH),
        Claim("stacked",
              "The direct path from the head of hop 1 to the head of hop 2 carries part of the answer.",
              f"{P} Section 8, by path patching", NONE, above(0.1), GAP, "confirmatory", CAUSED, EACH),
        Claim("order", "Over training, one-hop questions are answered before two-hop questions.",
              f"{P} Section 8", "always", above(1.0), "onset of hop 2 / onset of hop 1", "confirmatory",
              Means(1.6, 1.0, 0.2, MODELS, "log"), EACH),
    )
}  # fmt: skip

AFTER = "exploratory: criterion set after a first look at small models"
EXPLORATORY = {
    claim.id: claim
    for claim in (
        Claim("fact-hop-1",
              "Some head of the last token has its largest attention anywhere in the sentence of hop 1's fact in most "
              "prompts.",
              f"{P} Section 8; {AFTER}", NONE, above(0.5), SHARE, "exploratory", ATTENDED, EACH),
        Claim("fact-hop-2",
              "Some head of the last token has its largest attention anywhere in the sentence of hop 2's fact in "
              "most prompts.",
              f"{P} Section 8; {AFTER}", NONE, above(0.5), SHARE, "exploratory", ATTENDED, EACH),
        Claim("fact-ahead",
              "Some head has its largest attention, from hop 1's fact, anywhere in the sentence of hop 2's fact in "
              "most prompts.",
              f"{P} Section 8; {AFTER}", NONE, above(0.5), SHARE, "exploratory", ATTENDED, EACH),
        Claim("fact-needed",
              "Mean ablation of one layer's heads that attend to hop 1's fact from the last token costs more than that "
              "of as many random heads.",
              f"{P} Section 8; {AFTER}", NONE, above(0.1), LESS, "exploratory", CAUSED, EACH),
        Claim("ahead-needed",
              "Mean ablation of one layer's heads that attend to hop 2's fact from hop 1's costs more than that of as "
              "many random heads.",
              f"{P} Section 8; {AFTER}", NONE, above(0.1), LESS, "exploratory", CAUSED, EACH),
        Claim("fact-stacked",
              "The direct path from the heads that attend to one hop's fact to those that attend to the next carries "
              "part of the answer.",
              f"{P} Section 8, by path patching; {AFTER}", NONE, above(0.1), GAP, "exploratory", CAUSED, EACH),
    )
}  # fmt: skip
