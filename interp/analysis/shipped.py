"""The analyses that come with the package, one entry each; `interp.analysis.registry` adds those of others."""

from __future__ import annotations

from interp.analysis.entry import Entry

INTERVAL = ("value", "unit", "ci_low", "ci_high", "n")
HERE = "interp.analysis.applies:"
SCORES, LANDSCAPE = "interp.emergence.conclusions:", "interp.landscape.conclusions:"
ATTENTION, NEEDED = "interp.heads.attention_conclusions:", "interp.heads.ablation_conclusions:"
READOUTS, VERDICT = "interp.readouts.conclusions:", "interp.readouts.verdict_conclusions:"
CAUSAL, OVER_RUNS = "interp.causal.conclusions:", "interp.sweep.conclusions:"
HOPS = "interp.heads.hop_conclusions:"
SERIES, PLOTS = "interp.pictures.plots:series", "interp.pictures.special_plots:"
ABLATED = "effect: share of all heads' effect lost with the head alone ablated; 95% CI over prompts."
PATTERNS = "A score is a correlation with a pattern, not proof that the head is needed."
HELD_OUT = (
    "Held-out R2 of linear readouts; that a quantity can be decoded does not show that the model uses it."
)

SHIPPED = (
    Entry(
        "scores", "interp.emergence.scores:Scores",
        "Loss and score at each output position; rows without a step hold Bayes risk and chance level.",
        ("position", "metric", "control", *INTERVAL),
        command="scores RUN",
        section="scores", conclude=SCORES + "scores",
    ),
    Entry(
        "own-score", "interp.emergence.own_score:OwnScore",
        "A score of the user's own with the untrained model's; 95% CI over prompts.",
        ("position", "metric", "control", *INTERVAL),
        command="scores RUN --score module:function", conclude=SCORES + "own_score",
    ),
    Entry(
        "draws", "interp.emergence.draws:CurveDraws",
        "Bootstrap replicates of every score and attention curve; draw j of all rows is one replicate of the run.",
        ("metric", "position", "layer", "head", "draw *"),
        command="emergence RUN",
        section="emergence", conclude=SCORES + "draws", plot=PLOTS + "replicates",
    ),
    Entry(
        "own-draws", "interp.emergence.own_draws:OwnDraws",
        "Bootstrap replicates of a score and a relation of the user's own; draw j of all rows is one of the run.",
        ("metric", "position", "layer", "head", "draw *"),
        command="emergence RUN --score module:function", conclude=SCORES + "draws", plot=PLOTS + "replicates",
    ),
    Entry(
        "overlaps", "interp.emergence.overlaps:Overlaps",
        "Absolute overlap of the weights with the teacher's direction; exact, without sampling error.",
        ("position", "metric", "control", "value", "unit"),
        applies="interp.emergence.overlaps:measurable",
        section="scores", conclude=SCORES + "overlaps",
    ),
    Entry(
        "heads", "interp.heads.heads:HeadScores",
        "Attention mass of each head on the positions that the task defines; a score is not a causal effect.",
        ("layer", "head", "metric", "control", *INTERVAL),
        applies="interp.heads.heads:scorable",
        command="heads RUN",
        section="heads", conclude=ATTENTION + "heads", plot=PLOTS + "heads",
    ),
    Entry(
        "head-statistics", "interp.heads.statistics:HeadStatistics",
        "Attention mass, argmax share and normalised inner product with each relation; chance: uniform attention.",
        ("layer", "head", "metric", "statistic", "control", *INTERVAL),
        applies="interp.heads.heads:scorable",
        command="heads RUN --view statistics", conclude=ATTENTION + "statistics", plot=PLOTS + "statistics",
    ),
    Entry(
        "own-relation", "interp.heads.own_relation:OwnRelation",
        "Attention mass of each head on a relation of the user's own; a score is not a causal effect.",
        ("layer", "head", "metric", "control", *INTERVAL),
        applies=HERE + "heads",
        command="heads RUN --relation module:function", conclude=ATTENTION + "own_relation", plot=PLOTS + "heads",
    ),
    Entry(
        "chain", "interp.heads.chain:ChainMatrix",
        "Rows attend to columns, along the queried chain; look-ahead j: from a link to the j-th after it.",
        ("layer", "head", "metric", "chain", "row", "column", "control", *INTERVAL),
        applies=HERE + "chains",
        command="heads RUN --view chain", conclude=ATTENTION + "chain",
    ),
    Entry(
        "regression-heads", "interp.heads.patterns:RegressionHeads",
        PATTERNS,
        ("layer", "head", "metric", "control", *INTERVAL),
        applies=HERE + "regression_heads",
        command="heads RUN --view patterns", conclude=ATTENTION + "patterns", plot=PLOTS + "heads",
    ),
    Entry(
        "token-heads", "interp.heads.patterns:TokenHeads",
        PATTERNS,
        ("layer", "head", "metric", "control", *INTERVAL),
        applies=HERE + "token_heads",
        command="heads RUN --view patterns", conclude=ATTENTION + "patterns", plot=PLOTS + "heads",
    ),
    Entry(
        "roles", "interp.heads.roles:Roles",
        ABLATED,
        ("layer", "head", "role", "score", "threshold", "value", "ci_low", "ci_high", "n", "with_peers_ablated",
         "verdict", "partner", "metric", "control"),
        applies="interp.heads.heads:has_roles",
        command="heads RUN --view roles", conclude=NEEDED + "roles",
    ),
    Entry(
        "ablation", "interp.heads.ablation:Ablations",
        ABLATED,
        ("layer", "head", "position", "metric", "control", *INTERVAL),
        applies=HERE + "heads", conclude=NEEDED + "ablation",
    ),
    Entry(
        "mechanism", "interp.heads.mechanism:Mechanism",
        "stacked: a head attends to the hop's own link; look-ahead: an earlier link already carries it.",
        ("position", "metric", "members", "note", "control", *INTERVAL),
        applies="interp.heads.mechanism:has_hops",
        command="heads RUN --view circuits", conclude=NEEDED + "mechanism",
    ),
    Entry(
        "damage", "interp.heads.damage:HeadDamage",
        "Damage of ablating a head, predicted from the circuit and measured, with their rank correlation; 95% CI.",
        ("layer", "head", "metric", "note", *INTERVAL),
        applies=HERE + "edges", command="heads RUN --view damage", conclude=HOPS + "damage",
    ),
    Entry(
        "hop-growth", "interp.heads.growth:HopGrowth",
        "How far along a chain heads attend, what that rests on (path patching: share of attention lost), and whether "
        "reach grows one by one or by doubling; 95% CI over prompts.",
        ("layer", "head", "position", "metric", "members", "note", *INTERVAL),
        applies="interp.heads.growth:applies", command="heads RUN --view growth", conclude=HOPS + "growth",
    ),
    Entry(
        "composition", "interp.heads.weights:Compositions",
        "excess: over random weights of the same shapes; a large score shows a possible connection, not its use.",
        ("sender", "receiver", "metric", "value", "unit", "random", "random_high", "excess", "control"),
        applies=HERE + "matrices",
        command="heads RUN --view composition", conclude=ATTENTION + "composition",
    ),
    Entry(
        "weights", "interp.heads.weights:HeadWeights",
        "Positive eigenvalue shares of OV and QK, and the earlier head that each head composes with most.",
        ("layer", "head", "metric", "value", "largest", "sender", "random_high", "control"),
        applies=HERE + "matrices",
        section="weights", conclude=ATTENTION + "weights",
    ),
    Entry(
        "output-attribution", "interp.heads.direct:OutputAttribution",
        "Direct contributions to the right answer; effects through later components are not counted.",
        ("component", "position", "metric", "control", *INTERVAL),
        applies=HERE + "attributable",
        command="heads RUN --view attribution", conclude=ATTENTION + "attribution",
    ),
    Entry(
        "probe", "interp.readouts.readouts:Readouts",
        "Held-out {score} of a linear readout at each site; 'untrained' is the same of an untrained model.",
        ("site", "position", "readout", "target", "metric", "control", "split", "note", *INTERVAL),
        applies=HERE + "readable",
        command="probe RUN",
        section="probes", conclude=READOUTS + "probe",
    ),
    Entry(
        "own-target", "interp.readouts.own_targets:OwnTargets",
        "Held-out score of a linear readout of the target, one for all its positions; 'shuffled' is the same with "
        "targets shuffled over prompts. That a quantity can be decoded does not show that the model uses it.",
        ("site", "position", "readout", "target", "metric", "control", "split", "note", *INTERVAL),
        applies=HERE + "layers",
        command="probe RUN --target module:function", conclude=READOUTS + "probe",
    ),
    Entry(
        "targets", "interp.readouts.target_readouts:TargetReadouts",
        HELD_OUT,
        ("site", "position", "readout", "target", "member", "metric", "control", "split", "note", *INTERVAL),
        applies=HERE + "regression",
        command="probe RUN --targets label w xy spectrum", conclude=READOUTS + "targets",
    ),
    Entry(
        "algorithms", "interp.readouts.algorithms:AlgorithmMatch",
        "A match is the nearest of the steps compared; only the filter verdict identifies an algorithm.",
        (
            *("site", "position", "metric", "algorithm", "k", "member", "verdict", "families", "control", "split"),
            *("free_misfit", "free_low", "free_high", "note", *INTERVAL),
        ),
        applies=HERE + "regression",
        command="probe RUN --algorithms",
        section="algorithms", conclude=VERDICT + "algorithms", plot=PLOTS + "best_steps",
    ),
    Entry(
        "filters",
        "interp.readouts.filter_curves:FilterCurves",
        "Measured spectral filter of each site, and the best member of each family times its gain.",
        ("site", "position", "metric", "algorithm", "k", "eigenvalue", "member", "misfit", "control", "note",
         *INTERVAL),
        applies=HERE + "regression",
        section="algorithms", conclude=VERDICT + "filters", plot=PLOTS + "filters",
    ),
    Entry(
        "strategies",
        "interp.readouts.strategies:Strategies",
        "Weights of the task's closed-form predictors in the model's outputs (they sum to 1), and the share of the "
        "outputs that no mixture of them explains; 95% CI over {prompts} prompts.",
        ("distribution", "position", "metric", "strategy", "control", "note", *INTERVAL),
        applies="interp.readouts.strategies:has_strategies",
        command="strategies RUN",
        section="strategies", conclude=SCORES + "strategies",
    ),
    Entry(
        "causal-probe",
        "interp.readouts.probe_interventions:ProbeInterventions",
        "Interchange intervention on a probe direction: slope 1 where the model uses it as the iterate predicts; use: "
        "'not read' where no later module can read what decodes the iterate.",
        ("site", "layer", "head", "shared", "position", "metric", "algorithm", "k", "control", "draw", "correlation",
         "r2", "decoded", "use", "note", *INTERVAL),
        applies=HERE + "regression",
        command="probe RUN --causal", conclude=READOUTS + "causal", plot=PLOTS + "slopes",
    ),
    Entry(
        "preconditioners",
        "interp.readouts.preconditioners:Preconditioners",
        "Preconditioner that each layer of a linear transformer applies to the gradient, computed from its weights.",
        ("layer", "metric", "control", "value", "unit"),
        applies=HERE + "linear_regression", conclude=READOUTS + "preconditioners",
    ),
    Entry(
        "patch",
        "interp.causal.over_training:PatchGrid",
        "Patching {component}, pair {pair}: corrupt run 0, clean run 1; 95% CI over prompts.",
        ("site", "layer", "head", "shared", "position", "norm_before", "norm_after", "norm_change", "metric", "target",
         *INTERVAL, "raw", "raw_unit", "direction", "replacement", "pair", "control", "note"),
        applies=HERE + "pairs",
        command="patch RUN",
        section="patching", conclude=CAUSAL + "patch", plot=PLOTS + "grid",
    ),
    Entry(
        "circuit",
        "interp.causal.over_training:CircuitSearch",
        "Edges of the circuit (search: {search}); the whole model is 1, the resample-ablated run is 0.",
        ("sender", "receiver", "metric", "control", "edges", "heads", "note", "exact", "checked", "method",
         "correlation", "completeness_error", "ig_steps", "test_statistic", *INTERVAL),
        applies=HERE + "edges",
        command="circuit RUN",
        section="faithfulness", conclude=CAUSAL + "circuit", plot=PLOTS + "circuit",
    ),
    Entry(
        "edges",
        "interp.causal.over_training:EdgeEffects",
        "Ablation effect of every single edge: the whole model is 1, the resample-ablated run is 0.",
        ("sender", "receiver", "metric", "control", "note", *INTERVAL),
        applies=HERE + "edges",
        command="emergence RUN --of edges",
        section="circuit", conclude=CAUSAL + "edges",
    ),
    Entry(
        "curvature",
        "interp.landscape.landscape:Curvature",
        "On one fixed batch; smoothness is the optimiser's own step only where `stride` is 1.",
        ("metric", "value", "stride"),
        applies=HERE + "weights_at_hand",
        command="curvature RUN", conclude=LANDSCAPE + "landscape",
    ),
    Entry(
        "llc",
        "interp.landscape.llc:LearningCoefficient",
        "Local learning coefficient: effective parameters at gamma {gamma} and step {step}, and they depend on both; "
        "intervals over chains are Monte Carlo error alone. Bad chains are rejected, with the reason in `note`.",
        ("metric", "control", "note", "gamma", "step_size", *INTERVAL),
        applies=HERE + "weights_at_hand",
        command="curvature RUN --llc", conclude=LANDSCAPE + "llc",
    ),
    Entry(
        "noise",
        "interp.landscape.noise:GradientNoise",
        "Tail of the gradient's noise over {draws} batches of {prompts} prompts.",
        ("metric", "control", "value", "ci_low", "ci_high", "n"),
        applies=HERE + "weights_at_hand",
        command="curvature RUN --noise 500", conclude=LANDSCAPE + "noise",
    ),
)  # fmt: skip
PLOTTED = {  # how such results are plotted where they are no series of values
    **dict.fromkeys(("emergence", "emergence of readouts", "emergence of landscape"), PLOTS + "onsets"),
    "emergence of edges": PLOTS + "onsets",
    "agreement": PLOTS + "agreement",
    "llc sweep": PLOTS + "llc_sweep",
    **{
        f"{name} over runs": f"interp.pictures.over_runs:{name}"
        for name in ("emergence", "roles", "circuits")
    },
}
DERIVED = {  # what concludes from results that are made of several analyses, by the result's name
    "emergence": SCORES + "onsets",
    **dict.fromkeys(
        [f"emergence of {what}" for what in ("readouts", "landscape", "edges")], SCORES + "instruments"
    ),
    "agreement": NEEDED + "agreement",
    "qk-attribution": ATTENTION + "query_key",
    "llc sweep": LANDSCAPE + "sweep",
    **{f"{name} over runs": OVER_RUNS + name for name in ("scores", "emergence", "roles", "circuits")},
}
