"""The command on losses and scores of a run: one line a checkpoint, the full table under RUN/analysis."""

from __future__ import annotations

from pathlib import Path

from interp.cli.options import Json, Question, Released, Steps


def scores(
    run: Path,
    /,
    *,
    score: Question = None,
    steps: Steps = "all",
    released: Released = False,
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
    from interp.cli.own import question
    from interp.run import load

    with show.progress("scores") as advance:
        result = load(run, released=released).scores(steps, advance, score=question(score, "--score"))
    if json:
        return results.print_json(result)
    for metric in result.table["metric"].unique():
        show.table(wide.by_read(result.table, metric), f"{metric} by checkpoint")
    return 0
