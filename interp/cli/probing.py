"""The command that reads layers: the label, other targets, the algorithms they match, and whether the net uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter

from interp.analysis.result import Result
from interp.cli import matches, show, target_tables, wide
from interp.cli.analyses import Json, Released, Steps, print_json
from interp.config.run import parse_override
from interp.pictures.labels import short_site
from interp.run import Run, load
from tasks.errors import UserError

Several = Annotated[list[str] | None, Parameter(negative="", consume_multiple=True, show_default=False)]


def probe(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    targets: Several = None,
    algorithms: bool = False,
    families: Several = None,
    context: Annotated[int | None, Parameter(show_default=False)] = None,
    causal: bool = False,
    quick: Annotated[bool, Parameter(negative="")] = False,
    shift: Several = None,
    layers: Several = None,
    read: str = "all",
    normalised: Annotated[bool, Parameter(negative="")] = False,
    per_position: Annotated[bool, Parameter(negative="")] = False,
    ridge: Annotated[
        list[float] | None, Parameter(negative="", consume_multiple=True, show_default=False)
    ] = None,
    released: Released = False,
    json: Json = False,
) -> int:
    """Held-out error (or accuracy) of a linear readout of the target at every layer, beside an untrained twin.

    Parameters
    ----------
    run
        Folder of the run.
    targets
        Read these instead of the label of a regression run: label, w, xy (X'y), spectrum (of X'X), iterates, or
        algorithms by name.
    algorithms
        Match each layer of a regression run to rival algorithms: best steps, slopes, contrast, filter verdict with the
        misfit of the best family beyond query noise and that of a free filter.
        With --steps all, one line a checkpoint.
    families
        The rivals: gd, newton, ridge, gd++, cg, bfgs, lbfgs unless given; also newton-identity, momentum, chebyshev,
        preconditioned-gd, ols, ogd, bayes.
    context
        Number of examples at which filter and contrast are read.
    causal
        Move what a probe reads of an iterate from clean to corrupt prompts at each layer of a regression run, and
        compare the change of the prediction with the iterate's.
    quick
        With --algorithms: tune sizes on the prompts that they are scored on (misfits are then a little too small), with
        steps fixed or over |S|.
    shift
        Score on prompts of another law: x_scale=2, weight_scale=2, kappa=10, noise=.1, n=40.
    layers
        Show these layers only: numbers, embed, or all (with --algorithms and all steps, a table each).
    read
        Which reads to show of a regression run: all, t<=d or t>d (with --targets), or one by name (x 7).
    normalised
        Read the stream after a LayerNorm as well.
    per_position
        Fit every read apart as well; --read then shows such a readout.
    ridge
        Ridge strengths to choose from, as multiples of the mean eigenvalue of a layer's second moments.
    """
    settings: dict[str, Any] = {
        "targets": targets,
        "families": families,
        "context": context,
        "shift": dict(parse_override(text, "--shift", "x_scale=2") for text in shift or ()),
        "normalised": normalised,
        "quick": quick,
        "per_position": per_position,
        "strengths": ridge,
    }
    if read != "all" and (algorithms or causal):
        raise UserError("--read shows readouts: leave it out with --algorithms and --causal")
    if quick and not algorithms:
        raise UserError("--quick is for filter verdicts: give it with --algorithms")
    opened = load(run, released=released)
    _refuse_absent(opened, layers, read, settings["shift"], several=bool(targets))
    with show.progress("probe") as advance:
        result = opened.probe(
            steps, advance, algorithms=algorithms, causal=causal, **{k: v for k, v in settings.items() if v}
        )
    shown = Result(result.name, _only(result.table, layers), result.caption)
    if json:
        return print_json(shown)
    law = f", prompts with {', '.join(shift)}" if shift else ""
    if algorithms:
        law += ", quick: sizes tuned on the prompts scored" if quick else ""
        print_algorithms(shown, steps, law, each=layers is not None)
    elif causal:
        show.table(matches.swaps(shown.table), "probe directions moved, 95% intervals over prompts")
    elif targets:
        print_targets(shown, read, law)
    else:
        print_readouts(shown, read, law)
    show.note(result.caption)
    return 0


def _refuse_absent(
    run: Run, layers: list[str] | None, read: str, shift: dict[str, Any], several: bool
) -> None:
    """Raises UserError for layers and reads that this run has not, before anything is measured.

    `several` reads are pooled where targets are read: up to d examples, and more.
    """
    from interp.readouts.shift import shifted

    if layers and layers != ["all"]:
        there = ["embed", *(str(layer) for layer in range(getattr(run.config.model, "n_layers", 0)))]
        for name in _asked(layers):
            if name not in there:
                raise _no_layer(name, there)
    reads = (shifted(run.task, shift) if shift else run.task).reads
    if read not in ("all", *reads, *(("t<=d", "t>d") if several else ())):
        raise _no_read(read, reads)


def _asked(layers: list[str]) -> list[str]:
    return [name for part in layers for name in part.split(",")]


def _no_layer(name: str, there: Sequence[str]) -> UserError:
    return UserError(f"layer {name!r} is not there: known are {', '.join(there)}")


def _no_read(read: str, known: Sequence[str]) -> UserError:
    shown = ", ".join(known) if len(known) < 6 else f"{', '.join(known[:4])} .. {known[-1]}"
    return UserError(f"read {read!r} is not there: known are {shown}")


def _only(table: pd.DataFrame, layers: list[str] | None) -> pd.DataFrame:
    """Rows of some layers, and those that belong to none. Raises UserError for a layer that is not there."""
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


def print_readouts(result: Result, read: str, law: str) -> None:
    """Readout errors, one line a checkpoint and one column a site."""
    for metric in result.table["metric"].unique():
        reads = result.table[result.table["metric"] == metric]
        if "readout" in reads or read != "all":
            reads = _read(reads, read)
        for position, rows in reads.groupby("position", sort=False):
            title = f"{metric} of a linear readout, {position}{law}, by checkpoint and site"
            show.table(wide.by_site(rows.assign(value=rows["value"].round(4))), title)


def _read(rows: pd.DataFrame, read: str) -> pd.DataFrame:
    """Rows of one read, by the readout fitted there where there is one. Raises UserError for one that is not there."""
    found = rows[rows["position"] == read]
    if found.empty:
        raise _no_read(read, list(dict.fromkeys(rows["position"])))
    fitted = [
        name for name in (read, "each", "all") if "readout" in found and (found["readout"] == name).any()
    ]
    return found[found["readout"] == fitted[0]] if fitted else found


def print_targets(result: Result, read: str, law: str) -> None:
    """R2 of every target: a table each for a few checkpoints, one line each for many."""
    rows = _read(result.table[result.table["metric"] == "r2"], read)
    steps = rows["step"].dropna().unique()
    title = f"R2 of linear readouts, {read}{law}"
    if len(steps) == 1:
        show.table(target_tables.by_site(rows), f"step {steps[0]}: {title}, by target and site")
    else:
        for site, here in rows.groupby("site", sort=False):
            if site == list(rows["site"])[-1] or rows["site"].nunique() < 4:
                show.table(target_tables.by_step(here), f"{short_site(str(site))}: {title}, by checkpoint")
    show.note(target_tables.LEGEND)


def print_algorithms(result: Result, steps: str, law: str, each: bool) -> None:
    """Tables of each checkpoint; of all checkpoints one line each, for the last layer or `each`."""
    if steps == "all":
        sites = matches.sites(result.table)
        for site in sites if each else sites[-1:]:
            name = short_site(site) if each else "the last layer"
            _tables(matches.by_step(result.table, site), f"{name}, by checkpoint{law}")
        for title, frame in matches.over_training(result.table).items():
            show.table(frame, f"{title}, by checkpoint and layer{law}")
        _growth(result.table, law)
    else:
        for step in result.table["step"].dropna().unique():
            print_checkpoint(result.table[result.table["step"] == step], step, law)
        _growth(result.table, law)
    _tables(matches.untrained(result.table), "the untrained twin")
    show.note(matches.LEGEND)


def _growth(table: pd.DataFrame, law: str) -> None:
    found = matches.growth(table)
    if len(found):
        show.table(found, f"filters from layer to layer: doubling (Newton) or adding (gradient descent){law}")


def _tables(lines: pd.DataFrame, title: str) -> None:
    """Verdicts under their title, then matches."""
    whole, *rest = matches.parts(lines)
    show.table(whole, title)
    for frame in rest:
        show.table(frame, "best step [band] of each rival")


def print_checkpoint(rows: pd.DataFrame, step: object, law: str) -> None:
    """Everything that is reported of the layers of one checkpoint."""
    _tables(matches.by_site(rows), f"step {step}: readout error, filter verdict{law}")
    controls = "partial R2 of the nearest beside its controls"
    below = {
        "best step against layer, 95% intervals over prompts": matches.slopes(rows),
        "partial R2 beyond label, OLS and each other": matches.contrasts(rows),
        controls: matches.contrast_controls(rows),
        "filters, 95% intervals over prompts": matches.filters(rows),
    }
    for title, frame in below.items():
        if len(frame):
            show.table(frame, f"step {step}: {title}")
