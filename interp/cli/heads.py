"""Commands on heads and on emergence: one table a view, 100 columns, as JSON or Parquet on request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from interp.cli.options import Group, Json, Out, Prompts, Question, Steps, WithoutInterventions
from interp.emergence.choices import Of
from interp.heads.choices import View


def heads(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    view: View = "relations",
    relation: Question = None,
    by: Group = None,
    prompts: Prompts = None,
    layers: bool = False,
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """What every head attends to, which role it plays, and its ablation effect, at every checkpoint.

    Parameters
    ----------
    run
        Folder of the run.
    view
        relations: attention on the positions that the task defines; statistics: also argmax share and normalised
        inner product, with chance levels; chain: from link to link of a chain;
        patterns: scores of heads on regression prompts or repeated tokens; roles: by score and by ablation;
        circuits: which circuit answers each hop; growth: whether reach grows one by one or by doubling;
        damage: of each head's ablation, predicted from the circuit and measured;
        composition: Q-, K- and V-composition of heads;
        attribution: what each component adds directly to the right answer (direct logit attribution).
    relation
        A relation of your own instead of the task's: module:function, of a batch to (dest, source), each [batch, pair].
    layers
        Print every head at the last of the steps instead of the best head at each (relations).
    """
    from interp.cli import head_views, results, show
    from interp.cli.own import question
    from tasks.errors import UserError

    if layers and view != "relations":
        raise UserError("--layers goes with --view relations only")
    if relation and view != "relations":
        raise UserError("--relation goes with --view relations only")
    asked = question(relation, "--relation")
    results.room(out)
    result = None
    if asked is None and not by and not prompts and not without_interventions:
        result = results.at_hand(run, head_views.CACHED.get(view), steps)
    if result is None:
        from interp.run import load

        opened = results.by_group(load(run, without_interventions=without_interventions), by)
        with show.progress("heads") as advance:
            if asked is None:
                result = opened.heads(steps=steps, progress=advance, view=view, prompts=prompts)
            else:
                result = opened.heads(steps, advance, relation=asked, prompts=prompts)
    results.keep(result, out)
    if json:
        return results.print_json(result)
    for found in results.each(result):
        for title, table in head_views.shown(view, found.table, layers):
            show.table(table, title)
        if words := head_views.legend(found.table):
            show.note(words)
    show.note(result.caption)
    return 0


def emergence(
    *runs: Annotated[Path, Parameter(name="RUN")],
    of: Of = "skills",
    score: Question = None,
    relation: Question = None,
    by: Group = None,
    steps: Steps = "all",
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """When each output's score and each head's attention emerged (rose and stayed); for several runs, in which order.

    Intervals of one run are over prompts, of several runs over seeds; what has not emerged is kept as right-censored.

    Parameters
    ----------
    runs
        Folders of runs that differ in their seeds.
    of
        skills: accuracies and heads; readouts: what can be decoded at each site; landscape: curvature and learning
        coefficient (seconds a checkpoint); edges: those of the final circuit (one run only).
    score
        A score of your own, better the higher: module:function, of outputs and batch to [batch]. One run only.
    relation
        A relation of your own: module:function, of a batch to (dest, source), each [batch, pair]. One run only.
    """
    from interp.cli import head_views, onset_tables, results, show, wide
    from interp.cli.own import question
    from interp.run import load
    from interp.runs.names import distinct
    from tasks.errors import UserError

    if not runs or (of == "edges" and len(runs) > 1):
        raise UserError(
            "emergence needs a run folder" + (": exactly one with --of edges" if of == "edges" else "")
        )
    own = {
        name: asked
        for name, text in (("score", score), ("relation", relation))
        if (asked := question(text, f"--{name}")) is not None
    }
    if len(runs) > 1 and (own or by):
        raise UserError("--score, --relation and --by go with one run")
    results.room(out)
    opened = [load(run, without_interventions=without_interventions) for run in runs]
    for each in opened:
        each.resolve(steps)  # a step that one of them lacks is reported before the others are measured
    opened = distinct(opened) if len(opened) > 1 else opened
    with show.progress("emergence") as advance:
        if len(opened) > 1:
            return onset_tables.over_seeds(opened, of, steps, advance, out, json)
        result = results.by_group(opened[0], by).emergence(steps, advance, of=of, **own)
    results.keep(result, out)
    if json:
        return results.print_json(result)
    for found in results.each(result):
        table = onset_tables.edge_onsets(found.table) if of == "edges" else wide.onsets(found.table)
        show.table(table, "onsets, in order")
    if words := head_views.legend(result.table):
        show.note(words)
    show.note(result.caption)
    return 0
