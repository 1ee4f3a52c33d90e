"""What a page says first, in words: only what the tables beside it hold, with the levels to compare with."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.run import Run


def verdict(
    run: Run,
    scores: pd.DataFrame,
    heads: pd.DataFrame | None,
    emergence: pd.DataFrame,
    circuit: pd.DataFrame | None,
) -> str:
    """One paragraph: what was trained, how well it does, which heads look where, what came when."""
    parts = [_trained(run), _performance(run, scores)]
    if heads is not None:
        parts.append(_heads(heads))
    if circuit is not None:
        parts.append(_circuit(circuit))
    parts.append(_order(emergence))
    return " ".join(part for part in parts if part)


def _trained(run: Run) -> str:
    model: Any = run.config.model
    if model.kind == "language-model":
        return (
            f"{model.name}, a {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} "
            f"parameters), was trained elsewhere; its checkpoints are {len(run.steps)} revisions, asked here for "
            f"{run.task.reads[0]} of {run.task.kind}."
        )
    shape = f"{model.n_layers}-layer " if hasattr(model, "n_layers") else ""
    shape = f"{shape[:-1]}, {model.n_heads}-head " if hasattr(model, "n_heads") else shape
    kind = "attention-only transformer" if getattr(model, "mlp", None) == "none" else model.kind
    return (
        f"A {shape}{kind} ({run.parameters:,} parameters) was trained on {run.task.kind} for {run.steps[-1]:,} steps"
        f" with {run.config.train.optimiser}."
    )


def _performance(run: Run, scores: pd.DataFrame) -> str:
    metric = run.task.score_name if run.task.score_name == "accuracy" else "loss"
    level = "chance" if metric == "accuracy" else "floor"
    last = scores[
        (scores["step"] == run.steps[-1]) & (scores["metric"] == metric) & (scores["control"] == "none")
    ]
    reference = scores[(scores["metric"] == metric) & (scores["control"] == level)].set_index("position")[
        "value"
    ]
    if metric == "accuracy":
        each = [
            f"{row.position} {row.value:.1%}"
            + (f" (chance {reference[row.position]:.0%})" if len(reference) else "")
            for row in last.itertuples()
        ]
        return f"Accuracy on {int(last['n'].iloc[0]):,} fresh prompts: {', '.join(each)}."
    mean = last["value"].mean()
    if not len(reference):
        return f"Its loss is {mean:.3g} on {int(last['n'].iloc[0])} fresh prompts; the task has no closed-form floor."
    floor = reference.mean()
    ratio = f", {mean / floor:.2f} times the lowest possible {floor:.3g}" if floor > 0 else ""
    return f"Its loss, averaged over positions, is {mean:.3g} of the label variance{ratio} (guessing zero scores 1)."


def _heads(heads: pd.DataFrame) -> str:
    last = heads[(heads["step"] == heads["step"].max()) & (heads["control"] == "none")]
    best = last.loc[last.groupby("metric", sort=False)["value"].idxmax()]
    strong = best[best["value"] >= 0.5]
    if strong.empty:
        return "No head pays half of its attention or more to any position the task gives a meaning."
    said = [f"L{int(r.layer)}H{int(r.head)} for {r.metric} ({r.value:.2f})" for r in strong.itertuples()]
    return f"Strongest attention at the end: {', '.join(said)}. Attention alone does not show that a head is needed."


def _circuit(table: pd.DataFrame) -> str:
    """What pruning at the last checkpoint left, beside random circuits of its size."""
    kept = table[table["metric"] == "edge"]
    heads = sorted({s for s in kept["sender"] if s.startswith("L") and "H" in s})
    whole = table[(table["metric"] == "faithfulness")].set_index("control")["value"]
    drawn = table[(table["metric"] == "faithfulness") & (table["control"] == "random")]["value"].median()
    return (
        f"Its circuit, pruned at the last checkpoint: {len(kept)} edges through {', '.join(heads)}, carrying"
        f" {whole['none']:.0%} of the behaviour (random circuits of that size: {drawn:.0%})."
    )


def _order(emergence: pd.DataFrame) -> str:
    reads = emergence[emergence["metric"] == "accuracy"]
    if reads.empty:
        return ""
    came = reads[reads["step"].notna()]
    late = reads[reads["step"].isna()]["subject"].tolist()
    said = (
        f"Skills appeared in the order {' < '.join(f'{r.subject} (step {r.step})' for r in came.itertuples())}."
        if len(came)
        else ""
    )
    return said + (f" Not emerged by step {int(reads['last'].max())}: {', '.join(late)}." if late else "")
