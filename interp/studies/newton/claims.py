"""Claims of the study of layers against Newton's method (Fu, Chen, Jia & Sharan), each with its criterion.

Bounds were fixed before the runs; the statements of `a-falls` and `m-tanh` were narrowed after a first look at them.

Letters follow the paper's claims as this project lists them; "table" rows are its Table 1; rows whose source is this
project ask what the paper's own figures cannot: which filter a layer applies, and what holds out of distribution.
Criteria take the paper's figure where it carries over to a smaller net, else its direction.
"""

from __future__ import annotations

from interp.studies.ledger import Claim, Criterion

P = "Fu et al. 2310.17086"
OURS = "none stated (this project)"
above, below, within = Criterion.above, Criterion.below, Criterion.within
NEAR = 0.05  # how far from a printed similarity still counts as that similarity


def _near(value: float) -> Criterion:
    return within(value - NEAR, min(1.0, value + NEAR))


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim("a-falls", "Readout error falls from layer to layer once it beats the controls", f"{P} Fig 2a", "falls",
              below(1.0), "largest ratio of neighbouring layers"),
        Claim("a-order", "For t > d the error falls superlinearly over the middle layers", f"{P} Fig 2a",
              "superlinear", above(1.0), "order of convergence"),
        Claim("a-flat", "For t > d the last layer gains less than the steepest one", f"{P} Fig 2a", "flattens",
              below(0.5), "share of the steepest log gain"),
        Claim("b-slope", "Best Newton step grows by about 3 a layer until it saturates", f"{P} Fig 3/8", "3.0",
              within(1.5, 4.5), "steps a layer"),
        Claim("b-linear", "... and grows linearly", f"{P} Fig 3/8", "linear", above(0.9), "R2 of a line"),
        Claim("b-saturates", "The last layer adds less than the mean layer before", f"{P} Fig 3/8", "saturates",
              below(0.5), "share of the mean gain"),
        Claim("c-slope", "Best GD step grows geometrically over the layers", f"{P} Fig 10",
              "x2.7 a layer (log2: 1.4)", within(0.75, 2.25), "doublings a layer"),
        Claim("c-single", "A single layer is worth hundreds of GD steps", f"{P} Fig 10", "hundreds", above(100.0),
              "GD steps of the largest gain"),
        Claim("c-one-fact", "Newton step k matches GD step 2^(k/2): b and c are one fact", "this project", "0.5",
              within(0.4, 0.6), "doublings a Newton step"),
        Claim("d-slope", "Similarity of induced weights shows the same growth", f"{P} Fig 9", "3.0",
              within(1.5, 4.5), "steps a layer"),
        Claim("d-first", "The first layers' induced weights resemble nothing", f"{P} Fig 9, 14", "below .07",
              below(0.2), "best SimW of the first layer"),
        Claim("e-bfgs", "Best BFGS step grows linearly over the later layers", f"{P} Fig 11", "linear", above(0.9),
              "R2 of a line"),
        Claim("e-cg", "Conjugate gradient is slower: more than a step a layer", f"{P} Fig 12", "slower", above(1.0),
              "steps a layer"),
        Claim("e-lbfgs", "L-BFGS is slower: more than a step a layer", f"{P} Fig 12", "slower", above(1.0),
              "steps a layer"),
        Claim("f-newton", "kappa 100: the last layer matches as many Newton steps as at Sigma = I", f"{P} Fig 4/16",
              "21 and 21", within(0.8, 1.25), "ratio of best steps"),
        Claim("f-mild", "kappa 10: the last layer matches as many Newton steps as at Sigma = I", f"{P} Fig 4",
              "same", within(0.8, 1.25), "ratio of best steps"),
        Claim("f-gd", "kappa 100: the last layer matches more GD steps than at Sigma = I", f"{P} Fig 16",
              "2,000 and more", above(1.0), "ratio of best steps"),
        Claim("f-solved", "kappa 100: the net solves the problem for t > d", f"{P} Fig 4", "as Newton at 21",
              below(0.05), "error / label variance"),
        Claim("g-wide", "A one-head net wider than d mimics least squares (d 20: widths 32, 64)", f"{P} Fig 6",
              "mimics", above(0.9), "SimE to OLS, widest net"),
        Claim("g-narrow", "One narrower than d fails (d 20: widths 8, 16)", f"{P} Fig 6", "fails", above(3.0),
              "error ratio narrowest / widest, t > d"),
        Claim("h-flat", "LSTM: no gain over layers", f"{P} Fig 5", "none", above(0.9),
              "error ratio last / first layer"),
        Claim("h-newton", "LSTM: as good as 5 Newton steps", f"{P} Fig 5", "5", within(3.0, 7.0), "best Newton step"),
        Claim("h-recent", "LSTM: forgets: error at a repeated example grows with its age", f"{P} Fig 7c", "grows",
              above(1.0), "error ratio oldest / newest"),
        Claim("h-keeps", "The transformer does not forget", f"{P} Fig 7c", "flat", below(2.0),
              "error ratio oldest / newest"),
        Claim("i-one-head", "One head grows as fast as several (Newton steps a layer)", f"{P} Figs 22-25",
              "same (read off: .7)", within(0.67, 1.5), "ratio of slopes"),
        Claim("i-depth", "Twice the layers grow as fast (Newton steps a layer)", f"{P} Figs 22-25",
              "same (read off: .5)", within(0.67, 1.5), "ratio of slopes, full / half depth"),
        Claim("j-ols", "The last layer's weights are those of least squares once t > 1", f"{P} Fig 14", "about 1",
              above(0.9), "SimW to OLS"),
        Claim("j-dip", "... except for a dip near t = d", f"{P} Fig 14", "dip", below(0.0),
              "SimW at t = d minus at its sides"),
        Claim("k-span", "Induced weights lie in the span of the examples, also for t < d", f"{P} Fig 27",
              "residual MSE up to 1.2e-4", below(0.05), "share of |w|^2 outside"),
        Claim("l-order", "Noise .1: the error above ridge's still falls superlinearly", f"{P} Fig 19",
              "superlinear", above(1.0), "order of convergence"),
        Claim("l-slope", "Noise .1: best Newton step still grows linearly", f"{P} Fig 19", "3.0", within(1.5, 4.5),
              "steps a layer"),
        Claim("m-gd", "Two-layer nets: best GD step (on the net's own weights) grows geometrically", f"{P} Figs 20, 21",
              "log-linear", above(0.0), "doublings a layer"),
        Claim("m-lower", "Two-layer nets: similarity to GD is lower than for linear functions", f"{P} Figs 20, 21",
              "much lower", above(0.05), "SimE linear - net"),
        Claim("m-tanh", "Two-layer tanh nets: nothing is read off the first layers (preprocessing)", f"{P} Fig 21",
              "5 of 12 layers", above(0.25), "share of layers that beat no control"),
        Claim("n-gd", "GD needs steps in proportion to kappa", f"{P} s3", "1", within(0.9, 1.1), "log-log slope"),
        Claim("n-newton", "Newton needs steps in proportion to log kappa (2 log2 kappa from alpha S)", f"{P} s3",
              "log kappa", within(1.6, 2.4), "steps a doubling of kappa"),
        Claim("n-quadratic", "Newton: squaring the wanted error costs one more step", f"{P} s3", "loglog 1/eps",
              within(0.5, 1.5), "steps"),
        Claim("n-cg", "Conjugate gradient needs steps in proportion to sqrt kappa", f"{P} A.2.3", "1/2",
              within(0.4, 0.6), "log-log slope"),
        Claim("theorem", "k Newton steps in at most k + 8 layers, exactly", f"{P} Thm 5.1", "exact", below(1e-8),
              "largest error, k = 1..5"),
        Claim("theorem-depth", "... layers beyond k", f"{P} Thm 5.1", "8", within(0.0, 8.0), "layers"),
        Claim("table-tf-newton", "Transformer, Newton: SimE at the best step", f"{P} Table 1", "0.991", _near(0.991),
              "SimE"),
        Claim("table-tf-gd", "Transformer, GD: SimE at the best step", f"{P} Table 1", "0.957", _near(0.957), "SimE"),
        Claim("table-tf-ogd", "Transformer, OGD: SimE", f"{P} Table 1", "0.806", _near(0.806), "SimE"),
        Claim("table-lstm-newton", "LSTM, Newton: SimE at the best step", f"{P} Table 1", "0.920", _near(0.920),
              "SimE"),
        Claim("table-lstm-gd", "LSTM, GD: SimE at the best step", f"{P} Table 1", "0.916", _near(0.916), "SimE"),
        Claim("table-lstm-ogd", "LSTM, OGD: SimE", f"{P} Table 1", "0.954", _near(0.954), "SimE"),
        Claim("table-order", "The transformer is more similar to Newton than to GD", f"{P} Table 1", "0.034",
              above(0.01), "SimE Newton - GD"),
        Claim("filter-named", "Middle layers' filters are told to be Newton's", P, "Newton, or some second order",
              above(0.5), "share of layers"),
        Claim("filter-slope", "Middle layers' filters rise as lambda^2 at small eigenvalues (GD and ridge: 1)", P,
              "2 (alpha S start)", within(1.5, 2.5), "log-log slope"),
        Claim("filter-linear", "Readouts are linear in query and labels, as induced weights need", f"{P} s3",
              "assumed", below(0.1), "largest share not linear"),
        Claim("causal-newton", "Moving a layer's Newton probe direction moves the output as the iterate predicts",
              "this project", OURS, within(0.5, 1.5), "causal slope, mean of layers"),
        Claim("causal-lead", "... and more than moving its GD probe direction does", "this project", OURS, above(0.0),
              "slope Newton - GD"),
        Claim("ood-x", "x twice as large: the error in label variances stays", "this project",
              OURS, below(2.0), "error ratio, t > d"),
        Claim("ood-w", "w twice as large: the error in label variances stays", "this project", OURS, below(2.0),
              "error ratio, t > d"),
        Claim("ood-spectrum", "Spectrum of kappa 10 instead of 1: the error stays", "this project", OURS, below(2.0),
              "error ratio, t > d"),
        Claim("long", "Twice as many examples as in training: the error stays", "this project", OURS, below(2.0),
              "error ratio, n to 2n over t = n"),
    )
}  # fmt: skip
