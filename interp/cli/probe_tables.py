"""What `interp probe` shows of its tables, and which layers and output positions it can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.analysis.result import Result
from interp.cli import matches, show, target_tables, wide
from interp.pictures.labels import short_site
from interp.readouts.shift import shifted
from interp.run import Run
from tasks.errors import UserError


def refuse_absent(
    run: Run, layers: list[str] | None, output: str, shift: dict[str, Any], several: bool
) -> None:
    """Raises UserError for layers and output positions that this run lacks, before anything is measured.

    Positions are pooled where `several` targets are decoded: up to d examples, and more.
    """
    if layers and layers != ["all"]:
        there = ["embed", *(str(layer) for layer in range(getattr(run.config.model, "n_layers", 0)))]
        for name in _asked(layers):
            if name not in there:
                raise _no_layer(name, there)
    outputs = (shifted(run.task, shift) if shift else run.task).output_names
    if output not in ("all", *outputs, *(("t<=d", "t>d") if several else ())):
        raise _no_output(output, outputs)


def _asked(layers: list[str]) -> list[str]:
    return [name for part in layers for name in part.split(",")]


def _no_layer(name: str, there: Sequence[str]) -> UserError:
    return UserError(f"no layer {name!r}: known are {', '.join(there)}")


def _no_output(output: str, known: Sequence[str]) -> UserError:
    shown = ", ".join(known) if len(known) < 6 else f"{', '.join(known[:4])} .. {known[-1]}"
    return UserError(f"no output position {output!r}: known are {shown}")


def only(table: pd.DataFrame, layers: list[str] | None) -> pd.DataFrame:
    """Rows of some layers, and those that belong to none. Raises UserError for an unknown layer."""
    if layers is None or layers == ["all"]:
        return table
    sites = [site for site in table["site"].dropna().unique() if site != matches.ALL_BLOCKS]
    asked = _asked(layers)
    there = list(dict.fromkeys(_layer(site) for site in sites))
    for name in asked:
        if name not in there:
            raise _no_layer(name, there)
    hidden = [site for site in sites if _layer(site) not in asked]
    return table[~table["site"].isin(hidden)]


def _layer(site: str) -> str:
    return short_site(site).split()[0].removeprefix("L")


def print_readouts(result: Result, output: str, distribution: str) -> None:
    """Readout errors, one line a checkpoint and one column a site."""
    for metric in result.table["metric"].unique():
        outputs = result.table[result.table["metric"] == metric]
        if outputs["readout"].notna().any() or output != "all":
            outputs = _read(outputs, output)
        for position, rows in outputs.groupby("position", sort=False):
            title = f"{metric} of a linear readout, {position}{distribution}, by checkpoint and site"
            show.table(wide.by_site(rows.assign(value=rows["value"].round(4))), title)


def _read(rows: pd.DataFrame, output: str) -> pd.DataFrame:
    """Rows of one output position, of the readout fitted there if any. Raises UserError for an unknown position."""
    found = rows[rows["position"] == output]
    if found.empty:
        raise _no_output(output, list(dict.fromkeys(rows["position"])))
    fitted = [
        name for name in (output, "each", "all") if "readout" in found and (found["readout"] == name).any()
    ]
    return found[found["readout"] == fitted[0]] if fitted else found


def print_targets(result: Result, output: str, distribution: str) -> None:
    """R2 of every target: a table each for a few checkpoints, one line each for many."""
    rows = _read(result.table[result.table["metric"] == "r2"], output)
    steps = rows["step"].dropna().astype(int).unique()
    title = f"R2 of linear readouts, {output}{distribution}"
    if len(steps) == 1:
        show.table(target_tables.by_site(rows), f"step {steps[0]}: {title}, by target and site")
    else:
        for site, here in rows.groupby("site", sort=False):
            if site == list(rows["site"])[-1] or rows["site"].nunique() < 4:
                show.table(target_tables.by_step(here), f"{short_site(str(site))}: {title}, by checkpoint")
    show.note(target_tables.LEGEND)


def print_own(result: Result) -> None:
    """A target of the user's own, all its positions together: a table a metric and member, one line a checkpoint."""
    rows = result.table[result.table["position"] == "all"]
    for (metric, target), here in rows[rows["metric"] != "mse"].groupby(["metric", "target"], sort=False):
        table = wide.by_site(here.assign(value=here["value"].round(4)))
        show.table(table, f"{metric} of a linear readout of {target}, all positions, by checkpoint and site")


def print_algorithms(result: Result, steps: str, distribution: str, each: bool) -> None:
    """Tables of each checkpoint; for all checkpoints one line each, for the last layer or `each`."""
    if steps == "all":
        sites = matches.sites(result.table)
        for site in sites if each else sites[-1:]:
            name = short_site(site) if each else "the last layer"
            _tables(matches.by_step(result.table, site), f"{name}, by checkpoint{distribution}")
        for title, frame in matches.over_training(result.table).items():
            show.table(frame, f"{title}, by checkpoint and layer{distribution}")
        _growth(result.table, distribution)
    else:
        for step in result.table["step"].dropna().astype(int).unique():
            print_checkpoint(result.table[result.table["step"] == step], step, distribution)
        _growth(result.table, distribution)
    _tables(matches.untrained(result.table), "the untrained model")
    show.note(matches.LEGEND)


def _growth(table: pd.DataFrame, distribution: str) -> None:
    found = matches.growth(table)
    if len(found):
        show.table(
            found,
            f"filters from layer to layer: doubling (Newton) or adding (gradient descent){distribution}",
        )


def _tables(lines: pd.DataFrame, title: str) -> None:
    """Verdicts under their title, then matches."""
    whole, *rest = matches.parts(lines)
    show.table(whole, title)
    for frame in rest:
        show.table(frame, "best step [range] of each algorithm")


def print_checkpoint(rows: pd.DataFrame, step: object, distribution: str) -> None:
    """All tables on the layers of one checkpoint."""
    _tables(matches.by_site(rows), f"step {step}: readout error, filter verdict{distribution}")
    controls = "partial R2 of the nearest algorithm and its controls"
    below = {
        "best step against layer, 95% CIs over prompts": matches.slopes(rows),
        "partial R2 beyond label, OLS and each other": matches.contrasts(rows),
        controls: matches.contrast_controls(rows),
        "filters, 95% CIs over prompts": matches.filters(rows),
    }
    for title, frame in below.items():
        if len(frame):
            show.table(frame, f"step {step}: {title}")
