"""The sentences at the top of a page: only what its tables hold, each figure with its reference level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from interp.emergence.strategies import sentences
from interp.report.circuit_words import (
    agreement_sentence,
    algorithm_sentence,
    circuit_sentence,
    heads_sentence,
    hops_answered,
)
from interp.report.illusion_words import directions_sentence, pairs_sentence
from interp.report.path_words import paths_sentence
from interp.report.sketch import first_middle_last
from interp.run import Run

TASKS = {
    "retrieval": "It is given a shuffled list of pairs and has to follow a chain of {hops} of them from a queried key",
    "regression": "It is given examples (x, y) of a function it has never seen and has to predict the next y",
    "prompts": "It is given facts in words and has to follow a chain of {hops} of them from the name in its question",
    "markov": "It is given the symbols of a Markov chain that it has never seen and has to predict the next one",
    "single-index": "It is given a sequence whose label depends on one hidden direction and has to predict that label",
}
MOST_OUTPUTS = 6
FAINTER = "A head emerges when its attention crosses half-maximum; weaker attention can carry an answer before that."
Tables = Mapping[str, pd.DataFrame | None]


def verdict(run: Run, tables: Tables) -> str:
    """What was trained and how well it performs, relative to chance or the minimum achievable loss."""
    task = TASKS.get(run.task.kind, "Its task is {kind}")
    said = task.format(kind=run.task.kind, hops=getattr(run.task, "hops", "")) + ". "
    return said + f"{_trained(run)} {_performance(run, _have(tables, 'scores'))}"


def answers(run: Run, tables: Tables) -> dict[str, str]:
    """Which circuit does it, in which order its parts emerged, how certain that is; each in a few sentences."""
    circuit = [
        hops_answered(tables.get("mechanism"), tables.get("circuit")),
        algorithm_sentence(tables.get("algorithms")),
        directions_sentence(tables.get("causal-probe")),
        heads_sentence(tables.get("heads"), tables.get("agreement")),
        pairs_sentence(tables.get("agreement")),
        circuit_sentence(tables.get("circuit")),
        paths_sentence(tables.get("circuit")),
    ]
    followed = tables.get("strategies")
    found = {
        "Which strategy it follows": "" if followed is None else " ".join(sentences(followed)),
        "Which circuit does it": " ".join(part for part in circuit if part),
        "In which order it emerged": order_sentence(
            _have(tables, "emergence"), tables.get("heads") is not None
        ),
        "How certain this is": _sure(run, tables),
    }
    return {question: text for question, text in found.items() if text}


def _have(tables: Tables, name: str) -> pd.DataFrame:
    table = tables[name]
    assert table is not None
    return table


def _trained(run: Run) -> str:
    model: Any = run.config.model
    if model.kind == "adopted":
        return (
            f"A {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} parameters) was "
            f"trained elsewhere and adopted as it is, with {len(run.steps)} checkpoints."
        )
    if model.kind == "language-model":
        return (
            f"{model.name}, a {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} "
            f"parameters), was trained elsewhere; its checkpoints are {len(run.steps)} revisions, prompted here in the "
            f"form {getattr(run.task, 'form', run.task.kind)!r}."
        )
    shape = f"{model.n_layers}-layer " if hasattr(model, "n_layers") else ""
    shape = f"{shape[:-1]}, {model.n_heads}-head " if hasattr(model, "n_heads") else shape
    kind = "attention-only transformer" if getattr(model, "mlp", None) == "none" else model.kind
    return (
        f"A {shape}{kind} ({run.parameters:,} parameters) was trained on it for {run.steps[-1]:,} steps"
        f" with {run.config.train.optimiser}."
    )


def _performance(run: Run, scores: pd.DataFrame) -> str:
    metric = run.task.score_name if run.task.score_name == "accuracy" else "loss"
    level = "chance" if metric == "accuracy" else "bayes_risk"
    last = scores[
        (scores["step"] == run.steps[-1]) & (scores["metric"] == metric) & (scores["control"] == "none")
    ]
    found = scores[(scores["metric"] == metric) & (scores["control"] == level)]
    reference = found.set_index("position")["value"]
    if metric == "accuracy":
        each = [
            f"{row.position} {row.value:.1%}"
            + (f" (chance {reference[row.position]:.0%})" if len(reference) else "")
            for row in last.itertuples()
        ]
        return f"Accuracy on {int(last['n'].iloc[0]):,} held-out prompts: {', '.join(each)}."
    mean = last["value"].mean()
    if not len(reference):
        return (
            f"Its loss is {mean:.3g} on {int(last['n'].iloc[0])} held-out prompts; the task has no closed-form "
            "minimum loss."
        )
    minimum = reference.mean()
    ratio = f", {mean / minimum:.2f} times the minimum achievable {minimum:.3g}" if minimum > 0 else ""
    if run.task.kind != "regression":
        guess = scores[(scores["metric"] == metric) & (scores["control"] == "chance")]["value"]
        chance = f" (chance {guess.mean():.3g})" if len(guess) else ""
        return f"Its loss, averaged over output positions, is {mean:.3g}{ratio}{chance}."
    return f"Its loss, averaged over positions, is {mean:.3g} of the label variance{ratio} (predicting zero scores 1)."


def order_sentence(emergence: pd.DataFrame, heads: bool) -> str:
    outputs = emergence[emergence["metric"].isin(["accuracy", "loss"])]
    if outputs.empty:
        return ""
    if len(outputs) > MOST_OUTPUTS:
        named = outputs.sort_values("position", key=lambda names: names.map(_read_number), kind="stable")
        outputs = named.iloc[first_middle_last(len(named))]
    came = outputs[outputs["step"].notna()].sort_values("step", kind="stable")
    late = outputs[outputs["step"].isna()]["subject"].tolist()
    said = "".join(_joined(came, i) for i in range(len(came)))
    first = f"{said} (training step, with its 95% interval; ≈ where intervals overlap)." if said else ""
    never = f"Not emerged by step {int(outputs['last'].max()):,}: {', '.join(late)}." if late else ""
    fainter = FAINTER if heads and came["metric"].eq("accuracy").any() else ""
    return " ".join(part for part in (first, never, fainter) if part)


def _read_number(name: str) -> int:
    """The number at the end of an output position's name ("x 10"), 0 without one."""
    digits = name.rsplit(" ", 1)[-1]
    return int(digits) if digits.isdigit() else 0


def _joined(came: pd.DataFrame, i: int) -> str:
    row = came.iloc[i]
    text = (
        f"{row['subject']} at {int(row['step']):,} {_span(row['ci_low'], row['ci_high'], '{:,.0f}')}".strip()
    )
    if i == 0:
        return text
    apart = came.iloc[i - 1]["ci_high"] <= row["ci_low"]
    return (" < " if apart else " ≈ ") + text


def _span(low: Any, high: Any, how: str) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"[{how.format(low)}, {how.format(high)}]"


def _sure(run: Run, tables: Tables) -> str:
    """Confidence intervals and controls, and which variation they leave out."""
    parts = [
        _faithful(tables.get("circuit")),
        agreement_sentence(tables.get("agreement")),
        _untrained_sentence(tables.get("heads")),
    ]
    if run.config.init_seed == run.config.data_seed:
        seeds = f"seed {run.config.seed}"
    else:
        seeds = f"init seed {run.config.init_seed}, data seed {run.config.data_seed}"
    parts.append(
        f"Intervals are over prompts of this one run ({seeds}); another seed may show another order."
    )
    return " ".join(part for part in parts if part)


def _faithful(table: pd.DataFrame | None) -> str:
    if table is None:
        return ""
    rows = table[table["metric"] == "faithfulness"]
    own, drawn = rows[rows["control"] == "none"].iloc[0], rows[rows["control"] == "random"]["value"]
    p = table[table["metric"] == "empirical p"]["value"]
    beyond = f" (empirical p = {p.iloc[0]:.2g})" if len(p) else ""
    return (
        f"On held-out prompts the circuit carries {own['value']:.1%}"
        f" {_span(own['ci_low'], own['ci_high'], '{:.1%}')} of the behaviour; {len(drawn)} random circuits matched by"
        f" layer and slot carry {drawn.median():.0%} (max {drawn.max():.0%}){beyond}."
    )


def _untrained_sentence(heads: pd.DataFrame | None) -> str:
    if heads is None:
        return ""
    untrained = heads[heads["control"] == "untrained"]["value"]
    return (
        f"No head of the untrained model puts more than {untrained.max():.2f} of its attention on any of these "
        "positions."
        if len(untrained)
        else ""
    )
