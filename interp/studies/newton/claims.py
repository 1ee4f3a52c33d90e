"""Claims of the study of layers against Newton's method (Fu, Chen, Jia & Sharan): what is said, where, and what counts.

A layer's readout is matched with the steps of an algorithm by the similarity of errors (SimE) or of induced weights
(SimW); a layer "climbs" while its best step still grows. Letters follow the paper's claims as this project lists them;
"table" rows are its Table 1. Claims on one condition stand in `claims_conditions`. The unit is the training seed.
Rivals, from which a criterion's size is computed: gradient descent in Newton's place, one step a layer, no order.
Bounds were fixed before the runs, but where a claim's history says so; the statements of `a-falls` and `m-tanh` were
narrowed after a first look at them.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion, Replaced
from interp.studies.newton.claims_conditions import CONDITION_CLAIMS, POWER, PROJECT, P
from interp.studies.newton.claims_growth import GROWTH_CLAIMS
from interp.studies.power import Exact, Means, Planted, PlantedShares

above, below, within = Criterion.above, Criterion.below, Criterion.within
HALF = 0.017  # half of the paper's gap between Newton and gradient descent, .034
SEEDS = 5  # of the main condition


def _near(value: float) -> Criterion:
    return within(round(value - HALF, 3), min(1.0, round(value + HALF, 3)))


def _means(true: float, false: float, sd: float) -> Means:
    return Means(true, false, sd, SEEDS)


WIDE = (
    Replaced(
        "value and interval within .05 of the paper's",
        POWER,
        "wider than the paper's gap between Newton and gradient descent (.034): both rows met it at once",
    ),
)
MAIN_CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim("a-falls", "From the first layer that beats the controls on, the readout's error falls at every layer.",
              f"{P} Fig 2a", "falls", below(1.0), "largest ratio of neighbouring layers", "exploratory",
              _means(0.8, 1.0, 0.019)),
        Claim("a-order",
              "With more examples than dimensions, the readout's error falls superlinearly over the middle layers.",
              f"{P} Fig 2a", "superlinear", above(1.0), "order of convergence", "confirmatory",
              _means(2.0, 1.0, 0.51),
              (Replaced("value and interval above 1, of 3 seeds", POWER, "power 46% at three seeds: now five"),)),
        Claim("a-flat",
              "With more examples than dimensions, the last layer gains at most half of what the steepest layer gains.",
              f"{P} Fig 2a", "flattens", below(0.5), "share of the steepest log gain", "confirmatory",
              _means(0.3, 0.8, 0.037)),
        Claim("b-slope", "The Newton step that matches a layer best grows by about 3 a layer until it saturates.",
              f"{P} Fig 3/8", "3.0", within(1.5, 4.5), "steps a layer", "confirmatory", _means(3.0, 1.0, 0.21)),
        Claim("b-linear", "The Newton step that matches a layer best grows along a straight line over the layers.",
              f"{P} Fig 3/8", "linear", above(0.9), "R2 of a line", "confirmatory", _means(0.97, 0.8, 0.018)),
        Claim("b-saturates", "The last layer adds at most half as many Newton steps as the mean layer before it.",
              f"{P} Fig 3/8", "saturates", below(0.5), "share of the mean gain", "confirmatory",
              _means(0.2, 1.0, 0.11)),
        Claim("c-slope", "The gradient-descent step that matches a layer best grows geometrically over the layers.",
              f"{P} Fig 10", "x2.7 a layer (log2: 1.4)", within(0.75, 2.25), "doublings a layer", "confirmatory",
              _means(1.4, 0.3, 0.13)),
        Claim("c-single",
              "One layer of the transformer advances its best-matching step of gradient descent by more than"
              " a hundred.",
              f"{P} Fig 10", "hundreds", above(100.0), "GD steps of the largest gain", "confirmatory",
              _means(200.0, 20.0, 32.0)),
        Claim("c-one-fact",
              "Newton's step k is nearest to step 2^(k/2) of gradient descent, so that either growth follows from the "
              "other.",
              "this project", "0.5", within(0.4, 0.6), "doublings a Newton step", "identity", Exact(0.5, 1.0)),
        Claim("d-slope", "The Newton step whose weights match a layer's induced weights grows by about 3 a layer.",
              f"{P} Fig 9", "3.0", within(1.5, 4.5), "steps a layer", "confirmatory", _means(3.0, 1.0, 0.1)),
        Claim("d-first", "The induced weights of the first layer resemble no step of Newton or gradient descent.",
              f"{P} Fig 9, 14", "below .07", below(0.2), "best SimW of the first layer", "confirmatory",
              _means(0.05, 0.5, 0.022)),
        Claim("e-bfgs", "The BFGS step that matches a layer best grows over the later layers.",
              f"{P} Fig 11", "linear", above(0.5), "steps a layer", "confirmatory", _means(2.0, 0.0, 0.3),
              (Replaced("value and interval of the R2 of a line above 0.9", POWER,
                        "power 4%: over three or four layers R2 spreads by .4 between seeds", True),)),
        Claim("e-cg", "Conjugate gradient is slower than a layer: its best-matching step grows by more than 1 a layer.",
              f"{P} Fig 12", "slower", above(1.0), "steps a layer", "confirmatory", _means(1.25, 1.0, 0.058)),
        Claim("e-lbfgs", "L-BFGS is slower than a layer: its best-matching step grows by more than 1 a layer.",
              f"{P} Fig 12", "slower", above(1.0), "steps a layer", "confirmatory", _means(2.0, 1.0, 0.17)),
        Claim("j-ols", "With more than one example, the last layer's induced weights are those of least squares.",
              f"{P} Fig 14", "about 1", above(0.9), "SimW to OLS", "confirmatory", _means(0.99, 0.8, 0.00095)),
        Claim("j-dip", "The last layer's weights are less like least squares where examples are as many as dimensions.",
              f"{P} Fig 14", "dip", below(0.0), "SimW at t = d minus at its sides", "confirmatory",
              _means(-0.05, 0.0, 0.0072)),
        Claim("k-span",
              "Induced weights lie in the span of the examples, also where these are fewer than the dimensions.",
              f"{P} Fig 27", "residual MSE up to 1.2e-4", below(0.05), "share of |w|^2 outside", "confirmatory",
              _means(0.01, 0.5, 0.0025)),
        Claim("n-gd", "Gradient descent needs steps in proportion to the condition number kappa.",
              f"{P} s3", "1", within(0.9, 1.1), "log-log slope", "identity", Exact(1.0, 0.5)),
        Claim("n-newton", "Newton's method from alpha S needs steps in proportion to 2 log2 kappa.",
              f"{P} s3", "log kappa", within(1.6, 2.4), "steps a doubling of kappa", "identity", Exact(2.0, 1.0)),
        Claim("n-quadratic", "For Newton's method, squaring the wanted error costs one more step.",
              f"{P} s3", "loglog 1/eps", within(0.5, 1.5), "steps", "identity", Exact(1.0, 2.0)),
        Claim("n-cg", "Conjugate gradient needs steps in proportion to the root of kappa.",
              f"{P} A.2.3", "1/2", within(0.4, 0.6), "log-log slope", "identity", Exact(0.5, 1.0)),
        Claim("theorem", "A hand-constructed transformer computes k Newton steps exactly, for k from 1 to 5.",
              f"{P} Thm 5.1", "exact", below(1e-8), "largest error, k = 1..5", "identity", Exact(1e-15, 0.01)),
        Claim("theorem-depth", "A hand-constructed transformer needs at most k + 8 layers to compute k Newton steps.",
              f"{P} Thm 5.1", "8", within(0.0, 8.0), "layers beyond k", "identity", Exact(2.0, 9.0)),
        Claim("table-tf-newton", "The transformer's errors are as similar to Newton's best step as the paper reports.",
              f"{P} Table 1", "0.991", _near(0.991), "SimE", "confirmatory", _means(0.991, 0.957, 0.0034), WIDE),
        Claim("table-tf-gd",
              "The transformer's errors are as similar to gradient descent's best step as the paper reports.",
              f"{P} Table 1", "0.957", _near(0.957), "SimE", "confirmatory", _means(0.957, 0.991, 0.0024), WIDE),
        Claim("table-tf-ogd",
              "The transformer's errors are as similar to online gradient descent's as the paper reports.",
              f"{P} Table 1", "0.806", within(0.756, 0.856), "SimE", "confirmatory", _means(0.806, 0.954, 0.014)),
        Claim("table-order",
              "The transformer's errors are more similar to Newton's best step than to gradient descent's.",
              f"{P} Table 1", "0.034", above(0.0), "SimE Newton - GD", "confirmatory", Planted("table-order", SEEDS),
              (Replaced("value and interval above 0.01", POWER,
                        "power 0: a planted net that runs Newton's method leads by .004, gradient descent by -.003"),)),
        Claim("filter-growth",
              "From layer to layer the residual filter of most nets is squared, as under Newton's method, and not "
              "multiplied by a constant, as under gradient descent.",
              P, "Newton, or some second order", above(0.25), "share of nets", "confirmatory",
              PlantedShares("filter-growth", SEEDS),
              (Replaced("share of climbing layers whose filter is identified as Newton's above 0.5, then 0.25", POWER,
                        "power 0: with 20 isotropic examples in 5 dimensions one layer's filter fits several families, "
                        "whichever it is; only how layers follow one another tells them apart", True),
               Replaced("log-log slope of the filters over small eigenvalues within [1.5, 2.5]", POWER,
                        "power 0: 2 holds as the eigenvalue goes to 0; a planted net that runs Newton's method has .42 "
                        "at this size, gradient descent .30", True),
               Replaced("log-log slope of the filters over small eigenvalues above 0.36", POWER,
                        "a bound between two planted slopes says nothing of nets that run neither: how r = 1 - f moves "
                        "from layer to layer is tested in its place, with any size and start", True))),
        Claim("filter-linear", "Readouts of climbing layers are linear in query and labels, as induced weights need.",
              f"{P} s3", "assumed", below(0.3), "largest share not linear", "confirmatory", _means(0.05, 0.5, 0.13),
              (Replaced("value and interval below 0.1", POWER, "power 6%: narrower than the interval"),)),
        Claim("causal-newton",
              "Moving a layer's Newton probe direction moves the output as the iterate predicts.",
              "this project", PROJECT, within(0.5, 1.5), "causal slope, mean of layers", "confirmatory",
              _means(1.0, 0.0, 0.099)),
        Claim("causal-lead",
              "Moving a layer's Newton probe direction moves the output more than moving its gradient-descent one.",
              "this project", PROJECT, above(0.0), "slope Newton - GD", "confirmatory", _means(0.1, 0.0, 0.015)),
        Claim("ood-x", "On covariates twice as large as in training, the error in label variances stays.",
              "this project", PROJECT, below(2.0), "error ratio, t > d", "confirmatory", _means(1.2, 4.0, 0.3)),
        Claim("ood-w", "On weights twice as large as in training, the error in label variances stays.",
              "this project", PROJECT, below(2.0), "error ratio, t > d", "confirmatory", _means(1.2, 4.0, 0.21)),
        Claim("ood-spectrum", "On covariates of condition number 10 in place of 1, the error in label variances stays.",
              "this project", PROJECT, below(2.0), "error ratio, t > d", "confirmatory", _means(1.2, 4.0, 0.053)),
    )
}  # fmt: skip
CLAIMS: dict[str, Claim] = {**MAIN_CLAIMS, **GROWTH_CLAIMS, **CONDITION_CLAIMS}
