"""The claims on one layer of linear attention as one step of descent (Mahankali et al. 2307.03576):
what is said, where, and what counts as reproducing it. Values measured for them are in the study of that
name."""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion

A, C, Z = "Mahankali et al. 2307.03576", "Ahn et al. 2306.00297", "Zhang et al. 2306.09927"
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim(
            "closed-form",
            "Least squares over drawn prompts finds G* = ((n+1)S + cW^-1)^-1 for four laws",
            f"{A} Thm 1, 2; {C} Thm 1",
            "G* itself",
            Criterion.below(0.02),
            "worst relative error",
        ),
        Claim(
            "other-laws",
            "Least squares finds the step of spheres, ReLU nets and cubic targets",
            f"{A} Thm 3",
            "eta* itself",
            Criterion.below(0.02),
            "worst relative error of eta",
        ),
        Claim(
            "heavy-tails",
            "Least squares finds the step of gamma-scaled covariates",
            f"{A} Thm 3, moments of the law",
            "eta* itself",
            Criterion.below(0.06),
            "relative error of eta",
        ),
        Claim(
            "relu-attention",
            "One layer of ReLU attention learns A = 2n/(2(d+2)+n-1) I",
            f"{C} Thm 5",
            "1.21212 at n=20, d=5",
            Criterion.within(0.97, 1.03),
            "step / closed form",
        ),
        Claim(
            "gd-cosine",
            "A trained preconditioner points along the identity",
            f"{A} Thm 1",
            "1",
            Criterion.above(0.999),
            "cosine",
        ),
        Claim(
            "gd-error",
            "A trained preconditioner is one step of descent with eta = 1/(n+d+1)",
            f"{A} Thm 1",
            "0",
            Criterion.below(0.02),
            "relative error of G",
        ),
        Claim(
            "gd-excess",
            "Its population loss is the optimal one",
            f"{A} Thm 1",
            "0",
            Criterion.below(0.001),
            "share of L*",
        ),
        Claim(
            "full-error",
            "All weights trained (noise .5): G_eff is one step of descent",
            f"{A} Thm 1",
            "0",
            Criterion.below(0.05),
            "relative error of G",
        ),
        Claim(
            "full-excess",
            "All weights trained (noise .5): population loss of G_eff",
            f"{A} Thm 1",
            "0",
            Criterion.below(0.002),
            "share of L*",
        ),
        Claim(
            "full-nuisance",
            "All weights trained: the terms in y^2 and xx' vanish",
            f"{A} proof of Thm 1",
            "0",
            Criterion.below(0.03),
            "share of |nG|",
        ),
        Claim(
            "aniso-cosine",
            "Anisotropic covariates: G_eff is the ridge-like G* of the spectrum",
            f"{C} Thm 1",
            "1",
            Criterion.above(0.999),
            "cosine",
        ),
        Claim(
            "aniso-excess",
            "Anisotropic covariates: population loss of G_eff",
            f"{C} Thm 1",
            "0",
            Criterion.below(0.002),
            "share of L*",
        ),
        Claim(
            "test-length",
            "On prompts four times as long the trained layer has the loss that theory gives",
            f"{Z} section 4",
            ".634 at M=80, N=20",
            Criterion.within(0.97, 1.03),
            "loss / closed form",
        ),
        Claim(
            "balance",
            "Gradient flow from a small balanced start ends with value corner tr(Gamma^-2)^(1/4)",
            f"{Z} Thm 4.1",
            "1.4872",
            Criterion.within(0.999, 1.001),
            "corner / closed form",
        ),
        Claim(
            "scaling",
            "log eta falls with log(n+d+1+s2) at slope -1",
            f"{A} Thm 1",
            "-1",
            Criterion.within(-1.03, -0.97),
            "slope",
        ),
        Claim(
            "nonlinear",
            "Targets that are ReLU nets: one step of linear-regression descent, eta = 1/(n+2d+3)",
            f"{A} Thm 3",
            ".030303 at n=20, d=5",
            Criterion.within(0.95, 1.05),
            "eta / closed form",
        ),
        Claim(
            "cubic",
            "Cubic targets: eta = 9/(15(d+6)+9(n-1))",
            f"{A} Thm 3",
            ".026786 at n=20, d=5",
            Criterion.within(0.95, 1.05),
            "eta / closed form",
        ),
        Claim(
            "even",
            "Even targets: nothing is learned",
            f"{A} Thm 3",
            "0",
            Criterion.below(0.05),
            "|tr G|/d over 1/(n+d+1)",
        ),
        Claim(
            "saddle",
            "From a random start, runs whose loss has settled far above the optimum sit at rank one",
            "this project's worked example",
            "none stated",
            Criterion.above(0.9),
            "rank-one share of |nG|^2",
        ),
    )
}
