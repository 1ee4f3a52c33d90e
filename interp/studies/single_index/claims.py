"""The claims on sequence single-index models (Arnaboldi et al. 2506.02651): what is said, where, and what counts as
reproducing it.

tau is the number of steps of SGD until the overlap with the hidden direction passes a threshold, d the dimension, L the
number of tokens, SIE the sequence information exponent; a tied network has one weight vector for all tokens. A replica
is an SGD run of its own, so replicas are the unit. Rivals, from which a criterion's size is computed: the law of the
next exponent, a gain of sqrt(L), a coin for each replica. Standard errors are November's, of 144 replicas, for 288.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion, Replaced
from interp.studies.power import Estimates, Exact, Means, Shares

P = "Arnaboldi et al. 2506.02651"
PROJECT = "none stated (found on this scale)"
POWER = "2026-11-30"  # the day on which powers were first computed
above, below, within, equals = Criterion.above, Criterion.below, Criterion.within, Criterion.equals
SOME, ENDS = 64, 96  # replicas of the shares that escape, and of those that end in the semantic minimum
# of the quick scale: replicas of every other chain; seeds of ordinary runs and of layers
REPLICAS, RUNS, LAYERS = 288, 8, 8
SLOPE = 0.02  # by which slopes of emergence and of crossing may differ
COVERS = (Replaced("distance from 0 to the interval of the difference is 0", POWER,
                   "a wide interval met it: agreement is a difference shown to be small"),)  # fmt: skip


def _chain(true: float, false: float, se: float) -> Estimates:
    """Of medians over replicas of a chain."""
    return Estimates(true, false, se, n=REPLICAS)


CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("exponents", "The information exponent of every example link is the one that the paper states.",
              f"{P} section 3", "1 to 5", equals(1.0), "share of examples", "identity", Exact(1.0, 0.91)),
        Claim("equal-waits",
              "The reduced chain and SGD on d-dimensional weights wait equally long before they escape.",
              f"{P} section 2", "equal in law", within(0.8, 1.25), "ratio of medians", "identity",
              Estimates(1.0, 1.5, 0.068, "log")),
        Claim("slope-1", "At SIE 1, the escape time tau grows like d.",
              f"{P} Thm 1", "1", within(0.95, 1.1), "log-log slope", "confirmatory", _chain(1.05, 1.25, 0.0025)),
        Claim("slope-2", "At SIE 2, the escape time tau grows like d log d.",
              f"{P} Thm 1", "1", within(0.93, 1.08), "slope of tau/log(sqrt(d)/2)", "confirmatory",
              _chain(0.97, 0.8, 0.0085)),
        Claim("slope-3", "At SIE 3, the escape time tau grows like d^2.",
              f"{P} Thm 1", "2", within(1.8, 2.5), "log-log slope", "confirmatory", _chain(2.2, 1.5, 0.067)),
        Claim("gain-1", "At SIE 1 and equal learning rates, a tied network escapes L times as early as an untied one.",
              f"{P} Fig. 8", "L", within(0.85, 1.15), "gain / L", "confirmatory", _chain(1.0, 0.35, 0.0066)),
        Claim("gain-2", "At SIE 2 and equal learning rates, a tied network escapes L times as early as an untied one.",
              f"{P} Fig. 7", "L", within(0.85, 1.15), "gain / L", "confirmatory", _chain(1.0, 0.35, 0.024)),
        Claim("rule-equal", "At SIE 2 and equal learning rates, tying the tokens gains a factor L.",
              f"{P} Thm 2", "1", within(0.8, 1.2), "exponent of L", "confirmatory", _chain(1.0, 1.5, 0.013)),
        Claim("rule-root",
              "At SIE 2, with a tied rate sqrt(L) times the untied one, tying the tokens gains a factor L^1.5.",
              f"{P} Thm 2", "1.5", within(1.3, 1.7), "exponent of L", "confirmatory", _chain(1.5, 1.0, 0.017)),
        Claim("rule-linear",
              "At SIE 2, with a tied rate L times the untied one, tying the tokens gains a factor L^2.",
              f"{P} Fig. 3", "2", within(1.8, 2.2), "exponent of L", "confirmatory", _chain(2.0, 1.5, 0.022)),
        Claim("rule-best", "At SIE 2, with each network at its best rate, tying the tokens gains a factor L^2.",
              f"{P} Fig. 3", "2", within(1.8, 2.2), "exponent of L", "confirmatory", _chain(2.0, 1.0, 0.051)),
        Claim("cancel-tied", "Of the target z1 - z2, whose tokens cancel, a tied network learns nothing.",
              f"{P} App. E.4", "0", below(0.12), "share escaped", "confirmatory", Shares(0.01, 0.5, SOME)),
        Claim("cancel-untied", "The target z1 - z2, whose tokens cancel, is learned by an untied network.",
              f"{P} App. E.4", "1", above(0.85), "share escaped", "confirmatory", Shares(0.99, 0.5, SOME)),
        Claim("stairs-order", "On the staircase target, the first token's direction is found before the second's.",
              "authors' code", PROJECT, above(1.0), "tau_2 / tau_1", "exploratory", _chain(2.0, 1.0, 0.02)),
        Claim("stairs-control", "Without the staircase's easy term, the wait for the second token is much longer.",
              "authors' code", PROJECT, above(2.0), "control tau_2 / tau_2", "exploratory", _chain(3.0, 1.0, 0.029)),
        Claim("turn", "At a = 1, the steepest way out of the origin turns from semantic to positional at omega .64.",
              f"{P} Fig. 5", "0.64", within(0.63, 0.65), "omega", "identity", Exact(0.641, 0.5)),
        Claim("levels",
              "At a = 1, the semantic and the positional minimum are equally deep at an omega beyond that turn.",
              f"{P} Fig. 4", "semantic global at .67", within(0.67, 0.8), "omega", "identity", Exact(0.737, 0.64)),
        Claim("ends-semantic", "At d = 100 and omega .5, SGD ends in the semantic minimum.",
              f"{P} Fig. 12", "1", above(0.9), "share", "confirmatory", Shares(0.99, 0.5, ENDS)),
        Claim("ends-positional", "At d = 100 and omega .75, SGD ends in the positional minimum.",
              f"{P} Fig. 12", "0", below(0.25), "share semantic", "confirmatory", Shares(0.05, 0.5, ENDS)),
        Claim("sharper",
              "At d = 1000, the share of runs that end in the semantic minimum falls steeply between omega .6 and .7.",
              f"{P} Figs. 5, 12", "steeper than d = 100", above(0.5), "difference of shares", "confirmatory",
              Estimates(0.8, 0.3, 0.06)),
        Claim("misaligned",
              "At a^2 = .5776 and omega .95, the only minimum is semantic and the way out of the origin positional.",
              f"{P} Figs. 4, 13", "misaligned", equals(1.0), "regime found", "identity", Exact(1.0, 0.0)),
        Claim("pe-lowers",
              "Positional encodings lower the order of the loss of 4/3 + He4(z1) + 2 He4(z2) from 4 to 2.",
              f"{P} Fig. 2", "4 to 2, escaping", within(-0.31, -0.28), "H_ee", "identity", Exact(-0.295, 0.0)),
        Claim("pe-keeps", "Positional encodings open no way down at order 2 for He4(z1) + He4(z2).",
              f"{P} Fig. 1", "stays 4", above(0.0), "smallest curvature", "identity", Exact(1.04, -0.295)),
        Claim("odd-blind", "Without encodings, the loss of the odd targets He1 + He1 and He3 + He3 is flat.",
              f"{P} App. D", "nothing learned", below(1e-9), "largest slope up to order 3", "identity",
              Exact(1e-16, 0.1)),
        Claim("odd-order", "Injected encodings give odd targets their exponents as orders of the loss.",
              f"{P} App. D, Fig. 6", "1 and 3", equals(1.0), "share of links", "identity", Exact(1.0, 0.5)),
        Claim("odd-none", "Without encodings, SGD does not escape on He1 + He1.",
              f"{P} App. D", "0", below(0.12), "share escaped", "confirmatory", Shares(0.01, 0.5, SOME)),
        Claim("odd-injected", "With injected encodings, SGD escapes on He1 + He1.",
              f"{P} Fig. 6", "1", above(0.85), "share escaped", "confirmatory", Shares(0.99, 0.5, SOME)),
        Claim("inside-smooth",
              "With the encoding inside the target's softmax, the global minimum turns with omega without a jump.",
              f"{P} App. F.3", "smooth", below(45.0), "degrees, largest turn in a step of .05 of omega", "identity",
              Exact(13.75, 90.0)),
        Claim("bridge-times", "Emergence steps read from checkpoints are the first-crossing times of the overlaps.",
              "this project", PROJECT, below(0.05), "worst relative error of a median", "exploratory",
              _chain(0.0065, 0.1, 0.0015)),
        Claim("bridge-slope-1", "At SIE 1, emergence steps read from checkpoints grow like d, as tau does.",
              f"{P} Thm 1", "1", within(0.95, 1.1), "log-log slope", "confirmatory", _chain(1.05, 1.25, 0.0026)),
        Claim("bridge-slope-2", "At SIE 2, emergence steps read from checkpoints grow like d log d, as tau does.",
              f"{P} Thm 1", "1", within(0.93, 1.08), "slope of tau/log(sqrt(d)/2)", "confirmatory",
              _chain(0.97, 0.8, 0.0092)),
        Claim("bridge-gap-1", "At SIE 1, emergence steps and crossing times grow with the same slope.",
              "this project", PROJECT, within(-SLOPE, SLOPE), "difference of slopes", "exploratory",
              _chain(0.0, 0.05, 0.0022), COVERS),
        Claim("bridge-gap-2", "At SIE 2, emergence steps and crossing times grow with the same slope.",
              "this project", PROJECT, within(-SLOPE, SLOPE), "difference of slopes", "exploratory",
              _chain(0.0, 0.05, 0.0022), COVERS),
        Claim("ordinary-runs", "Runs of the ordinary training loop emerge when the reduced chain escapes.",
              "this project", PROJECT, within(0.5, 2.0), "ratio of medians", "exploratory",
              Means(1.0, 3.0, 0.33, RUNS, "log")),
        Claim("attention-length",
              "The wait of one ordinary attention layer grows with the number of tokens as a tied network's does (not "
              "at all), and not as an untied one's.",
              f"{P} Thm 2, SIE 1", "0 tied, 1 untied", below(0.5), "exponent of L", "confirmatory",
              Means(0.0, 1.0, 0.18, LAYERS)),
    )
}  # fmt: skip
