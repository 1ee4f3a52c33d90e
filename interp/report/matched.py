"""Matches, filter verdicts and measured filters as the page's script takes them."""

from __future__ import annotations

import pandas as pd

from interp.report.cells import JsonRow, given, number, rows_of

MATCHED = ("SimE", "SimW", "relative L2")
BANDS = {"best": "best step", "low": "band low", "high": "band high"}


def algorithms(table: pd.DataFrame) -> list[JsonRow]:
    """One entry a checkpoint: match maps (site x k) with their bands, slopes, and the verdict of every site."""
    own = table[(table["control"] == "none") & table["step"].notna()]
    return [{"step": int(step), **_matched(rows)} for step, rows in own.groupby("step")]  # type: ignore[call-overload]


def _matched(rows: pd.DataFrame) -> JsonRow:
    pooled = rows[rows["position"] == "all"] if "position" in rows else rows
    sites = list(dict.fromkeys(rows[rows["metric"] == "filter verdict"]["site"]))
    maps = [
        _match_map(group, pooled, sites, str(metric), str(family))
        for (metric, family), group in pooled[pooled["metric"].isin(MATCHED)].groupby(
            ["metric", "algorithm"], sort=False
        )
    ]
    slopes = [
        {
            "metric": str(r["metric"]),
            "algorithm": str(r["algorithm"]),
            **_span(r),
            "note": str(r.get("note") or ""),
        }
        for r in rows_of(pooled[pooled["metric"].str.startswith("slope of")])
    ]
    told = rows[rows["metric"] == "filter verdict"]
    verdicts = [_verdict(row) for row in rows_of(told)]
    return {"sites": sites, "maps": maps, "slopes": slopes, "verdicts": verdicts}


WORDS = ("site", "verdict", "families", "member", "note")
FREE = {"free": "free_misfit", "free_low": "free_low", "free_high": "free_high"}


def _verdict(row: JsonRow) -> JsonRow:
    """A verdict in words, and the misfits of the best family and of the free filter with their intervals."""
    words = {key: str(row[key]) if given(row.get(key)) else "" for key in WORDS}
    return {**words, **_span(row), **{key: number(row.get(name)) for key, name in FREE.items()}}


def _match_map(
    group: pd.DataFrame, pooled: pd.DataFrame, sites: list[str], metric: str, family: str
) -> JsonRow:
    wide = group.pivot_table(index="site", columns="k", values="value").reindex(sites)
    own = pooled[pooled["algorithm"] == family]
    bands = {
        key: [number(v) for v in own[own["metric"] == name].set_index("site")["value"].reindex(sites)]
        for key, name in BANDS.items()
    }
    value = [[number(v) for v in row] for row in wide.to_numpy()]
    return {
        "metric": metric,
        "algorithm": family,
        "k": [int(k) for k in wide.columns],
        "value": value,
        **bands,
    }


def _span(row: JsonRow) -> JsonRow:
    return {
        key: number(row.get(name))
        for key, name in {"value": "value", "low": "ci_low", "high": "ci_high"}.items()
    }


def filters(table: pd.DataFrame) -> list[JsonRow]:
    """One curve a site and algorithm over the eigenvalues of S."""
    rows = table[table["value"].notna()]
    return [
        {
            "site": str(site),
            "algorithm": str(family),
            "member": str(curve["member"].iloc[0]) if given(curve["member"].iloc[0]) else "",
            "misfit": number(curve["misfit"].iloc[0]),
            **{key: [number(v) for v in curve[name]] for key, name in FILTER.items()},
        }
        for (site, family), curve in rows.groupby(["site", "algorithm"], sort=False)
    ]


FILTER = {"x": "eigenvalue", "value": "value", "low": "ci_low", "high": "ci_high"}
