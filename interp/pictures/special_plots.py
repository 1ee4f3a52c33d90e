"""Figures by matplotlib of tables that are no curves over training: onsets, circuits, filters, grids, replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.pictures.labels import relation_label, short_site
from interp.pictures.plots import series, spans
from tasks.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heads(table: pd.DataFrame, ax: Axes) -> Axes:
    """The curve of the head that scores highest on each relation at the last checkpoint."""
    table = table.reset_index(drop=True)
    own = table[(table["control"] == "none") & table["step"].notna()]
    last = own[own["step"] == own["step"].max()]
    best = last.loc[last.groupby("metric", sort=False)["value"].idxmax(), ["layer", "head", "metric"]]
    controls = table[table["control"] != "none"]
    return series(pd.concat([own.merge(best), controls]), ax)


def statistics(table: pd.DataFrame, ax: Axes) -> Axes:
    """The same by attention mass."""
    return heads(table[table["statistic"] == "attention mass"], ax)


def agreement(table: pd.DataFrame, ax: Axes) -> Axes:
    """The largest edge of each head in the circuit at the last checkpoint."""
    last = table[table["step"] == table["step"].max()]
    return series(last.assign(value=last["edge"], metric="largest edge in the circuit", unit="share"), ax)


def onsets(table: pd.DataFrame, ax: Axes) -> Axes:
    """Step of emergence of each subject with its interval, earliest above; open to the right where it has no end."""
    rose = table[table["step"].notna()]
    if rose.empty:
        raise UserError("nothing to plot: nothing emerged")
    rose = rose.assign(ci_high=rose["ci_high"].fillna(rose["last"]))
    places = np.arange(len(rose))[::-1]
    spans(ax, rose, places, "step")
    pairs = zip(rose["subject"], rose["metric"], strict=True)
    ax.set_yticks(places, [f"{subject} {relation_label(str(metric))}" for subject, metric in pairs])
    ax.set(xlabel="onset (training step)", xlim=(0, float(table["last"].max())))
    return ax


def circuit(table: pd.DataFrame, ax: Axes) -> Axes:
    """Faithfulness against the number of edges, the circuit that was chosen, and matched random ones of its size."""
    rows = table[(table["metric"] == "faithfulness") & (table["step"] == table["step"].max())]
    curve = rows[rows["control"] == "curve"].sort_values("edges")
    own, drawn = rows[rows["control"] == "none"], rows[rows["control"] == "random"]
    if own.empty:
        raise UserError("nothing to plot: the table holds no circuit")
    if len(curve):
        (line,) = ax.plot(curve["edges"], curve["value"], label="nested circuits")
        ax.fill_between(
            curve["edges"], curve["ci_low"], curve["ci_high"], color=line.get_color(), alpha=0.25, lw=0
        )
    row = own.iloc[0]
    apart = np.clip([[row["value"] - row["ci_low"]], [row["ci_high"] - row["value"]]], 0, None)
    ax.errorbar([row["edges"]], [row["value"]], yerr=apart, fmt="o", capsize=2, label="circuit, 95% interval")
    if len(drawn):
        ax.scatter(
            drawn["edges"], drawn["value"], s=6, color="grey", label=f"{len(drawn)} matched random circuits"
        )
    ax.set(xlabel="edges", ylabel="faithfulness (share of the behaviour)")
    ax.legend(frameon=False, fontsize="small")
    return ax


def best_steps(table: pd.DataFrame, ax: Axes) -> Axes:
    """Best-matching step of each algorithm at each site of the last checkpoint; bands: within one standard error."""
    rows = table[(table["control"] == "none") & (table["step"] == table["step"].max())]
    rows = rows[(rows["position"] == "all") & rows["metric"].isin(["best step", "band low", "band high"])]
    wide = rows.pivot_table(index=["algorithm", "site"], columns="metric", values="value", sort=False)
    if wide.empty:
        raise UserError("nothing to plot: the table holds no matching step")
    sites = list(dict.fromkeys(rows["site"]))
    for name, part in wide.reset_index().groupby("algorithm", sort=False):
        places = [sites.index(site) for site in part["site"]]
        (line,) = ax.plot(places, part["best step"], marker=".", label=str(name))
        ax.fill_between(places, part["band low"], part["band high"], color=line.get_color(), alpha=0.2, lw=0)
    ax.set_xticks(range(len(sites)), [short_site(str(site)) for site in sites])
    ax.set(xlabel="site", ylabel="best-matching step (band: one standard error)")
    ax.legend(frameon=False, fontsize="small")
    return ax


def filters(table: pd.DataFrame, ax: Axes) -> Axes:
    """The measured filter of the last site with its band, and the best member of each family."""
    rows = table[table["value"].notna() & (table["step"] == table["step"].max())]
    if rows.empty:
        raise UserError("nothing to plot: no site has a filter")
    for name, part in rows[rows["site"] == rows["site"].iloc[-1]].groupby("algorithm", sort=False):
        own = name == "measured"
        (line,) = ax.plot(
            part["eigenvalue"],
            part["value"],
            label=str(name),
            color="black" if own else None,
            ls="-" if own else "--",
        )
        if own:
            ax.fill_between(
                part["eigenvalue"], part["ci_low"], part["ci_high"], color=line.get_color(), alpha=0.2, lw=0
            )
    ax.set(
        xscale="log", xlabel="eigenvalue of X'X / t", ylabel="spectral filter (output per unit of the label)"
    )
    ax.legend(frameon=False, fontsize="small")
    return ax


def grid(table: pd.DataFrame, ax: Axes) -> Axes:
    """Layers and heads down, positions across at the last checkpoint; with one position points with intervals."""
    rows = table[(table["step"] == table["step"].max())].dropna(subset=["value"])
    if rows.empty:
        raise UserError("nothing to plot: there was no behaviour to restore")
    if rows["position"].nunique() < 2:
        return series(rows, ax)
    return _heat(rows.assign(down=[_site(*pair) for pair in zip(rows["layer"], rows["head"], strict=True)]),
                 ("down", "position"), ax, "normalised effect (corrupt 0, clean 1)")  # fmt: skip


def llc_sweep(table: pd.DataFrame, ax: Axes) -> Axes:
    """Effective parameters by gamma and step size at the last checkpoint."""
    rows = table[table["step"] == table["step"].max()]
    if rows["value"].isna().all():
        raise UserError("nothing to plot: all chains were rejected")
    ax = _heat(rows, ("gamma", "step_size"), ax, "local learning coefficient (effective parameters)")
    ax.set(xlabel="step size", ylabel="gamma")
    return ax


def replicates(table: pd.DataFrame, ax: Axes) -> Axes:
    """Median and 95% range of the bootstrap replicates of each output position's curve."""
    drawn = [name for name in table.columns if str(name).startswith("draw ")]
    table = table[table[drawn].notna().any(axis=1)]
    limits = np.nanquantile(table[drawn].to_numpy(float), (0.025, 0.5, 0.975), axis=1)
    named = table[["step", "metric", "position", "layer", "head"]]
    return series(named.assign(ci_low=limits[0], value=limits[1], ci_high=limits[2], control="none"), ax)


def slopes(table: pd.DataFrame, ax: Axes) -> Axes:
    """Slope of the interchange intervention by block and algorithm, with the levels of use (1) and of none (0)."""
    rows = table[(table["metric"] == "causal slope") & (table["control"] == "none")]
    rows = rows[rows["step"] == rows["step"].max()].dropna(subset=["value"])
    if rows.empty:
        raise UserError("nothing to plot: no direction decodes an iterate")
    for i, (name, part) in enumerate(rows.groupby("algorithm", sort=False)):
        apart = np.clip([part["value"] - part["ci_low"], part["ci_high"] - part["value"]], 0, None)
        ax.errorbar(part["layer"] + 0.08 * i, part["value"], yerr=apart, fmt="o", capsize=2, label=str(name))
    for level, name in ((1.0, "used as the iterate predicts"), (0.0, "not used")):
        ax.axhline(level, color="grey", ls="--" if level else ":", lw=1, label=name)
    ax.set(xlabel="after block", ylabel="slope of the prediction on the iterate")
    ax.legend(frameon=False, fontsize="small")
    return ax


def _site(layer: float | int, head: float | int) -> str:
    return f"L{int(layer)}" + (f"H{int(head)}" if head >= 0 else "")


def _heat(rows: pd.DataFrame, axes: tuple[str, str], ax: Axes, label: str) -> Axes:
    """A grid of cells with a bar of colours; intervals of cells are in the table."""
    down, across = axes
    wide = rows.pivot_table(index=down, columns=across, values="value", sort=False)
    image = ax.imshow(wide.to_numpy(float), aspect="auto", cmap="viridis")
    ax.set_xticks(range(wide.shape[1]), [f"{name}" for name in wide.columns])
    ax.set_yticks(range(wide.shape[0]), [f"{name}" for name in wide.index])
    ax.set(xlabel=across, ylabel="layer and head" if down == "down" else down)
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(image, ax=ax, label=label)
    return ax
