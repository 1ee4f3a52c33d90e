"""What the filter verdict says of the last layer: which algorithm, on what evidence, and what speaks against it."""

from __future__ import annotations

import pandas as pd

from interp.analysis.conclusion import Sentence, at, capital, figures, interval, limits, measured
from interp.pictures.labels import short_site
from interp.readouts.verdict_rows import GROWTH, MISFIT, NAMED

FULL_NAMES = {
    "gd": "gradient descent",
    "gd++": "GD++",
    "newton": "Newton's method",
    "newton-identity": "Newton's method from the identity",
    "ridge": "ridge",
    "cg": "conjugate gradients",
    "bfgs": "BFGS",
    "lbfgs": "L-BFGS",
    "richardson": "Richardson iteration",
    "momentum": "gradient descent with momentum",
    "chebyshev": "Chebyshev iteration",
    "preconditioned-gd": "preconditioned gradient descent",
    "ols": "ordinary least squares",
    "svd": "truncated SVD",
    "flow": "gradient flow",
    "ogd": "online gradient descent",
    "bayes": "the Bayes estimator",
    "dMMSE": "dMMSE (the Bayes predictor of the pool of tasks)",
}
OUTPUT_IS = {
    "identified": "its output is that of {}",
    "indistinguishable": "its output is that of one of several algorithms that these prompts do not distinguish: {}",
    "unlisted filter": "no listed algorithm fits, but some function of the eigenvalues of X'X does",
    "not a filter": "no listed algorithm fits, and no function of the eigenvalues of X'X does",
    "mixture": "its output is that of a mixture: {}",
}
NEAREST = ("unlisted filter", "not a filter")
GROWS = {
    "doubling": "From layer to layer the residual filter doubles its order, as Newton's method does",
    "adding": "From layer to layer the residual filter adds to its order, as gradient descent does",
}


def algorithms(table: pd.DataFrame) -> list[Sentence]:
    """The verdict at the last site of the last checkpoint, what speaks against it, and how the filter grows."""
    rows = measured(table)
    told = rows[rows["metric"] == NAMED]
    if told.empty:
        return []
    row = told.iloc[-1]
    here = rows[rows["site"] == row["site"]]
    verdict = _none(row) if row["verdict"] == "none" else _verdict(row)
    text = f"{at(rows)}, {_layer(str(row['site']))}: {verdict}."
    found = {**figures(row, "misfit"), **_free(row)}
    return [Sentence(text, found), *_against(row, here), *_growth(rows), *_over_training(table, row)]


def family(name: str) -> str:
    """An algorithm's name in full.

    >>> family("gd"), family("unlisted filter")
    ('gradient descent', 'unlisted filter')
    """
    return FULL_NAMES.get(name, name)


def _layer(site: str) -> str:
    short = short_site(site)
    return f"layer {short[1:]}" if short.startswith("L") else short


def _families(text: str) -> str:
    return ", ".join(family(name.strip()) for name in text.split(","))


def _none(row: pd.Series) -> str:
    return f"no algorithm is identified ({row['note']})"


def _verdict(row: pd.Series) -> str:
    """The verdict with both misfits, that of the best family and that of a free filter."""
    kind, families = str(row["verdict"]), _families(str(row["families"]))
    named = f"{family(str(row['algorithm']))} ({row['member']})" if kind == "identified" else families
    text = OUTPUT_IS[kind].format(named)
    nearest = f"; nearest: {families}" if kind in NEAREST else ""
    note = f"; {row['note']}" if isinstance(row["note"], str) and row["note"] else ""
    return f"{text} (misfit beyond query noise {interval(row, '.3g')}{_compared(row)}{note}){nearest}"


def _free(row: pd.Series) -> dict[str, float]:
    return {name: float(row[name]) for name in ("free_misfit", "free_low", "free_high")}


def _compared(row: pd.Series) -> str:
    """The free filter's misfit against that of the best family."""
    if pd.isna(row["free_misfit"]):
        return ""
    (low, high), free = (
        limits(row),
        f"{row['free_misfit']:.3g} [{row['free_low']:.3g}, {row['free_high']:.3g}]",
    )
    if row["free_high"] < low:
        return f"; a free filter misfits less, {free}"
    if row["free_low"] > high:
        return f"; a free filter misfits more, {free}"
    return f"; a free filter misfits as much, {free}"


def _against(row: pd.Series, here: pd.DataFrame) -> list[Sentence]:
    """The nearest rival, and the shares of the output that no linear map of query or labels explains."""
    parts, found = [], {}
    behind = here[(here["metric"] == f"{MISFIT} above the best") & (here["algorithm"] != row["algorithm"])]
    if row["verdict"] == "identified" and len(behind := behind.dropna(subset=["value"])):
        rival = behind.loc[behind["value"].idxmin()]
        found |= figures(rival, "nearest rival")
        parts.append(
            f"the nearest rival, {family(str(rival['algorithm']))}, misfits by {interval(rival, '.3g')} more"
        )
    for place in ("query", "labels"):
        share = here[here["metric"] == f"non-linear share in the {place}"].dropna(subset=["value"])
        if len(share) and limits(share.iloc[0])[0] > 0.01:
            found |= figures(share.iloc[0], place)
            parts.append(f"{interval(share.iloc[0], '.1%')} of the output is not linear in the {place}")
    return [Sentence(f"Against it: {'; '.join(parts)}.", found)] if parts else []


def _growth(rows: pd.DataFrame) -> list[Sentence]:
    found = rows[rows["metric"] == GROWTH]
    if found.empty or found["algorithm"].iloc[0] not in GROWS:
        return []
    answer = str(found["algorithm"].iloc[0])
    own = rows[(rows["metric"] == f"{GROWTH} misfit") & (rows["algorithm"] == answer)]
    if own.empty:
        return []
    return [Sentence(f"{GROWS[answer]} (misfit {interval(own.iloc[0], '.3g')}).", figures(own.iloc[0]))]


def _over_training(table: pd.DataFrame, row: pd.Series) -> list[Sentence]:
    """At how many of several checkpoints the last layer has this verdict."""
    told = table[(table["metric"] == NAMED) & (table["site"] == row["site"]) & table["step"].notna()]
    told = told[told["control"] == "none"]
    if len(told) < 2:
        return []
    same = told[(told["verdict"] == row["verdict"]) & (told["families"] == row["families"])]
    counts = {"same verdict": float(len(same)), "checkpoints": float(len(told))}
    return [Sentence(f"The same verdict at {len(same)} of {len(told)} checkpoints.", counts)]


def filters(table: pd.DataFrame) -> list[Sentence]:
    """The family whose filter lies nearest to the measured one at the last site."""
    own = measured(table)
    fitted = own.dropna(subset=["misfit"])
    if fitted.empty:
        why = own["note"].dropna().astype(str)
        return [Sentence(f"{at(own)}: no filter was measured: {why.iloc[0]}.")] if len(why) else []
    here = fitted[fitted["site"] == fitted["site"].iloc[-1]]
    best = here.loc[here["misfit"].idxmin()]
    site = capital(_layer(str(best["site"])))
    named = f"{family(str(best['algorithm']))} ({best['member']})"
    text = f"{site}: of the listed families the filter of {named} is nearest"
    found = {"misfit": float(best["misfit"])}
    return [Sentence(f"{text}, misfit {best['misfit']:.3g}; only the filter verdict identifies one.", found)]
