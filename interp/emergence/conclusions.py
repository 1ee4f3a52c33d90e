"""What the tables of scores and onsets say: performance against chance and Bayes risk, and the order of emergence."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from interp.analysis.conclusion import (
    MOST_NAMED,
    Sentence,
    at,
    few,
    figures,
    first_middle_last,
    interval,
    limits,
    measured,
)
from interp.pictures.labels import relation_label

RELATIVE = "loss / label variance"
FAINTER = "A head emerges when its attention crosses half-maximum; weaker attention can carry an answer before that."


def scores(table: pd.DataFrame) -> list[Sentence]:
    """Accuracy against chance, or for tasks without one the loss against Bayes risk and chance."""
    metric = next(name for name in ("accuracy", RELATIVE, "loss") if (table["metric"] == name).any())
    rows = table[table["metric"] == metric]
    own = measured(rows)
    if own.empty:
        return []
    levels = {name: _level(rows, name) for name in ("chance", "bayes_risk")}
    return [_accuracy(own, levels["chance"]) if metric == "accuracy" else _loss(own, levels)]


def _level(rows: pd.DataFrame, control: str) -> pd.Series:
    return rows[rows["control"] == control].set_index("position")["value"]


def _accuracy(own: pd.DataFrame, chance: pd.Series) -> Sentence:
    shown = own if len(own) <= MOST_NAMED else own.iloc[first_middle_last(len(own))]
    each = [_share(row, chance) for row in shown.itertuples()]
    found = {name: value for row in shown.itertuples() for name, value in figures(row, row.position).items()}
    prompts = f"{int(own['n'].iloc[0]):,} held-out prompts"
    below = [str(r.position) for r in own.itertuples() if limits(r)[0] <= chance.get(r.position, -1.0)]
    if below and len(below) == len(own):
        return Sentence(f"{at(own)}: accuracy is at chance on {prompts}: {', '.join(each)}.", found)
    rest = f"; not significantly above chance: {few(below)}" if below else ""
    return Sentence(f"{at(own)}: accuracy on {prompts}: {', '.join(each)}{rest}.", found)


def _share(row: Any, chance: pd.Series) -> str:
    level = f" (chance {chance[row.position]:.0%})" if row.position in chance else ""
    return f"{row.position} {interval(row, '.1%')}{level}"


def _loss(own: pd.DataFrame, levels: dict[str, pd.Series]) -> Sentence:
    """The mean over output positions; at how many of them the loss is significantly below chance."""
    mean = float(own["value"].mean())
    found = {"loss": mean}
    among = own[own["position"].isin(levels["bayes_risk"].index)]
    least = levels["bayes_risk"].reindex(among["position"]).mean()
    ratio = ""
    if least > 0:
        found |= {"minimum": float(least), "ratio": float(among["value"].mean() / least)}
        ratio = f", {found['ratio']:.2f} times the Bayes risk {least:.3g}"
    chance = levels["chance"].reindex(own["position"])
    averaged = f", averaged over {len(own)} output positions," if len(own) > 1 else ""
    unit = " of the label variance" if own["metric"].iloc[0] == RELATIVE else ""
    text = f"{at(own)}: loss{averaged} is {mean:.3g}{unit}{ratio}"
    if chance.isna().all():
        return Sentence(f"{text}.", found)
    below = int((own["ci_high"].to_numpy() < chance.to_numpy()).sum())
    found |= {"chance": float(chance.mean()), "below": float(below)}
    if not below:
        return Sentence(
            f"{text}, not significantly below chance ({chance.mean():.3g}) at any output position.", found
        )
    where = f" at {below} of {len(own)} positions" if len(own) > 1 else ""
    return Sentence(f"{text}; significantly below chance ({chance.mean():.3g}){where}.", found)


def own_score(table: pd.DataFrame) -> list[Sentence]:
    """A score of the user's own against that of the untrained model."""
    own, before = measured(table), table[table["control"] == "untrained"].set_index("position")
    if own.empty:
        return []
    shown = own if len(own) <= MOST_NAMED else own.iloc[first_middle_last(len(own))]
    parts = [f"{row.position} {interval(row, '.3g')}{_against(row, before)}" for row in shown.itertuples()]
    found = {name: value for row in shown.itertuples() for name, value in figures(row, row.position).items()}
    return [Sentence(f"{at(own)}: {own['metric'].iloc[0]}: {'; '.join(parts)}.", found)]


def _against(row: Any, before: pd.DataFrame) -> str:
    """The untrained model's score, and whether the intervals are apart."""
    if row.position not in before.index:
        return ""
    other = before.loc[row.position]
    (low, high), (least, most) = limits(row), limits(other)
    apart = low > most or high < least
    return f" ({'' if apart else 'not distinguished from '}the untrained model's {interval(other, '.3g')})"


def draws(table: pd.DataFrame) -> list[Sentence]:
    """How many replicates of how many curves there are; `emergence` dates them."""
    own = table[table["step"].notna()]
    count = sum(str(name).startswith("draw ") for name in table.columns)
    curves = own.groupby(["metric", "position", "layer", "head"], dropna=False).ngroups
    steps = own["step"].nunique()
    text = f"{count} bootstrap replicates of {curves} curves at {steps} checkpoints; `interp emergence` dates them."
    return [
        Sentence(text, {"replicates": float(count), "curves": float(curves), "checkpoints": float(steps)})
    ]


def overlaps(table: pd.DataFrame) -> list[Sentence]:
    """The overlap with the teacher's direction, against that at the first checkpoint."""
    own = measured(table)
    first = table[table["step"] == table["step"].min()].set_index(["position", "metric"])["value"]
    found, parts = {}, []
    for row in own.itertuples():
        before = float(first[row.position, row.metric])
        found |= {f"{row.position}": float(row.value), f"{row.position}, first": before}
        grown = "" if row.value > before else ", no larger than"
        since = (
            f" ({before:.2f} at step {table['step'].min():,.0f})" if not grown else f"{grown} at the first"
        )
        parts.append(f"{row.metric} {row.position} {row.value:.2f}{since}")
    return [Sentence(f"{at(own)}: {few(parts)}.", found)]


def onsets(table: pd.DataFrame) -> list[Sentence]:
    """The order in which scores emerged, what had not by the last step, and how many curves of heads did."""
    if not {"subject", "metric", "step", "last"} <= set(table.columns) or table.empty:
        return []
    heads = table[_of_heads(table)]
    skills = table[~_of_heads(table)]
    parts = [*_order(skills), *_never(skills), *_heads(heads)]
    return [*(parts or [_nothing(table)]), *_two_checkpoints(table)]


def _of_heads(table: pd.DataFrame) -> pd.Series:
    return table["subject"].astype(str).str.fullmatch(r"L\d+H\d+")


def _order(skills: pd.DataFrame) -> list[Sentence]:
    """Outputs in the order of their onsets; first, middle and last where there are many."""
    if len(skills) > MOST_NAMED:
        named = skills.sort_values("position", key=lambda names: names.map(_number), kind="stable")
        skills = named.iloc[first_middle_last(len(named))]
    rose = skills[skills["step"].notna()].sort_values("step", kind="stable")
    if rose.empty:
        return []
    text = "".join(_joined(rose, i) for i in range(len(rose)))
    found = {f"{row.subject}": float(row.step) for row in rose.itertuples()}
    return [Sentence(f"{text} (training step, with its 95% interval; ≈ where intervals overlap).", found)]


def _never(skills: pd.DataFrame) -> list[Sentence]:
    late = skills[skills["step"].isna()]
    if late.empty:
        return []
    last = float(skills["last"].max())
    return [Sentence(f"Not emerged by step {last:,.0f}: {few(list(late['subject']))}.", {"last": last})]


def _heads(heads: pd.DataFrame) -> list[Sentence]:
    if heads.empty:
        return []
    rose = heads[heads["step"].notna()].sort_values("step", kind="stable")
    last = float(heads["last"].max())
    if rose.empty:
        return [Sentence(f"No head's attention emerged by step {last:,.0f}.", {"last": last})]
    first = rose.iloc[0]
    text = (
        f"Attention of {rose['subject'].nunique()} heads emerged, first {first['subject']} on "
        f"{relation_label(str(first['metric']))} at {_when(first)}. {FAINTER}"
    )
    return [Sentence(text, {"heads": float(rose["subject"].nunique()), "first": float(first["step"])})]


def _nothing(table: pd.DataFrame) -> Sentence:
    last = float(table["last"].max())
    return Sentence(f"Nothing emerged by step {last:,.0f}.", {"last": last})


def _two_checkpoints(table: pd.DataFrame) -> list[Sentence]:
    """That a rise between the only two checkpoints has no half-rise and no width."""
    if not {"half", "before"} <= set(table.columns):
        return []
    rose = table[table["step"].notna() & table["before"].notna()]
    if rose.empty or rose["half"].notna().any():
        return []
    first, last = float(rose["before"].min()), float(rose["step"].max())
    text = (
        f"There are only two checkpoints, {first:,.0f} and {last:,.0f}: a rise lies anywhere between them, and "
        "half-rise and width are not determined."
    )
    return [Sentence(text, {"checkpoints": 2.0})]


def instruments(table: pd.DataFrame) -> list[Sentence]:
    """Onsets of readouts, of measures of the landscape, or of edges: the first ones, and how many have none."""
    if table.empty:
        return [Sentence("There is no curve to date.")]
    rose = table[table["step"].notna()].sort_values("step", kind="stable")
    last = float(table["last"].max())
    found = {"emerged": float(len(rose)), "curves": float(len(table)), "last": last}
    if rose.empty:
        return [Sentence(f"None of {len(table)} curves emerged by step {last:,.0f}.", found)]
    first = few([f"{row['subject']} at {_when(row)}" for _, row in rose.iterrows()], 3)
    return [
        Sentence(f"{len(rose)} of {len(table)} curves emerged by step {last:,.0f}, in order: {first}.", found)
    ]


def strategies(table: pd.DataFrame) -> list[Sentence]:
    """The stages of every distribution (`interp.emergence.strategies`)."""
    from interp.emergence.strategies import sentences  # loads scipy, and scores are concluded from without

    return [Sentence(text) for text in sentences(table)]


def _number(name: str) -> int:
    """The number at the end of an output position's name ("x 10"), 0 without one."""
    digits = str(name).rsplit(" ", 1)[-1]
    return int(digits) if digits.isdigit() else 0


def _joined(rose: pd.DataFrame, i: int) -> str:
    row = rose.iloc[i]
    text = f"{row['subject']} at {_when(row)}"
    if i == 0:
        return text
    apart = rose.iloc[i - 1]["ci_high"] <= row["ci_low"]
    return (" < " if apart else " ≈ ") + text


def _when(row: pd.Series) -> str:
    low, high = limits(row)
    between = "" if math.isnan(low) or math.isnan(high) else f" [{low:,.0f}, {high:,.0f}]"
    return f"{int(row['step']):,}{between}"
