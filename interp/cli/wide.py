"""Long tables pivoted wide for printing: one line a checkpoint."""

from __future__ import annotations

import pandas as pd

from interp.pictures.labels import relation_label, short_site

MOST_OUTPUTS = 8
LEVELS = {"bayes_risk": "Bayes risk"}  # how a control is printed


def by_output(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One line a step, one column an output position (`MOST_OUTPUTS` of them, evenly spread, where there are more); the
    reference levels in the last lines."""
    chosen = table[table["metric"] == metric]
    reads = list(dict.fromkeys(chosen["position"]))
    if len(reads) > MOST_OUTPUTS:
        reads = [reads[round(i * (len(reads) - 1) / (MOST_OUTPUTS - 1))] for i in range(MOST_OUTPUTS)]
        chosen = chosen[chosen["position"].isin(reads)]
    measured = chosen[chosen["control"] == "none"]
    wide = _pivot(measured, "position")
    levels = chosen[chosen["control"] != "none"].pivot_table(
        index="control", columns="position", values="value", sort=False
    )
    return _with_levels(wide, levels.rename(index=LEVELS))


def best_heads(table: pd.DataFrame) -> pd.DataFrame:
    """One line a step; for each relation the head that scores highest, and its score."""
    measured = table[table["control"] == "none"]
    best = measured.loc[measured.groupby(["step", "metric"], sort=False)["value"].idxmax()].copy()
    best["shown"] = [
        f"L{layer}H{head} {value:.2f}".replace(" 0.", " .")
        for layer, head, value in zip(best["layer"], best["head"], best["value"], strict=True)
    ]
    wide = best.pivot(index="step", columns="metric", values="shown")[list(dict.fromkeys(table["metric"]))]
    return wide.rename(columns=relation_label).reset_index().rename_axis(columns=None)


def every_head(table: pd.DataFrame) -> pd.DataFrame:
    """One line a head of the last step, one column a relation."""
    measured = table[table["control"] == "none"]
    last = measured[measured["step"] == measured["step"].max()]
    wide = last.pivot(index=["layer", "head"], columns="metric", values="value")
    wide = wide[list(dict.fromkeys(last["metric"]))].rename(columns=relation_label)
    return wide.reset_index().rename_axis(columns=None)


def head_levels(table: pd.DataFrame) -> pd.DataFrame:
    """One line a control; the highest score of the untrained model's heads, and that of uniform attention."""
    controls = table[table["control"] != "none"]
    wide = controls.pivot_table(index="control", columns="metric", values="value", aggfunc="max", sort=False)
    return wide.rename(columns=relation_label).reset_index().rename_axis(columns=None)


def onsets(table: pd.DataFrame) -> pd.DataFrame:
    """One line a subject: its step of emergence, the interval of that step, half-rise and 10-90 width in steps."""
    late = table["step"].isna()
    shown = pd.DataFrame({"subject": table["subject"], "of": table["metric"].map(relation_label)})
    shown["step"] = table["step"].astype(object).where(~late, table["state"])
    shown["95% interval"] = [
        _span(low, high) for low, high in zip(table["ci_low"], table["ci_high"], strict=True)
    ]
    shown["half-rise"], shown["10-90 width"] = table["half"].round(), table["width"].round()
    first_rise, first_loss, last = (
        table[name].astype("Int64").astype("string") for name in ("first_rise", "first_loss", "last")
    )
    earlier = "a rise at " + first_rise + " was lost by " + first_loss
    shown["note"] = ("lost again by " + first_loss).fillna("by step " + last).where(late, earlier.fillna(""))
    return shown


def _span(low: float, high: float) -> str:
    """An interval of steps; "never" as the upper limit where some replicates did not rise, empty without an onset."""
    if pd.isna(low):
        return ""
    return f"[{low:.0f}, {'never' if pd.isna(high) else f'{high:.0f}'}]"


def by_site(table: pd.DataFrame) -> pd.DataFrame:
    """One line a step, one column a site; the untrained model in the last line."""
    short = table.assign(site=table["site"].map(short_site))
    measured = short[short["control"] == "none"]
    wide = _pivot(measured, "site")
    controls = short[short["control"] != "none"].pivot_table(
        index="control", columns="site", values="value", sort=False
    )
    return _with_levels(wide, controls)


def outputs_by_site(rows: pd.DataFrame) -> pd.DataFrame:
    """One line an output position, one column a site, for one checkpoint; pooled readouts where positions share one."""
    if "readout" in rows and rows["readout"].notna().any():
        rows = rows[(rows["readout"] == "all") & (rows["position"] == "all")]
    metric = rows["metric"].iloc[0]
    sites = rows[rows["metric"] == metric].assign(site=rows["site"].map(short_site))
    wide = sites.pivot(index="position", columns="site", values="value")
    wide = wide.loc[list(dict.fromkeys(sites["position"])), list(dict.fromkeys(sites["site"]))]
    return wide.head(MOST_OUTPUTS).reset_index(names=str(metric)).rename_axis(columns=None)


def _pivot(measured: pd.DataFrame, column: str) -> pd.DataFrame:
    wide = measured.pivot(index="step", columns=column, values="value")
    return wide[list(dict.fromkeys(measured[column]))].reset_index().rename_axis(columns=None)


def _with_levels(wide: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    wide = wide.astype({"step": object})
    extra = levels.reindex(columns=[c for c in wide.columns if c != "step"]).reset_index()
    return pd.concat([wide, extra.rename(columns={"control": "step"})], ignore_index=True)
