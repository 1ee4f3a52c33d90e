"""What a page says first, in words: only what the tables beside it hold, with the levels to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from interp.report.sketch import strongest
from interp.run import Run

TASKS = {
    "retrieval": "It is given a shuffled list of pairs and has to follow a chain of {hops} of them from a queried key",
    "regression": "It is given examples (x, y) of a function it has never seen and has to predict the next y",
    "prompts": "It is given facts in words and has to follow a chain of {hops} of them from the name in its question",
    "single-index": "It is given a sequence whose label depends on one hidden direction and has to predict that label",
}
MOST_READS = 6
BELOW_HALF = "No head pays half of its attention or more to any position the task gives a meaning."
Tables = Mapping[str, pd.DataFrame | None]


def verdict(run: Run, tables: Tables) -> str:
    """What was trained and how well it does, beside chance or the lowest loss."""
    task = TASKS.get(run.task.kind, "Its task is {kind}")
    said = task.format(kind=run.task.kind, hops=getattr(run.task, "hops", "")) + ". "
    return said + f"{_trained(run)} {_performance(run, _have(tables, 'scores'))}"


def answers(run: Run, tables: Tables) -> dict[str, str]:
    """Which circuit does it, in which order it came, how sure that is; each a sentence or a few."""
    circuit = [
        hops_answered(tables.get("mechanism")),
        _algorithm(tables.get("algorithms")),
        _heads(tables.get("heads")),
        _circuit(tables.get("circuit")),
        agreement_said(tables.get("agreement")),
    ]
    found = {
        "Which circuit does it": " ".join(part for part in circuit if part),
        "In which order it came": _order(_have(tables, "emergence")),
        "How sure we are": _sure(run, tables),
    }
    return {question: text for question, text in found.items() if text}


def _have(tables: Tables, name: str) -> pd.DataFrame:
    table = tables[name]
    assert table is not None
    return table


def _trained(run: Run) -> str:
    model: Any = run.config.model
    if model.kind == "language-model":
        return (
            f"{model.name}, a {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} "
            f"parameters), was trained elsewhere; its checkpoints are {len(run.steps)} revisions, asked here in the "
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
    level = "chance" if metric == "accuracy" else "floor"
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
        return f"Accuracy on {int(last['n'].iloc[0]):,} fresh prompts: {', '.join(each)}."
    mean = last["value"].mean()
    if not len(reference):
        return f"Its loss is {mean:.3g} on {int(last['n'].iloc[0])} fresh prompts; the task has no closed-form floor."
    floor = reference.mean()
    ratio = f", {mean / floor:.2f} times the lowest possible {floor:.3g}" if floor > 0 else ""
    return f"Its loss, averaged over positions, is {mean:.3g} of the label variance{ratio} (guessing zero scores 1)."


HOW = {
    "stacked": "by heads that look from the query straight at the hop's own link",
    "look-ahead": "by links that read their successors in an earlier layer",
    "both": "both by heads on its own link and by links read ahead",
    "other": "by something else than these heads",
    "not solved": "not at all",
}
SIDES = {"stacked": ("direct",), "look-ahead": ("ahead",), "both": ("direct", "ahead")}
MOST_HEADS = 4


def hops_answered(table: pd.DataFrame | None) -> str:
    """How each hop is answered, by what breaks it; hops answered alike in one go."""
    if table is None:
        return ""
    last = table[table["step"] == table["step"].max()]
    named = last[last["metric"] == "circuit"].set_index("position")["note"]
    alike = {note: [str(hop) for hop in named.index[named == note]] for note in dict.fromkeys(named)}
    said = [f"{_and(hops)} answered {HOW[note]}{_by(last, hops, note)}" for note, hops in alike.items()]
    return f"{_capital('; '.join(said))}.{_cost(last, alike)}"


def _cost(last: pd.DataFrame, alike: Mapping[str, list[str]]) -> str:
    """What ablating the named heads costs the hops they answer, from the smallest to the largest."""
    sides = [(hop, side) for note, hops in alike.items() for hop in hops for side in SIDES.get(note, ())]
    effects = last.set_index(["position", "metric"])["value"]
    found = [float(effects[pair]) for pair in sides]
    if not found:
        return ""
    span = f"{min(found):.0%}" if len(found) == 1 else f"{min(found):.0%} to {max(found):.0%}"
    each = ", each team by itself," if "both" in alike else ""
    return f" Ablating them{each} costs their hop {span} of what the loss of all heads would."


def _and(hops: list[str]) -> str:
    return f"{hops[0]} is" if len(hops) == 1 else f"{', '.join(hops[:-1])} and {hops[-1]} are"


def _by(last: pd.DataFrame, hops: list[str], note: str) -> str:
    sides = SIDES.get(note, ())
    rows = last[last["position"].isin(hops) & last["metric"].isin(sides)]
    heads = sorted({head for names in rows["heads"] for head in str(names).split()})
    if not heads:
        return ""
    return f" ({', '.join(heads)})" if len(heads) <= MOST_HEADS else f" ({len(heads)} heads)"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _algorithm(table: pd.DataFrame | None) -> str:
    """The filter verdict at the last site."""
    if table is None:
        return ""
    last = table[(table["step"] == table["step"].max()) & (table["control"] == "none")]
    row = last[last["metric"] == "filter verdict"].iloc[-1]
    left = last[(last["metric"] == "filter unexplained") & (last["site"] == row["site"])]["value"].min()
    if row["algorithm"] == "none":
        return f"No rival algorithm is named for its output: {row['note']}."
    if row["algorithm"] == "indistinguishable":
        return (
            "As a function of the examples its output is that of one of these, which these prompts cannot tell"
            f" apart: {row['note']} ({left:.1%} of it unexplained)."
        )
    return (
        f"As a function of the examples its output is that of {row['member']} ({left:.1%} of it unexplained)."
    )


def _heads(heads: pd.DataFrame | None) -> str:
    if heads is None:
        return ""
    best = strongest(heads)
    best = best[best["value"] >= 0.5]
    if best.empty:
        return BELOW_HALF
    said = [f"L{int(r.layer)}H{int(r.head)} for {r.metric} ({r.value:.2f})" for r in best.itertuples()]
    return f"Strongest attention: {', '.join(said)}."


def _circuit(table: pd.DataFrame | None) -> str:
    """What pruning at the last checkpoint left."""
    if table is None:
        return ""
    kept = table[table["metric"] == "edge"]
    heads = sorted({s for s in kept["sender"] if s.startswith("L") and "H" in s})
    return f"Pruned to what its loss needs, {len(kept)} edges through {len(heads)} heads are left."


def agreement_said(table: pd.DataFrame | None) -> str:
    """Whether the pruned circuit has the heads that attention gives a role, and which heads say otherwise."""
    if table is None:
        return ""
    last = table[table["step"] == table["step"].max()]
    odd = last[last["value"] == 0]
    named = [f"L{row.layer}H{row.head} ({row.found})" for row in odd.itertuples()]
    apart = f", not on {', '.join(named)}" if 0 < len(named) <= MOST_HEADS else ""
    by_chance = last["chance"].iloc[0] * len(last)
    return (
        f"Circuit and attention agree on {len(last) - len(odd)} of {len(last)} heads"
        f" ({by_chance:.1f} by chance){apart}."
    )


def _order(emergence: pd.DataFrame) -> str:
    reads = emergence[emergence["metric"].isin(["accuracy", "loss"])]
    if reads.empty:
        return ""
    if len(reads) > MOST_READS:
        named = reads.sort_values("position", key=lambda names: names.map(_read_number), kind="stable")
        reads = named.iloc[[0, len(named) // 2, -1]]
    came = reads[reads["step"].notna()].sort_values("step", kind="stable")
    late = reads[reads["step"].isna()]["subject"].tolist()
    said = "".join(_joined(came, i) for i in range(len(came)))
    first = f"{said} (training step, with its 95% interval; ≈ where intervals overlap)." if said else ""
    return f"{first} Not by step {int(reads['last'].max()):,}: {', '.join(late)}.".strip() if late else first


def _read_number(name: str) -> int:
    """The number at the end of a read's name ("x 10"), 0 without one."""
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
    """Intervals and controls, and what they do not cover."""
    parts = [_faithful(tables.get("circuit")), _beside_twin(tables.get("heads"))]
    if run.config.init_seed == run.config.data_seed:
        seeds = f"seed {run.config.seed}"
    else:
        seeds = f"init seed {run.config.init_seed}, data seed {run.config.data_seed}"
    parts.append(
        f"Intervals are over prompts of this one run ({seeds}): another seed may come in another order."
    )
    return " ".join(part for part in parts if part)


def _faithful(table: pd.DataFrame | None) -> str:
    if table is None:
        return ""
    rows = table[table["metric"] == "faithfulness"]
    own, drawn = rows[rows["control"] == "none"].iloc[0], rows[rows["control"] == "random"]["value"]
    return (
        f"On prompts that did not choose it the circuit carries {own['value']:.0%}"
        f" {_span(own['ci_low'], own['ci_high'], '{:.0%}')} of the behaviour; {len(drawn)} random circuits of its"
        f" size carry {drawn.min():.0%} to {drawn.max():.0%}."
    )


def _beside_twin(heads: pd.DataFrame | None) -> str:
    if heads is None:
        return ""
    twin = heads[heads["control"] == "untrained"]["value"]
    return (
        f"No head of an untrained twin pays more than {twin.max():.2f} to any of these places."
        if len(twin)
        else ""
    )
