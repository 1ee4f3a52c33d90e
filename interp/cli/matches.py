"""The algorithms table as printed: a line a site, or a line a checkpoint."""

from __future__ import annotations

import pandas as pd

from interp.pictures.labels import short_site
from probes.verdict import FREE, NO_FILTER, UNLISTED

LEGEND = (
    "Best step [band within one standard error] over all output positions; * end of the ladder; - no better than a "
    "control. Ridge counts places on a path from strong to weak. Misfit: share of the outputs beyond query noise, "
    "95% CI, of the family that fits best; free filter: of any function of the eigenvalues."
)

ALL_BLOCKS = "all blocks"
MOST_FAMILIES = 7  # columns that fit
VERDICT = ("verdict", "misfit", "free filter")
NEAREST_NAMED = (UNLISTED, NO_FILTER)
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
    """Lines of matches as tables that fit: error and verdict with its misfits, then the families in parts."""
    first, error, *families = (c for c in lines.columns if c not in VERDICT)
    starts = range(0, len(families), MOST_FAMILIES)
    return [lines[[first, error, *VERDICT]]] + [
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
            {"step": step, **{n: f"{c['verdict']} ({c['misfit']})" for n, c in here.items()}}
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
    untrained = table[table["step"].isna()].assign(control="none")
    rows = pd.concat([error.assign(control="none"), untrained], ignore_index=True)
    return pd.DataFrame([{"site": short_site(site), **_line(rows, site)} for site in sites(first)[-1:]])


def interventions(table: pd.DataFrame) -> pd.DataFrame:
    """One line a checkpoint, site and algorithm of a causal probe, with the range over random directions."""
    whole = table.reindex(columns=table.columns.union(["value", "ci_low", "ci_high"], sort=False))
    named = whole.assign(step=table["step"].astype(object).where(table["step"].notna(), "untrained"))
    lines = [
        {"step": step, "site": short_site(site), "algorithm": family, **_moved(rows)}
        for (step, site, family), rows in named.groupby(["step", "site", "algorithm"], sort=False)
    ]
    return pd.DataFrame(lines).fillna("")


def _moved(rows: pd.DataFrame) -> dict[str, object]:
    """The figures of one probe."""
    own, drawn = rows[rows["control"].isin(("none", "untrained"))], rows[rows["control"] == "random"]
    slope = own[own["metric"] == "causal slope"].iloc[0]
    shown: dict[str, object] = {"k": slope["k"], "probe R2": f"{slope['r2']:.2f}", "slope": _interval(slope)}
    if not pd.isna(slope["value"]):
        shown["missed"] = _interval(own[own["metric"] == "missed change"].iloc[0])
    part = rows[(rows["control"] == "seen part") & (rows["metric"] == "causal slope")]
    if len(part):
        shown["seen part alone"] = _interval(part.iloc[0])
    found = drawn[drawn["metric"] == "causal slope"]["value"]
    if not found.empty:
        shown["random"] = f"{found.min():.2f} to {found.max():.2f}"
    use = slope.get("use")
    return {**shown, "use": use} if isinstance(use, str) and use else shown


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
    """One line a site with a contrast: partial R2 of the nearest family on controls."""
    found = rows[(rows["metric"] == "partial r2") & rows["value"].notna()]
    lines = []
    for site, group in found.groupby("site", sort=False):
        first = {control: part.iloc[0] for control, part in group.groupby("control")}
        cells = {name: f"{first[name]['value']:.3g}" if name in first else "-" for name in CONTRAST_CONTROLS}
        lines.append({"site": short_site(str(site)), **cells})
    return pd.DataFrame(lines, columns=["site", *CONTRAST_CONTROLS])


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


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """One line a checkpoint: whether the residual filter doubles (Newton) or adds (gradient descent) over layers."""
    found = table[table["metric"].str.startswith("filter growth") & (table["control"] == "none")]
    lines = []
    for step, rows in found.groupby("step"):
        told = rows[rows["metric"] == "filter growth"].iloc[0]
        own = {row.algorithm: _interval(row) for row in rows[rows["metric"] != "filter growth"].itertuples()}
        misfits = {f"misfit of {name}": own[name] for name in ("doubling", "adding")}
        lines.append(
            {"step": step, "from layer to layer": told["algorithm"], **misfits, "note": told["note"]}
        )
    return pd.DataFrame(lines)


def sites(rows: pd.DataFrame) -> list[str]:
    """The sites of a table in their order."""
    return list(dict.fromkeys(rows[rows["metric"] == "readout error"]["site"]))


def _line(rows: pd.DataFrame, site: str) -> dict[str, object]:
    here = rows[(rows["site"] == site) & (rows["control"] == "none")]
    error = here[here["metric"] == "readout error"].iloc[0]
    silent = "no better than control" in error["note"]
    matched = here[here["position"] == "all"]
    steps = {family: "-" if silent else _match(matched, family) for family in families_of(here)}
    return {"error": float(error["value"]), **steps, **_verdict(here)}


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


def _verdict(rows: pd.DataFrame) -> dict[str, str]:
    """The verdict in words, and both misfits with their intervals."""
    row = rows[rows["metric"] == "filter verdict"].iloc[0]
    own = _interval(row) if row["verdict"] != "none" else "-"
    free = rows[(rows["metric"] == "filter misfit") & (rows["algorithm"] == FREE)]
    other = _interval(free.iloc[0]) if len(free) else "-"
    return dict(zip(VERDICT, (_words(row), own, other), strict=True))


def _words(row: pd.Series) -> str:
    """A verdict and the families it is about, or why there is none."""
    kind, note = str(row["verdict"]), str(row["note"])
    if kind == "identified":
        return str(row["member"])
    if kind == "none":
        return f"none ({note})"
    names = str(row["families"])
    if kind in NEAREST_NAMED:
        return f"{kind}; nearest {names}"
    return f"{kind}: {names}"


def _interval(row: object) -> str:
    value, low, high = (getattr(row, name) for name in ("value", "ci_low", "ci_high"))
    return "-" if pd.isna(value) else f"{value:.3g} [{low:.3g}, {high:.3g}]"
