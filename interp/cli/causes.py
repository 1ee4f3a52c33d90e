"""Commands that intervene: activation patching and circuits, at one checkpoint or at all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from interp.causal.choices import Axis, Direction, Method, MetricName, Replacement, Search
from interp.cli.options import (
    Count,
    CountFromZero,
    Group,
    Json,
    Out,
    Share,
    Steps,
    WithoutInterventions,
    least,
)
from interp.hooks.components import Component as SiteComponent

Substitute = Annotated[Replacement, Parameter(metavar="CHOICE")]
Component = Annotated[SiteComponent | Literal["head_out"] | str, Parameter(metavar="COMPONENT")]
OwnMetric = Annotated[MetricName | str, Parameter(metavar="CHOICE")]
Choice = Annotated[str | None, Parameter(show_default=False)]


def patch(
    run: Path,
    /,
    *,
    component: Component = "resid_pre",
    pair: Choice = None,
    direction: Direction = "denoise",
    replacement: Substitute = "pair",
    metric: OwnMetric = "loss",
    output: Choice = None,
    by: Annotated[list[Axis | str] | None, Parameter(consume_multiple=True, metavar="AXIS")] = None,
    prompts: Count = 64,
    steps: Steps = "last",
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Patch every site of a grid and print the normalised effect of each (corrupt run 0, clean run 1).

    Parameters
    ----------
    run
        Folder of the run.
    component
        What is patched; head_out is a synonym of z.
    pair
        Pair kind of the task, the first by default; or module:function, of a clean batch to the corrupt one.
    direction
        denoise: clean values are patched into the corrupt run; noise: one site of the clean run is replaced.
    replacement
        The value patched in: the pair's other prompt; with noise also an ablation.
    metric
        loss, score, logit_diff or squared_output_distance (to the clean run's output, which cannot cancel); or
        module:function, of outputs and batch to one number a prompt.
    output
        One output position of the task ("hop 2"); all by default.
    by
        Axes of the grid (layer, head, position); others are patched as a whole. An attribute of the prompts, such as
        hops, gives each of its groups a grid.
    prompts
        Number of pairs.
    """
    from interp.cli import circuit_tables, results, show
    from interp.cli.own import named_or_own
    from interp.run import load
    from tasks.errors import UserError

    metric, pair = named_or_own(metric, "--metric"), named_or_own(pair, "--pair")
    if run_together := [name for name in by or () if "," in name]:
        spaced = run_together[0].replace(",", " ")
        raise UserError(f"--by {run_together[0]}: separate axes by spaces: --by {spaced}")
    results.room(out)
    axes = [axis for axis in by or () if axis in get_args(Axis)]
    attributes = [name for name in by or () if name not in axes]
    if len(attributes) > 1:
        raise UserError(
            f"--by {' '.join(attributes)}: axes are {', '.join(get_args(Axis))}, besides one attribute"
        )
    asked = results.by_group(
        load(run, without_interventions=without_interventions), attributes[0] if attributes else None
    )
    with show.progress("patch") as advance:
        result = asked.patch(
            component, pair=pair, steps=steps, progress=advance, direction=direction,
            replacement=replacement, metric=metric, output=output, prompts=prompts, by=axes or get_args(Axis),
        )  # fmt: skip
    results.keep(result, out)
    if json:
        return results.print_json(result)
    for found in results.each(result):
        circuit_tables.print_grids(found)
    return 0


def circuit(
    run: Path,
    /,
    *,
    method: Method = "exact",
    search: Search = "prune",
    threshold: Share = 0.02,
    faithfulness: Share = 0.95,
    metric: OwnMetric = "loss",
    output: Choice = None,
    pair: Choice = None,
    truth: Annotated[Path | None, Parameter(show_default=False)] = None,
    given: Annotated[Path | None, Parameter(name="--from", show_default=False)] = None,
    nodes: Annotated[int | None, Parameter(validator=least(2), show_default=False)] = None,
    by: Group = None,
    prompts: Count = 64,
    steps: Steps = "last",
    resamples: CountFromZero = 0,
    tests: Annotated[bool, Parameter(negative="--no-tests")] = True,
    edges: CountFromZero = 20,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    without_interventions: WithoutInterventions = False,
    json: Json = False,
) -> int:
    """Search the edges that carry the behaviour and report them beside matched random circuits and every other size.

    Parameters
    ----------
    run
        Folder of the run.
    method
        exact: every edge run by itself; EAP, EAP-IG: attribution estimates, quicker, with their error.
    search
        prune: edges are pruned while the behaviour stays; threshold: each edge needed by itself; greedy: edges
        are grown from the output.
    threshold
        Least effect of an edge, as a share of the behaviour (threshold and greedy).
    faithfulness
        Share of the behaviour that the lower confidence limit of a pruned (or grown) circuit has to reach.
    metric
        loss, score, logit_diff or squared_output_distance (to the full model's output, which cannot cancel); or
        module:function, of outputs and batch to one number a prompt.
    output
        One output position of the task; all by default.
    pair
        What edges outside the circuit carry: the corrupt prompts of a pair kind, or of module:function; other prompts
        of the task by default.
    truth
        A known circuit to compare with (precision and recall of edges and nodes): lines "L0H1 -> L1H0.k", or JSON.
    given
        A circuit to measure in place of a search: a file of edges, as for --truth.
    nodes
        For large models: keep so many heads and MLPs apart, the strongest by single effects, and search edges among
        these alone, all other edges kept (--nodes 30 --prompts 16; 32 others are reported on, nothing is tested).
    prompts
        Prompts that order the edges; as many others decide how many are taken, 128 others are reported on.
    resamples
        Search again at the last step on the prompts of so many other seeds, and report how much the circuits overlap.
    tests
        Test equivalence with the full model, independence of what is left outside, and whether each edge is needed
        (Shi et al. 2024), p values corrected for their number.
    edges
        Number of edges to print of each circuit, by effect size; --json and --out have all.
    out
        Write the last circuit as JSON.
    """
    from interp.causal.over_training import circuit_at
    from interp.cli import circuit_tables, results, show
    from interp.cli.own import named_or_own
    from interp.heads.heads import has_roles
    from interp.io.files import write_atomically
    from interp.run import load
    from tasks.errors import UserError

    if given is not None and resamples:
        raise UserError("--resamples searches again, and --from searches nothing: give one of them")
    if nodes is not None and (given is not None or resamples):
        raise UserError("--nodes searches among the strongest nodes: leave --from and --resamples out")
    if by is not None and (out is not None or resamples):
        raise UserError("--by finds a circuit for each group: leave --out and --resamples out")
    results.room(out)
    opened = load(run, without_interventions=without_interventions)
    asked = results.by_group(opened, by)
    with show.progress("circuit") as advance:
        settings = {
            "method": method,
            "search": search,
            "threshold": threshold,
            "faithfulness": faithfulness,
            "metric": named_or_own(metric, "--metric"),
            "output": output,
            "pair": named_or_own(pair, "--pair"),
            "prompts": prompts,
            "tests": tests,
            **({} if nodes is None else {"nodes": nodes}),
        }
        result = asked.circuit(steps=steps, progress=advance, truth=truth, edges=given, **settings)
        roles = has_roles(opened.config.model, opened.task) and given is None and by is None and nodes is None
        agreed = opened.agreement(steps=steps, progress=advance, **settings) if roles else None
        overlap = (
            circuit_tables.overlap(opened, result.table, steps, resamples, settings) if resamples else {}
        )
    if out is not None:
        write_atomically(out, circuit_at(result.table, opened.resolve(steps)[-1]).to_json().encode() + b"\n")
    if json:
        heads = {} if agreed is None else {"heads": show.records(agreed.table)}
        return results.print_json(result, {**heads, **overlap})
    for found in results.each(result, *([] if agreed is None else [agreed])):
        circuit_tables.print_circuits(found, None if agreed is None else agreed.table, threshold, edges)
    if overlap:
        show.note(
            f"circuits on the prompts of {1 + resamples} seeds share {overlap['overlap']:.2f} of their edges (Jaccard);"
            f" matched random circuits of their sizes {overlap['overlap_by_chance']:.2f}"
        )
    show.note(result.caption)
    return 0
