"""The command on losses and scores of a run: one line a checkpoint, the full table under RUN/analysis."""

from __future__ import annotations

from pathlib import Path

from interp.cli.options import Group, Json, Out, Prompts, Question, Steps, WithoutInterventions
from tasks.errors import UserError


def scores(
    run: Path,
    /,
    *,
    score: Question = None,
    by: Group = None,
    prompts: Prompts = None,
    dropout: bool = False,
    steps: Steps = "all",
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Loss and score of every output position at every checkpoint, with Bayes risk and chance level.

    Where the task has several predictors in closed form (in-context Markov chains, a pool of tasks): also the distance
    to each, on every distribution, and the loss of each.

    Parameters
    ----------
    run
        Folder of the run.
    score
        A score of your own instead: module:function, of outputs and batch to one number a prompt (or output position).
    dropout
        At the last of the steps with the dropout of the model on, compared with off; not kept.
    """
    from interp.cli import results, show, wide

    if dropout:
        if score or by or without_interventions or out:
            raise UserError("--dropout goes with --prompts, --steps and --json alone")
        return _with_dropout(run, steps, prompts, json)
    results.room(out)
    plain = not (score or by or prompts or without_interventions)
    compared = not (json or by or score or prompts) and compares(run)
    result = results.at_hand(run, "scores", steps) if plain and not compared else None
    followed = None
    if result is None:
        from interp.cli.own import question
        from interp.run import load

        with show.progress("scores") as advance:
            opened = load(run, without_interventions=without_interventions)
            asked = results.by_group(opened, by)
            result = asked.scores(steps, advance, score=question(score, "--score"), prompts=prompts)
            followed = opened.strategies(steps, advance) if compared else None
    results.keep(result, out)
    if json:
        return results.print_json(result)
    for found in results.each(result):
        for metric in found.table["metric"].unique():
            show.table(wide.by_output(found.table, metric), f"{metric} by checkpoint")
    if followed is not None:
        from interp.cli.strategies import show_distances

        show_distances(followed.table)
    return 0


def _with_dropout(run: Path, steps: str, prompts: int | None, json: bool) -> int:
    """Loss and score with dropout on, and off, at one checkpoint."""
    from interp.cli import show
    from interp.emergence.dropout import dropout_scores
    from interp.run import load

    opened = load(run)
    step = opened.resolve(steps)[-1]
    found = dropout_scores(opened.model(step), opened.task, **({"prompts": prompts} if prompts else {}))
    if json:
        show.document(show.records(found.assign(step=step)))
    else:
        columns = ["metric", "position", "control", "value", "ci_low", "ci_high", "n"]
        show.table(found[columns], f"step {step}, dropout on and off")
    return 0


def compares(run: Path) -> bool:
    """Whether a run is of a shipped task with several predictors in closed form, by its settings, without torch; one
    that was trained with interventions is not compared."""
    from interp.runs.stored import stated

    head = stated(run)
    settings = {} if head is None else head.settings.get("recorded", head.settings)
    if not isinstance(settings, dict) or settings.get("train", {}).get("clamps"):
        return False
    task = settings.get("task", {})
    return task.get("kind") == "markov" or bool(task.get("pool") and task.get("noise"))
