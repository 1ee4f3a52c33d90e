"""Commands that intervene: activation patching and circuits, at one checkpoint or at all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from cyclopts import Parameter

from interp.causal.choices import Axis, Direction, Method, MetricName, Replacement, Search
from interp.cli import show
from interp.cli.analyses import Json, Released, Steps, print_json
from interp.heads.heads import has_roles
from interp.hooks.components import Component as SiteComponent
from interp.run import Run, load
from tasks.errors import UserError

Substitute = Annotated[Replacement, Parameter(metavar="CHOICE")]
Component = Annotated[SiteComponent | Literal["head_out"] | str, Parameter(metavar="COMPONENT")]
Choice = Annotated[str | None, Parameter(show_default=False)]


def patch(
    run: Path,
    /,
    *,
    component: Component = "resid_pre",
    pair: Choice = None,
    direction: Direction = "denoise",
    replacement: Substitute = "pair",
    metric: MetricName = "loss",
    read: Choice = None,
    by: Annotated[list[Axis] | None, Parameter(consume_multiple=True)] = None,
    prompts: int = 64,
    steps: Steps = "last",
    released: Released = False,
    json: Json = False,
) -> int:
    """Patch every site of a grid and print how much of the clean run each brings back (corrupt 0, clean 1).

    Parameters
    ----------
    run
        Folder of the run.
    component
        What is patched; head_out is another word for z.
    pair
        Which pair of the task; its first unless given.
    direction
        denoise: a clean value into the corrupt run; noise: the clean run loses one site.
    replacement
        The pair's other prompt; with noise also an ablation.
    metric
        What is measured of the answer; prediction_change is a squared distance and cannot cancel.
    read
        One read of the task ("hop 2"); all unless given.
    by
        Axes of the grid; others are patched as a whole.
    prompts
        Number of pairs.
    """
    with show.progress("patch") as advance:
        result = load(run, released=released).patch(
            component, pair=pair, steps=steps, progress=advance, direction=direction,
            replacement=replacement, metric=metric, read=read, prompts=prompts, by=by or get_args(Axis),
        )  # fmt: skip
    if json:
        return print_json(result)
    for step, rows in result.table.groupby("step", sort=True):
        show.table(_grid(rows), f"normalised effect at step {step}")
    show.note(result.caption)
    return 0


def _grid(rows: pd.DataFrame) -> pd.DataFrame:
    """Layers and heads down, positions across, in pieces that fit a line; a list where there is one axis only."""
    rows = rows.assign(value=[f"{value:.2f}" for value in rows["value"]])
    keys = [key for key in ("layer", "head") if key in rows and rows[key].notna().any()]
    if "position" not in rows or rows["position"].nunique() < 2 or rows["position"].nunique() > 16:
        names = [*keys, *(["position"] if "position" in rows and rows["position"].nunique() > 1 else [])]
        return rows[[*names, "value", "ci_low", "ci_high"]]
    wide = rows.pivot(index=keys, columns="position", values="value")[list(dict.fromkeys(rows["position"]))]
    return wide.reset_index().rename_axis(columns=None)


def circuit(
    run: Path,
    /,
    *,
    method: Method = "exact",
    search: Search = "prune",
    threshold: float = 0.02,
    metric: MetricName = "loss",
    read: Choice = None,
    prompts: int = 64,
    steps: Steps = "last",
    resamples: int = 0,
    edges: int = 20,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    released: Released = False,
    json: Json = False,
) -> int:
    """Search the edges that carry the behaviour and judge them beside random circuits of the same size.

    Parameters
    ----------
    run
        Folder of the run.
    method
        exact: every edge run by itself; EAP, EAP-IG: gradient screens, quicker and approximate.
    search
        prune: edges are taken away while the behaviour stays; threshold: each edge needed by itself; greedy: edges
        are grown from the output.
    threshold
        Least effect of an edge, as a share of the whole behaviour.
    metric
        What is measured; prediction_change is the squared distance to the whole model's output and cannot cancel.
    read
        One read of the task; all unless given.
    prompts
        Prompts to score edges on.
    resamples
        Search again at the last step on the prompts of so many other seeds, and say how much the circuits overlap.
    edges
        Edges to print of each circuit, the heaviest; --json and --out have all.
    out
        Write the last circuit as JSON.
    """
    from interp.causal.over_training import circuit_at
    from interp.io.files import make_room, write_atomically

    if resamples < 0 or edges < 0:
        raise UserError("--resamples and --edges are numbers from 0 on")
    if out is not None:
        make_room(out)

    opened = load(run, released=released)
    with show.progress("circuit") as advance:
        settings = {
            "method": method,
            "search": search,
            "threshold": threshold,
            "metric": metric,
            "read": read,
            "prompts": prompts,
        }
        result = opened.circuit(steps=steps, progress=advance, **settings)
        roles = has_roles(opened.config.model, opened.task)
        agreed = opened.agreement(steps=steps, progress=advance, **settings) if roles else None
        overlap = _overlap(opened, result.table, steps, resamples, settings) if resamples else {}
    if out is not None:
        write_atomically(out, circuit_at(result.table, opened.resolve(steps)[-1]).to_json().encode() + b"\n")
    if json:
        heads = {} if agreed is None else {"heads": show.records(agreed.table)}
        return print_json(result, {**heads, **overlap})
    for step, rows in result.table.groupby("step", sort=True):
        found = rows[rows["metric"] == "edge"]
        judged = rows[~rows["metric"].isin(("edge", "screened edge"))]
        if method != "exact":
            show.note(_screened(rows[rows["metric"] == "screened edge"], method, threshold))
        if judged.empty:
            show.note(f"step {step}: {found['note'].iloc[0]}")
            continue
        show.table(_judged(judged), f"how much of the behaviour it carries, step {step}")
        if agreed is not None:
            show.table(*_agreed(agreed.table[agreed.table["step"] == step], step))
        if edges:
            show.table(*_heaviest(found, step, edges))
    if overlap:
        show.note(
            f"circuits on the prompts of {1 + resamples} seeds share {overlap['overlap']:.2f} of their edges (Jaccard)"
        )
    show.note(result.caption)
    return 0


def _heaviest(rows: pd.DataFrame, step: object, most: int) -> tuple[pd.DataFrame, str]:
    """The edges of largest effect either way, and how many there are."""
    ordered = rows.loc[rows["value"].abs().sort_values(ascending=False, kind="stable").index]
    of = f"the {most} heaviest of {len(rows)} edges" if len(rows) > most else f"all {len(rows)} edges"
    more = f" (--edges {len(rows)} prints all)" if len(rows) > most else ""
    return ordered[["sender", "receiver", "value"]].head(most), f"{of} of the circuit at step {step}{more}"


def _overlap(
    run: Run, table: pd.DataFrame, steps: str, resamples: int, settings: dict[str, Any]
) -> dict[str, float]:
    """Mean overlap of the last step's circuit with those on the prompts of other seeds; nothing if all are empty."""
    from interp.causal.over_training import circuit_at
    from interp.causal.stability import jaccard

    last = run.resolve(steps)[-1]
    others = [run.circuit(steps=last, seed=seed, **settings).table for seed in range(1, resamples + 1)]
    found = [circuit_at(one, last) for one in (table, *others)]
    value = jaccard(found)
    return {"overlap": value} if any(one.edges for one in found) else {}


def _screened(rows: pd.DataFrame, method: str, threshold: float) -> str:
    """What the screen is worth: its correlation with the exact effects of a sample of edges, and what it missed."""
    if rows.empty:
        return f"{method}: a screen, and no exact effects to hold it against (no behaviour)"
    known = rows[rows["exact"].notna()]
    needed = known[known["exact"] > threshold]
    seen = int((needed["value"].abs() > threshold).sum())
    r = rows["correlation"].iloc[0]
    return (
        f"{method} is a first-order screen: over {len(known)} edges run exactly as well, correlation "
        f"{'undefined (no spread)' if pd.isna(r) else f'{r:.2f}'}; {len(needed)} of them pass the threshold, "
        f"of which the screen sees {seen}"
    )


def _agreed(rows: pd.DataFrame, step: object) -> tuple[pd.DataFrame, str]:
    """One line a head that is in the circuit or has a role, with its largest edge, and the count over all heads."""
    told = rows[rows["found"] != "neither"].rename(columns={"score": "attention"})
    told = told.assign(agrees=["yes" if value else "no" for value in told["value"]])
    title = (
        f"circuit and attention roles at step {step}: {int(rows['value'].sum())} of {len(rows)} heads agree "
        f"({rows['chance'].iloc[0] * len(rows):.1f} by chance); heads with neither are left out"
    )
    return told[["layer", "head", "agrees", "found", "role", "attention", "edge", "verdict"]], title


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a figure; the random circuits' range in one line."""
    own = rows[rows["control"] != "random"][["metric", "control", "edges", "value", "ci_low", "ci_high", "n"]]
    drawn = rows[rows["control"] == "random"]["value"]
    spread = {
        "metric": "faithfulness",
        "control": f"random, {len(drawn)} drawn (range)",
        "value": drawn.median(),
    }
    ends = {"ci_low": drawn.min(), "ci_high": drawn.max(), "edges": own["edges"].iloc[0]}
    return pd.concat([own, pd.DataFrame([{**spread, **ends}])], ignore_index=True)
