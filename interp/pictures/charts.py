"""The picture of each analysis' table.

Every function takes the long table of its analysis and returns a `Picture`, or None where the table holds nothing to
draw (a checkpoint without a behaviour). Bands and bars are the table's 95% intervals. A picture of a single
checkpoint shows the last of the table and names it in its title.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from interp.pictures import over_runs
from interp.pictures.edges import circuit
from interp.pictures.labels import relation_label, short_site
from interp.pictures.panels import CurveLine, Heat, LevelLine, curves, heats, spans
from interp.pictures.svg import Picture

Chart = Callable[[pd.DataFrame], Picture | None]
MOST_LINES, MOST_COLUMNS, MOST_BARS = 8, 24, 40
LEVEL_NAMES = {"bayes_risk": "Bayes risk"}  # as shown


def scores(table: pd.DataFrame) -> Picture | None:
    """One panel a metric: every output position over the checkpoints, Bayes risk and chance dashed."""
    panels = {}
    for metric, rows in table.groupby("metric", sort=False):
        reads = _spread(list(dict.fromkeys(rows["position"])), MOST_LINES)
        measured = rows[rows["control"] == "none"]
        lines = [_curve(str(read), measured[measured["position"] == read], "step") for read in reads]
        panels[str(metric)] = (lines, _levels(rows[rows["control"] != "none"], reads))
    return curves("scores at each output position over training", panels, "step")


def heads(table: pd.DataFrame) -> Picture | None:
    """Heads down, relations across, at the last checkpoint, with the maximum over the untrained model's heads."""
    rows = _last(table[table["control"] == "none"])
    if rows.empty:
        return None
    rows = rows.assign(
        head=[_head(layer, head) for layer, head in zip(rows["layer"], rows["head"], strict=True)]
    )
    grid = _grid(rows, "head", "metric")
    untrained = table[table["control"] == "untrained"].groupby("metric", sort=False)["value"].max()
    grid.loc["untrained, maximum"] = untrained.reindex(grid.columns)
    return heats(f"attention at step {_step(rows)}", [Heat("", grid.rename(columns=relation_label))])


def probe(table: pd.DataFrame) -> Picture | None:
    """Sites down, output positions across, at the last checkpoint: the trained and the untrained model."""
    rows = _last(table)
    if "readout" in rows and rows["readout"].notna().any():
        rows = rows[rows["readout"] == "all"]
    if rows["position"].nunique() > 1:
        rows = rows[rows["position"] != "all"]
    rows = rows.assign(site=rows["site"].map(short_site))
    metric = str(rows["metric"].iloc[0])
    shown = [
        Heat(name, _grid(part[part["metric"] == metric], "site", "position"))
        for control, name in (("none", "trained"), ("untrained", "untrained model"))
        if len(part := rows[rows["control"] == control])
    ]
    return heats(f"{metric} of a linear readout at step {_step(rows)}", shown)


def algorithms(table: pd.DataFrame) -> Picture | None:
    """Best-matching step of each candidate algorithm over the sites of the last checkpoint, with its range."""
    rows = _last(table[table["control"] == "none"])
    rows = rows[rows["position"] == "all"]
    wide = rows[rows["metric"].isin(["best step", "band low", "band high"])].pivot_table(
        index=["algorithm", "site"], columns="metric", values="value", sort=False
    )
    if wide.empty:
        return None
    wide = wide.reset_index()
    places = {site: index for index, site in enumerate(dict.fromkeys(wide["site"]))}
    wide = wide.assign(place=wide["site"].map(places))
    renamed = wide.rename(columns={"best step": "value", "band low": "ci_low", "band high": "ci_high"})
    lines = [_curve(str(name), part, "place") for name, part in renamed.groupby("algorithm", sort=False)]
    names = [short_site(str(site)) for site in places]
    return curves(f"best-matching step at step {_step(rows)}", {"best step": (lines, [])}, "site", names)


def emergence(table: pd.DataFrame) -> Picture | None:
    """Step of emergence of each subject: a dot, and a bar for its interval, dashed where its upper limit is unknown."""
    rose = table[table["step"].notna()]
    if rose.empty:
        return None
    bars = [
        (
            f"{row.subject} {relation_label(str(row.metric))}",
            float(row.step),
            float(row.ci_low),
            float(row.ci_high),
        )
        for row in rose.itertuples()
    ]
    shown = f" (first {MOST_BARS} of {len(bars)})" if len(bars) > MOST_BARS else ""
    return spans(
        f"emergence of each skill and head{shown}", bars[:MOST_BARS], float(table["last"].max()), "step"
    )


def patch(table: pd.DataFrame) -> Picture | None:
    """Layers (and heads) down, positions across: the normalised effect at the last checkpoint."""
    rows = _last(table).dropna(subset=["value"])
    if rows.empty:
        return None
    places = (rows["layer"], rows["head"], rows["shared"] if "shared" in rows else [1] * len(rows))
    labels = [_head(*place) for place in zip(*places, strict=True)]
    rows = rows.assign(row=labels, position=rows["position"].astype(str))
    title = f"effect of patching at step {_step(rows)} (corrupt 0, clean 1)"
    return heats(
        title, [Heat("position" if rows["position"].nunique() > 1 else "", _grid(rows, "row", "position"))]
    )


def llc_sweep(table: pd.DataFrame) -> Picture | None:
    """Gammas down, step sizes across: effective parameters at the last checkpoint, blank where chains were refused."""
    rows = _last(table)
    rows = rows.assign(
        gamma=rows["gamma"].map("gamma {:g}".format), size=rows["step_size"].map("{:g}".format)
    )
    if rows["value"].isna().all():
        return None
    grid = rows.pivot(index="gamma", columns="size", values="value")
    grid = grid.reindex(index=list(dict.fromkeys(rows["gamma"])), columns=list(dict.fromkeys(rows["size"])))
    return heats(
        f"effective parameters by gamma and step size, checkpoint {_step(rows)}", [Heat("step size", grid)]
    )


def _curve(name: str, rows: pd.DataFrame, x: str) -> CurveLine:
    rows = rows.dropna(subset=[x, "value"]).sort_values(x)
    return CurveLine(name, *(tuple(map(float, rows[column])) for column in (x, "value", "ci_low", "ci_high")))


def _levels(rows: pd.DataFrame, reads: Sequence[object]) -> list[LevelLine]:
    """Reference levels: one line for all output positions where they share it, else one for each."""
    found = []
    for name, part in rows[rows["position"].isin(list(reads))].groupby("control", sort=False):
        values = part.groupby("position", sort=False)["value"].first()
        if values.nunique() == 1:
            found.append(LevelLine(LEVEL_NAMES.get(str(name), str(name)), float(values.iloc[0])))
        else:
            found += [
                LevelLine(LEVEL_NAMES.get(str(name), str(name)), float(value), list(reads).index(read))
                for read, value in values.items()
            ]
    return found


def _grid(rows: pd.DataFrame, down: str, across: str) -> pd.DataFrame:
    """Rows and columns in the table's own order; of many columns an even spread."""
    wide = rows.pivot_table(index=down, columns=across, values="value", sort=False)
    wide = wide.reindex(index=list(dict.fromkeys(rows[down])), columns=list(dict.fromkeys(rows[across])))
    return wide[_spread(list(wide.columns), MOST_COLUMNS)]


def _spread(items: Sequence[object], most: int) -> list[object]:
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["step"] == table["step"].max()]


def _step(rows: pd.DataFrame) -> str:
    return f"{int(rows['step'].max()):,}"


def _head(layer: int, head: int, shared: int = 1) -> str:
    return f"L{layer}" if head < 0 else f"L{layer}H{head}" + (f"-{head + shared - 1}" if shared > 1 else "")


CHARTS: dict[str, Chart] = {
    "scores": scores,
    "heads": heads,
    "probe": probe,
    "algorithms": algorithms,
    "emergence": emergence,
    "patch": patch,
    "circuit": circuit,
    "llc sweep": llc_sweep,
    **over_runs.CHARTS,
}
