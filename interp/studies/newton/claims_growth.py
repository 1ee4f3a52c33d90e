"""Claims of the study of layers against Newton's method on how filters follow one another: squared or added to.

The difference of two misfits is paired in every net, and the unit is the training seed. It was looked at before on one
net of another size (preset "newton", one seed, five checkpoints), where doubling was nearer each time: what is asked
of the last checkpoint is the paper's claim, what is asked of the first one was found by looking.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion
from interp.studies.newton.claims_conditions import PROJECT, P
from interp.studies.power import Planted

SEEDS = 5
UNIT = "misfit of adding - of doubling"
GROWTH_CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim("growth-difference",
              "From layer to layer the residual filter is nearer to being squared, as under Newton's method, than to "
              "being multiplied by a constant, as under gradient descent.",
              P, "Newton, or some second order", Criterion.above(0.0), UNIT, "confirmatory",
              Planted("growth-difference", SEEDS)),
        Claim("growth-first",
              "At the first checkpoint at which three layers move it, the residual filter is already nearer to being "
              "squared than to being multiplied by a constant.",
              "this project", PROJECT, Criterion.above(0.0), UNIT, "exploratory", Planted("growth-difference", SEEDS)),
    )
}  # fmt: skip
