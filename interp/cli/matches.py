"""The algorithms table as printed: a line a site, or a line a checkpoint."""

from __future__ import annotations

import pandas as pd

from interp.pictures.labels import short_site

LEGEND = (
    "Best-matching step [steps within one standard error], pooled over output positions; * last step compared; - no "
    "better than a control. Ridge: index on a path from strong to weak regularisation. Filter verdict: share of output "
    "variance unexplained."
)

ALL_BLOCKS = "all blocks"
MOST_FAMILIES = 5  # columns that fit next to error and verdict; further families have a table of their own
CONTRAST_CONTROLS = ("none", "shuffled", "random w")


def by_site(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a site of one checkpoint."""
    return pd.DataFrame([{"site": short_site(site), **_line(rows, site)} for site in sites(rows)])


def by_step(table: pd.DataFrame, site: str | None = None) -> pd.DataFrame:
    """One line a checkpoint, for a site (the last unless given)."""
    measured = table[table["step"].notna()]
    shown = sites(measured)[-1] if site is None else site
    return pd.DataFrame([{"step": step, **_line(rows, shown)} for step, rows in measured.groupby("step")])


def parts(lines: pd.DataFrame) -> list[pd.DataFrame]:
    """Lines of matches as tables that fit: error, verdict and the first families, then the other families."""
    first, (error, *families, verdict) = lines.columns[0], lines.columns[1:]
    starts = range(MOST_FAMILIES, len(families), MOST_FAMILIES)
    return [lines[[first, error, *families[:MOST_FAMILIES], verdict]]] + [
        lines[[first, *families[at : at + MOST_FAMILIES]]] for at in starts
    ]


def families_of(rows: pd.DataFrame) -> list[str]:
    """The families that layers were matched with."""
    matched = (rows["metric"] == "best step") & (rows["position"] == "all") & (rows["control"] == "none")
    return list(dict.fromkeys(rows[matched]["algorithm"]))


def over_training(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Verdicts and best-matching steps over training: one line a checkpoint and one column a site."""
    measured = table[table["step"].notna()]
    counted = [family for family in ("newton", "gd") if family in families_of(measured)]
    lines: dict[str, list[dict[str, object]]] = {
        "filter verdict": [],
        **{f"best {f} step": [] for f in counted},
    }
    for step, rows in measured.groupby("step"):
        here = {short_site(site): _line(rows, site) for site in sites(measured)}
        lines["filter verdict"].append(
            {"step": step, **{n: str(c["filter"]).split(" (")[0] for n, c in here.items()}}
        )
        for family in counted:
            cells = {name: str(line[family]).split(" [")[0] for name, line in here.items()}
            lines[f"best {family} step"].append({"step": step, **cells})
    return {title: pd.DataFrame(each) for title, each in lines.items()}


def untrained(table: pd.DataFrame) -> pd.DataFrame:
    """One line: the last site of the untrained model."""
    measured = table[table["step"].notna()]
    first = measured[measured["step"] == measured["step"].min()]
    error = first[(first["metric"] == "readout error") & (first["control"] == "untrained")]
    twin = table[table["step"].isna()].assign(control="none")
    rows = pd.concat([error.assign(control="none"), twin], ignore_index=True)
    return pd.DataFrame([{"site": short_site(site), **_line(rows, site)} for site in sites(first)[-1:]])


def swaps(table: pd.DataFrame) -> pd.DataFrame:
    """One line a checkpoint, site and algorithm of a causal probe, with the range over random directions."""
    whole = table.reindex(columns=table.columns.union(["value", "ci_low", "ci_high"], sort=False))
    named = whole.assign(step=table["step"].astype(object).where(table["step"].notna(), "untrained"))
    lines = [
        {"step": step, "site": short_site(site), "algorithm": family, **_swapped(rows)}
        for (step, site, family), rows in named.groupby(["step", "site", "algorithm"], sort=False)
    ]
    return pd.DataFrame(lines).fillna("")


def _swapped(rows: pd.DataFrame) -> dict[str, object]:
    """The figures of one probe."""
    own, drawn = rows[rows["control"] != "random"], rows[rows["control"] == "random"]
    slope = own[own["metric"] == "causal slope"].iloc[0]
    shown: dict[str, object] = {"k": slope["k"], "probe R2": f"{slope['r2']:.2f}", "slope": _interval(slope)}
    if not pd.isna(slope["value"]):
        shown["missed"] = _interval(own[own["metric"] == "missed change"].iloc[0])
    found = drawn[drawn["metric"] == "causal slope"]["value"]
    return shown if found.empty else {**shown, "random": f"{found.min():.2f} to {found.max():.2f}"}


def slopes(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a family: slope of the best step and of its log2 over the blocks."""
    found = rows[(rows["metric"].str.startswith("slope of")) & (rows["position"] == "all")]
    lines = []
    for family, group in found.groupby("algorithm", sort=False):
        cells = {row.metric: _interval(row) for row in group.itertuples()}
        lines.append({"algorithm": family, **cells})
    return pd.DataFrame(lines, columns=["algorithm", *dict.fromkeys(found["metric"])])


def contrasts(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a site better than its controls: both partial R2 and their difference, or the reason for none."""
    found = rows[rows["metric"].str.startswith("partial r2") & (rows["control"] == "none")]
    lines = []
    for site, group in found.groupby("site", sort=False):
        if len(group) == 3:
            one, two, both = group.itertuples()
            shown = [
                f"{one.algorithm} {_interval(one)}",
                f"{two.algorithm} {_interval(two)}",
                _interval(both),
            ]
        else:
            shown = [group["note"].iloc[0], "", ""]
        lines.append([short_site(str(site)), *shown])
    return pd.DataFrame(lines, columns=["site", "nearest", "its rival", "difference"])


def contrast_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a site with a contrast: partial R2 of the nearest family on controls, and the ceiling of both."""
    found = rows[rows["metric"].isin(["partial r2", "ceiling"]) & rows["value"].notna()]
    lines = []
    for site, group in found.groupby("site", sort=False):
        first = {control: part.iloc[0] for control, part in group.groupby("control")}
        ceilings = group[(group["metric"] == "ceiling") & (group["control"] == "none")]["value"]
        cells = {name: f"{first[name]['value']:.3g}" if name in first else "-" for name in CONTRAST_CONTROLS}
        lines.append(
            {"site": short_site(str(site)), **cells, "ceilings": ", ".join(f"{v:.3g}" for v in ceilings)}
        )
    return pd.DataFrame(lines, columns=["site", *CONTRAST_CONTROLS, "ceilings"])


def filters(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a site with a filter: its slope at small eigenvalues, and the shares non-linear in query and labels."""
    shown = {
        "small-eigenvalue slope": "slope at small eigenvalues",
        "non-linear share in the query": "non-linear in query",
        "non-linear share in the labels": "in labels",
    }
    found = rows[rows["metric"].isin(list(shown)) & (rows["control"] == "none")]
    lines = []
    for site, group in found.groupby("site", sort=False):
        cells = {row.metric: _interval(row) for row in group.itertuples()}
        lines.append({"site": short_site(str(site)), **{title: cells[name] for name, title in shown.items()}})
    return pd.DataFrame(lines, columns=["site", *shown.values()])


def sites(rows: pd.DataFrame) -> list[str]:
    """The sites of a table in their order."""
    return list(dict.fromkeys(rows[rows["metric"] == "readout error"]["site"]))


def _line(rows: pd.DataFrame, site: str) -> dict[str, object]:
    here = rows[(rows["site"] == site) & (rows["control"] == "none")]
    error = here[here["metric"] == "readout error"].iloc[0]
    silent = "no better than control" in error["note"]
    matched = here[here["position"] == "all"]
    steps = {family: "-" if silent else _match(matched, family) for family in families_of(here)}
    return {"error": float(error["value"]), **steps, "filter": _verdict(here)}


def _match(rows: pd.DataFrame, family: str) -> str:
    own = rows[rows["algorithm"] == family]
    steps = own[(own["control"] == "none") & own["metric"].isin(["SimE", "relative L2"])]
    own = own[own["metric"].isin(["best step", "band low", "band high"])].set_index("metric")
    note = str(own.loc["best step", "note"])
    if "no better than control" in note:
        return "-"
    if steps["k"].nunique() == 1:  # a family without steps: its similarity instead
        return f"{steps['metric'].iloc[0]} {steps['value'].iloc[0]:.2f}"
    best, low, high = (int(own.loc[name, "value"]) for name in ("best step", "band low", "band high"))
    return f"{best}{'*' if 'end of the ladder' in note else ''} [{low}-{high}]"


def _verdict(rows: pd.DataFrame) -> str:
    row = rows[rows["metric"] == "filter verdict"].iloc[0]
    if row["algorithm"] == "none":
        return f"none ({row['note']})"
    left = rows[rows["metric"] == "filter unexplained"]["value"].min()
    among = f"{row['note']}; " if row["algorithm"] == "indistinguishable" else ""
    return f"{row['algorithm']} ({among}{left:.1%} unexplained)"


def _interval(row: object) -> str:
    value, low, high = (getattr(row, name) for name in ("value", "ci_low", "ci_high"))
    return "-" if pd.isna(value) else f"{value:.3g} [{low:.3g}, {high:.3g}]"
