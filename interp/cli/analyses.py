"""The command on losses and scores of a run: one line a checkpoint, the full table under RUN/analysis."""

from __future__ import annotations

from pathlib import Path

from interp.cli.options import Json, Steps, WithoutInterventions


def scores(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    without_interventions: WithoutInterventions = False,
    json: Json = False,
) -> int:
    """Loss and score of every output position at every checkpoint, with minimum achievable loss and chance level.

    Parameters
    ----------
    run
        Folder of the run.
    """
    from interp.cli import results, show, wide
    from interp.run import load

    with show.progress("scores") as advance:
        result = load(run, without_interventions=without_interventions).scores(steps, advance)
    if json:
        return results.print_json(result)
    for metric in result.table["metric"].unique():
        show.table(wide.by_output(result.table, metric), f"{metric} by checkpoint")
    return 0
