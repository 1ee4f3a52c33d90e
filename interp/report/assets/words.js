// Names as a reader meets them: controls, levels, relations; none of the tables' own spellings.

const LEVEL_NAMES = { bayes_risk: "Bayes risk", chance: "chance" };
const CONTROL_NAMES = { untrained: "untrained model", shuffled: "shuffled targets", uniform: "uniform attention", zero: "zero predictor" };

const relationName = (name) => name.replace(/_/g, " ");
