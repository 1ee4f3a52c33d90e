"""The command that reads layers: the label, other targets, the algorithms they match, and whether the net uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.cli.options import Json, Released, Several, Steps


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
        Match each layer of a regression run to rival algorithms: best steps, slopes, contrast, filter verdict.
        With --steps all, one line a checkpoint.
    families
        The rivals: gd, newton, ridge, gd++, cg, bfgs, lbfgs unless given; also newton-identity, momentum, chebyshev,
        preconditioned-gd, ols, ogd, bayes.
    context
        Number of examples at which filter and contrast are read.
    causal
        Move what a probe reads of an iterate from clean to corrupt prompts at each layer of a regression run, and
        compare the change of the prediction with the iterate's.
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
    from interp.analysis.result import Result
    from interp.cli import matches, probe_tables, results, show
    from interp.config.run import parse_override
    from interp.run import load
    from tasks.errors import UserError

    settings: dict[str, Any] = {
        "targets": targets,
        "families": families,
        "context": context,
        "shift": dict(parse_override(text, "--shift", "x_scale=2") for text in shift or ()),
        "normalised": normalised,
        "per_position": per_position,
        "strengths": ridge,
    }
    if read != "all" and (algorithms or causal):
        raise UserError("--read shows readouts: leave it out with --algorithms and --causal")
    opened = load(run, released=released)
    probe_tables.refuse_absent(opened, layers, read, settings["shift"], several=bool(targets))
    with show.progress("probe") as advance:
        result = opened.probe(
            steps, advance, algorithms=algorithms, causal=causal, **{k: v for k, v in settings.items() if v}
        )
    shown = Result(result.name, probe_tables.only(result.table, layers), result.caption)
    if json:
        return results.print_json(shown)
    law = f", prompts with {', '.join(shift)}" if shift else ""
    if algorithms:
        probe_tables.print_algorithms(shown, steps, law, each=layers is not None)
    elif causal:
        show.table(matches.swaps(shown.table), "probe directions moved, 95% intervals over prompts")
    elif targets:
        probe_tables.print_targets(shown, read, law)
    else:
        probe_tables.print_readouts(shown, read, law)
    show.note(result.caption)
    return 0
