"""The claims on a finite pool of regression tasks (Raventós et al., arXiv 2306.15063; Carroll et al., arXiv
2501.17745): what is said, where, and what counts as reproducing it.

dMMSE is the Bayes predictor for the pool, ridge that for infinitely many tasks. Figures are means over output positions
at the last checkpoint; every seed has weights, prompts and a pool of its own. Rivals, from which a criterion's size is
computed: a net that is as near to one predictor as to the other, no change with the pool. Sizes of effects are those
of one seed at pools of 8 and 64 trained beforehand; criteria were fixed before the runs. A first measurement with 1,000
steps is not counted: its nets had not learnt (1.3 times the loss of ridge on a pool of 8), which contradicted three
claims; the steps were then set to those of the preset, the criteria left as they were.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion
from interp.studies.power import Means

R, C = "Raventós et al. 2306.15063", "Carroll et al. 2501.17745"
SEEDS = 4
SMALL, LARGE = 8, 64
above, below, within = Criterion.above, Criterion.below, Criterion.within
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("small-pool", f"Trained on a pool of {SMALL} tasks, a net is nearer to dMMSE than to ridge on them.",
              f"{R} Fig. 2", "dMMSE", below(1.0), "distance to dMMSE / to ridge", "confirmatory",
              Means(0.3, 1.0, 0.25, SEEDS, "log")),
        Claim("large-pool",
              f"Trained on a pool of {LARGE} tasks, a net is nearer to ridge than to dMMSE on these tasks.",
              f"{R} Fig. 2", "ridge", below(1.0), "distance to ridge / to dMMSE", "confirmatory",
              Means(0.55, 1.0, 0.15, SEEDS, "log")),
        Claim("large-pool-fresh",
              f"Trained on a pool of {LARGE} tasks, a net has a smaller loss on tasks that it never saw than dMMSE.",
              f"{R} Fig. 3", "below dMMSE", below(1.0), "loss / loss of dMMSE, fresh tasks", "confirmatory",
              Means(0.75, 1.0, 0.08, SEEDS, "log")),
        Claim("small-pool-gain",
              f"Trained on a pool of {SMALL} tasks, a net has a smaller loss on these tasks than ridge.",
              f"{R} Fig. 2", "below ridge", below(1.0), "loss / loss of ridge, pool tasks", "confirmatory",
              Means(0.66, 1.0, 0.08, SEEDS, "log")),
        Claim("small-pool-fresh",
              f"Trained on a pool of {SMALL} tasks, a net has more than 1.5 times the loss of ridge on tasks that it "
              "never saw.",
              f"{R} Fig. 3", "far above ridge", above(1.5), "loss / loss of ridge, fresh tasks", "confirmatory",
              Means(3.0, 1.2, 0.15, SEEDS, "log")),
        Claim("preference",
              "With every doubling of the pool a net moves from dMMSE towards ridge on the tasks of the pool.",
              f"{R} Fig. 2", "towards ridge", above(0.0), "log distance ratio a doubling", "confirmatory",
              Means(0.5, 0.0, 0.1, SEEDS)),
        Claim("threshold",
              f"The pool at which a net is as near to dMMSE as to ridge lies between {SMALL} and {LARGE} tasks at this "
              "size and budget.",
              "this project, after a first look at two pools", "not in the paper", within(3.0, 6.0),
              "log2 of the pool at the threshold", "exploratory", Means(4.6, 6.8, 0.35, SEEDS)),
        Claim("sharp",
              "The threshold is sharp: the share of dMMSE in the outputs falls from three quarters to a quarter within "
              "three doublings of the pool.",
              f"{R} section 3.1", "sharp", below(3.0), "doublings of the pool", "confirmatory",
              Means(1.8, 4.0, 0.4, SEEDS)),
        Claim("leaves-ridge",
              f"Trained on a pool of {SMALL} tasks, a net comes nearest to ridge on fresh tasks early, and ends more "
              "than a tenth further from it.",
              f"{C} Fig. 1; {R} section 3", "none stated", above(1.1), "distance to ridge, end / least before",
              "confirmatory", Means(1.4, 1.0, 0.1, SEEDS, "log")),
        Claim("transience",
              "At a pool just under the threshold and a constant rate a net approaches ridge on fresh tasks and, "
              "trained on, ends more than a tenth further from it.",
              f"{C} Fig. 1", "leaves ridge", above(1.1), "distance to ridge, end / least before", "confirmatory",
              Means(1.4, 1.0, 0.1, SEEDS, "log")),
    )
}  # fmt: skip
