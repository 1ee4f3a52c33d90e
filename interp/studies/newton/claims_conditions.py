"""Claims of the study of layers against Newton's method on the side conditions: other tasks, sizes, nets.

Each condition is trained with several seeds, paired with those of the condition it is compared with. The spread between
seeds that the powers rest on is assumed (none has been measured: until November 2026 there was one seed a condition).
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion, Replaced
from interp.studies.power import Means

P = "Fu et al. 2310.17086"
PROJECT = "none stated (this project)"
POWER = "2026-11-30"  # the day on which powers were first computed
SEEDS = 4
SPREAD = 0.1  # of the log of a ratio between seeds, assumed
above, below, within = Criterion.above, Criterion.below, Criterion.within


def _ratio(true: float, false: float, sd: float = SPREAD) -> Means:
    return Means(true, false, sd, SEEDS, "log")


def _was(old: str, why: str = "") -> tuple[Replaced, ...]:
    unit = "one training seed, intervals over its prompts: the unit is the training seed"
    return (Replaced(old, POWER, "; ".join(part for part in (unit, why) if part), True),)


NARROW = "narrower than the interval of three seeds; under the rival the ratio is 2.5 or .4"
CONDITION_CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim("f-newton",
              "At condition number 100 the last layer matches as many Newton steps as on isotropic covariates.",
              f"{P} Fig 4/16", "21 and 21", within(0.67, 1.5), "ratio of best steps", "confirmatory",
              _ratio(1.0, 2.5), _was("value and interval within [0.8, 1.25]", NARROW)),
        Claim("f-mild",
              "At condition number 10 the last layer matches as many Newton steps as on isotropic covariates.",
              f"{P} Fig 4", "same", within(0.67, 1.5), "ratio of best steps", "confirmatory", _ratio(1.0, 2.5),
              _was("value and interval within [0.8, 1.25]", NARROW)),
        Claim("f-gd",
              "At condition number 100 the last layer matches more steps of gradient descent than on isotropic "
              "covariates.",
              f"{P} Fig 16", "2,000 and more", above(1.0), "ratio of best steps", "confirmatory",
              _ratio(3.0, 1.0, 0.2), _was("value and interval above 1")),
        Claim("f-solved", "At condition number 100 the net solves the problem where examples outnumber dimensions.",
              f"{P} Fig 4", "as Newton at 21", below(0.05), "error / label variance", "confirmatory",
              Means(0.02, 0.2, 0.005, SEEDS), _was("value and interval below 0.05")),
        Claim("g-wide", "A one-head net wider than the dimension computes least squares.",
              f"{P} Fig 6", "mimics", above(0.9), "SimE to OLS, widest net", "confirmatory",
              Means(0.97, 0.73, 0.02, SEEDS), _was("value and interval above 0.9")),
        Claim("g-narrow", "A one-head net narrower than the dimension does not compute least squares.",
              f"{P} Fig 6", "fails", above(3.0), "error ratio narrowest / widest, t > d", "confirmatory",
              _ratio(6.0, 1.0), _was("value and interval above 3")),
        Claim("h-flat", "The readouts of an LSTM gain nothing from layer to layer.",
              f"{P} Fig 5", "none", above(0.9), "error ratio last / first layer", "confirmatory",
              Means(0.97, 0.5, 0.02, SEEDS), _was("value and interval above 0.9")),
        Claim("h-newton", "An LSTM is as good as about 5 steps of Newton's method.",
              f"{P} Fig 5", "5", within(3.0, 7.0), "best Newton step", "confirmatory", Means(5.0, 9.0, 0.6, SEEDS),
              _was("value and interval within [3, 7]")),
        Claim("h-recent", "An LSTM forgets: its error at a repeated example grows with that example's age.",
              f"{P} Fig 7c", "grows", above(1.0), "error ratio oldest / newest", "confirmatory",
              _ratio(2.0, 1.0, 0.2), _was("value and interval above 1")),
        Claim("h-keeps", "The transformer does not forget: its error at a repeated example stays with its age.",
              f"{P} Fig 7c", "flat", below(2.0), "error ratio oldest / newest", "confirmatory",
              _ratio(1.0, 3.0, 0.2), _was("value and interval below 2")),
        Claim("i-one-head", "With one head, the matched Newton step grows by as much a layer as with several.",
              f"{P} Figs 22-25", "same (read off: .7)", within(0.6, 1.67), "ratio of slopes", "confirmatory",
              _ratio(1.0, 0.35), _was("value and interval within [0.67, 1.5]", "narrower than three seeds allow")),
        Claim("i-depth", "With twice the layers, the matched Newton step grows by as much a layer.",
              f"{P} Figs 22-25", "same (read off: .5)", within(0.6, 1.67), "ratio of slopes, full / half depth",
              "confirmatory", _ratio(1.0, 0.35),
              _was("value and interval within [0.67, 1.5]", "narrower than three seeds allow")),
        Claim("l-order", "With label noise .1, the error above ridge regression's still falls superlinearly.",
              f"{P} Fig 19", "superlinear", above(1.0), "order of convergence", "confirmatory",
              Means(2.0, 1.0, 0.3, SEEDS), _was("value and interval above 1")),
        Claim("l-slope", "With label noise .1, the matched Newton step still grows by about 3 a layer.",
              f"{P} Fig 19", "3.0", within(1.5, 4.5), "steps a layer", "confirmatory", Means(3.0, 1.0, 0.3, SEEDS),
              _was("value and interval within [1.5, 4.5]")),
        Claim("m-gd",
              "On targets that are two-layer nets, the matched step of gradient descent on the net's own weights grows "
              "geometrically.",
              f"{P} Figs 20, 21", "log-linear", above(0.0), "doublings a layer", "confirmatory",
              Means(1.0, 0.0, 0.2, SEEDS), _was("value and interval above 0")),
        Claim("m-lower",
              "On targets that are two-layer nets, errors are less similar to gradient descent's than on linear ones.",
              f"{P} Figs 20, 21", "much lower", above(0.05), "SimE linear - net", "confirmatory",
              Means(0.15, 0.0, 0.02, SEEDS), _was("value and interval above 0.05")),
        Claim("m-tanh", "On targets that are tanh nets, more than a quarter of the layers beat no control.",
              f"{P} Fig 21", "5 of 12 layers", above(0.25), "share of layers", "exploratory",
              Means(0.42, 0.1, 0.05, SEEDS), _was("value above 0.25")),
        Claim("table-lstm-newton", "The LSTM's errors are as similar to Newton's best step as the paper reports.",
              f"{P} Table 1", "0.920", within(0.89, 0.95), "SimE", "confirmatory", Means(0.92, 0.957, 0.005, SEEDS),
              _was("value and interval within .05", "wider than the gap to the transformer's gradient descent")),
        Claim("table-lstm-gd",
              "The LSTM's errors are as similar to gradient descent's best step as the paper reports.",
              f"{P} Table 1", "0.916", within(0.886, 0.946), "SimE", "confirmatory",
              Means(0.916, 0.957, 0.005, SEEDS),
              _was("value and interval within .05", "wider than the gap to the transformer's gradient descent")),
        Claim("table-lstm-ogd", "The LSTM's errors are as similar to online gradient descent's as the paper reports.",
              f"{P} Table 1", "0.954", within(0.904, 1.0), "SimE", "confirmatory", Means(0.954, 0.806, 0.01, SEEDS),
              _was("value and interval within .05")),
        Claim("long", "On prompts with twice as many examples as in training, the error does not grow.",
              "this project", PROJECT, below(2.0), "error ratio, n to 2n over t = n", "confirmatory", _ratio(1.0, 4.0),
              _was("value and interval below 2")),
    )
}  # fmt: skip
