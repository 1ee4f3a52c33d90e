"""R2 of readout targets as printed: a line a target, or a line a checkpoint."""

from __future__ import annotations

import pandas as pd

from interp.pictures.labels import short_site

LEGEND = (
    "R2 against the variance within each output position. w, X'y and spectrum: mean over coordinates. An algorithm: "
    "its best-decoded step, after the @. (-): no better than a control; shuffled, untrained: the highest over sites."
)


def by_site(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a target and one column a site, for the rows of one checkpoint."""
    lines = []
    for group, members in _groups(rows):
        own = members[members["control"] == "none"]
        cells = {short_site(str(site)): _cell(here) for site, here in own.groupby("site", sort=False)}
        lines.append({"target": group, **cells, **_controls(members)})
    return pd.DataFrame(lines)


def by_step(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a checkpoint and one column a target, for the rows of one site; the controls in the last lines."""
    groups = _groups(rows)
    lines: list[dict[str, object]] = []
    for step in rows["step"].dropna().unique():
        lines.append({"step": step, **{group: _cell(_own(members, step)) for group, members in groups}})
    controls = {group: _controls(members) for group, members in groups}
    for name in dict.fromkeys(name for found in controls.values() for name in found):
        lines.append({"step": name, **{group: found.get(name, "") for group, found in controls.items()}})
    return pd.DataFrame(lines)


def _own(members: pd.DataFrame, step: object) -> pd.DataFrame:
    return members[(members["control"] == "none") & (members["step"] == step)]


def _groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows by what they are coordinates or steps of; the steps of one algorithm alone stay apart."""
    named = rows.assign(group=[_group(str(target)) for target in rows["target"]])
    alone = named["group"].nunique() == 1 and named["member"].ne("").all()
    key = "target" if alone else "group"
    return [(str(name), group) for name, group in named.groupby(key, sort=False)]


def _group(target: str) -> str:
    """`w 3` as `w`, `eigenvalue 0` as `spectrum`, `newton(5)` as `newton`."""
    name = target.split("(")[0] if target.endswith(")") else target.rsplit(" ", 1)[0]
    return "spectrum" if name == "eigenvalue" else name


def _cell(rows: pd.DataFrame) -> str:
    silent = " (-)" if rows["note"].str.contains("no better than control").all() else ""
    if rows["member"].ne("").any():
        best = rows.loc[rows["value"].idxmax()]
        step = str(best["target"]).split("(")[1].rstrip(")") if len(rows) > 1 else ""
        silent = " (-)" if "no better than control" in best["note"] else ""
        return _figure(best["value"]) + (f" @{step}" if step else "") + silent
    return _figure(rows["value"].mean()) + silent


def _figure(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"


def _controls(members: pd.DataFrame) -> dict[str, str]:
    """The best score of each control over sites and checkpoints."""
    found = members[members["control"].isin(["untrained", "shuffled"])]
    means = found.groupby(["control", "site", "step", "target"], dropna=False)["value"].mean()
    kept = means.groupby(["control", "site", "step"], dropna=False)
    best = kept.max() if members["member"].ne("").any() else kept.mean()
    return {str(name): _figure(value) for name, value in best.groupby("control").max().items()}
