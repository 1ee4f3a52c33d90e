"""The command on losses and scores of a run: one line a checkpoint, the full table under RUN/analysis."""

from __future__ import annotations

from pathlib import Path

from interp.cli.options import Group, Json, Question, Steps, WithoutInterventions


def scores(
    run: Path,
    /,
    *,
    score: Question = None,
    by: Group = None,
    steps: Steps = "all",
    without_interventions: WithoutInterventions = False,
    json: Json = False,
) -> int:
    """Loss and score of every output position at every checkpoint, with minimum achievable loss and chance level.

    Parameters
    ----------
    run
        Folder of the run.
    score
        A score of your own instead: module:function, of outputs and batch to one number a prompt (or output position).
    """
    from interp.cli import results, show, wide

    result = None if score or by or without_interventions else results.at_hand(run, "scores", steps)
    if result is None:
        from interp.cli.own import question
        from interp.run import load

        with show.progress("scores") as advance:
            asked = results.by_group(load(run, without_interventions=without_interventions), by)
            result = asked.scores(steps, advance, score=question(score, "--score"))
    if json:
        return results.print_json(result)
    for found in results.each(result):
        for metric in found.table["metric"].unique():
            show.table(wide.by_output(found.table, metric), f"{metric} by checkpoint")
    return 0
