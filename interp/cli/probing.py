"""The command that probes layers: the label, other targets, matching algorithms, and causal use of the readouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.cli.options import Group, Json, Out, Question, Several, Steps, WithoutInterventions


def probe(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    target: Question = None,
    by: Group = None,
    targets: Several = None,
    algorithms: bool = False,
    families: Several = None,
    context: Annotated[int | None, Parameter(show_default=False)] = None,
    causal: bool = False,
    quick: Annotated[bool, Parameter(negative="")] = False,
    shift: Several = None,
    layers: Several = None,
    output: str = "all",
    normalised: Annotated[bool, Parameter(negative="")] = False,
    per_position: Annotated[bool, Parameter(negative="")] = False,
    ridge: Annotated[
        list[float] | None, Parameter(negative="", consume_multiple=True, show_default=False)
    ] = None,
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Held-out error (or accuracy) of a linear readout of the target at every layer, and of the untrained model.

    Parameters
    ----------
    run
        Folder of the run.
    target
        A target of your own: module:function, of a batch to [batch, position, k], numbers or symbols.
    targets
        What to decode instead of the label of a regression run: label, w, xy (X'y), spectrum (of X'X), iterates, dMMSE
        (of its pool), or algorithms by name; of another run one of its task's closed-form predictors (bigram).
    algorithms
        Match each layer of a regression run to candidate algorithms: best-matching steps, slopes over layers, contrast,
        filter verdict with the misfit of the best family beyond query noise and that of a free filter. With --steps
        all, one line a checkpoint.
    families
        The candidate algorithms: gd, newton, ridge, gd++, cg, bfgs, lbfgs by default; also newton-identity, momentum,
        chebyshev, preconditioned-gd, ols, ogd, bayes.
    context
        Number of in-context examples at which filter and contrast are evaluated.
    causal
        Interchange intervention on the probe direction of an iterate, from clean to corrupt prompts, at each layer of a
        regression run; the change of the prediction is compared with the change of the iterate.
    quick
        With --algorithms: tune step sizes, fixed or over |S|, on the scored prompts (misfits come out slightly too
        small).
    shift
        Score under distribution shift: x_scale=2, weight_scale=2, kappa=10, noise=.1, n=40.
    layers
        Show only these layers: numbers, embed, or all (with --algorithms and all steps, a table each).
    output
        Output positions of a regression run to show: all, t<=d or t>d (with --targets), or one by name (x 7).
    normalised
        Also probe the residual stream after a LayerNorm.
    per_position
        Also fit a readout at each output position; --output then shows that one.
    ridge
        Candidate ridge strengths, as multiples of the mean eigenvalue of a layer's second moments.
    """
    from interp.analysis.result import Result
    from interp.cli import matches, probe_tables, results, show
    from interp.cli.own import question
    from interp.config.run import parse_override
    from interp.run import load
    from tasks.errors import UserError

    settings: dict[str, Any] = {
        "target": question(target, "--target"),
        "targets": targets,
        "families": families,
        "context": context,
        "shift": dict(parse_override(text, "--shift", "x_scale=2") for text in shift or ()),
        "normalised": normalised,
        "quick": quick,
        "per_position": per_position,
        "strengths": ridge,
    }
    if output != "all" and (algorithms or causal):
        raise UserError("--output selects readouts: leave it out with --algorithms and --causal")
    if quick and not algorithms:
        raise UserError("--quick is for filter verdicts: give it with --algorithms")
    results.room(out)
    opened = load(run, without_interventions=without_interventions)
    probe_tables.refuse_absent(opened, layers, output, settings["shift"], several=bool(targets))
    asked = results.by_group(opened, by)
    with show.progress("probe") as advance:
        result = asked.probe(
            steps, advance, algorithms=algorithms, causal=causal, **{k: v for k, v in settings.items() if v}
        )
    shown = Result(result.name, probe_tables.only(result.table, layers), result.caption)
    results.keep(shown, out)
    if json:
        return results.print_json(shown)
    distribution = f", prompts with {', '.join(shift)}" if shift else ""
    distribution += ", quick: sizes tuned on the prompts scored" if algorithms and quick else ""
    for found in results.each(shown):
        if algorithms:
            probe_tables.print_algorithms(found, steps, distribution, each=layers is not None)
        elif causal:
            show.table(
                matches.interventions(found.table),
                "interchange interventions on probe directions, 95% CIs over prompts",
            )
        elif found.name == "own-target":
            probe_tables.print_own(found)
        elif targets:
            probe_tables.print_targets(found, output, distribution)
        else:
            probe_tables.print_readouts(found, output, distribution)
    show.note(result.caption)
    return 0
