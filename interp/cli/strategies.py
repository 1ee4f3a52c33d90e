"""The command that says which strategy a model follows at which step of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interp.cli.options import Count, Json, Out, Steps, WithoutInterventions

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12  # checkpoints in the table


def strategies(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    prompts: Count = 256,
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Which closed-form predictor the model's outputs follow at each checkpoint: weights, and what they leave over.

    The outputs are fitted by a mixture of the task's predictors (weights that sum to 1), on every distribution of the
    task; a strategy leads where the lower confidence limit of its weight, simultaneous over the checkpoints, is above
    one half and the mixture leaves less than half of the predictors' mean square.

    Parameters
    ----------
    run
        Folder of the run.
    prompts
        Prompts of each distribution.
    """
    from interp.cli import results, show
    from interp.run import load

    results.room(out)
    opened = load(run, without_interventions=without_interventions)
    with show.progress("strategies") as advance:
        result = opened.strategies(steps, advance, prompts=prompts)
    results.keep(result, out)
    if json:
        return results.print_json(result)
    results.concluded(result)
    for distribution, rows in result.table.groupby("distribution", sort=False):
        show.table(weights(rows), f"weights on {distribution} prompts, by checkpoint")
    show_distances(result.table)
    show.note(result.caption)
    return 0


def show_distances(table: pd.DataFrame) -> None:
    """For each distribution a table of distances to every predictor, and under it the loss of each of them."""
    from interp.cli import show

    for distribution, rows in table.groupby("distribution", sort=False):
        found = distances(rows)
        show.table(found, f"distance to each predictor on {distribution} prompts, mean over output positions")
        risks = rows[rows["control"] == "risk"].groupby("strategy", sort=False)["value"].mean()
        said = ", ".join(f"{name} {value:.4g}" for name, value in risks.items())
        show.note(f"expected loss of each predictor on {distribution} prompts: {said}")


def distances(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean distance over output positions to each strategy, a line a checkpoint."""
    own = rows[(rows["metric"] == "distance") & rows["step"].notna()]
    found = own.groupby(["step", "strategy"], sort=False)["value"].mean().reset_index()
    return _by_checkpoint(found.rename(columns={"strategy": "name"}), 4)


def weights(rows: pd.DataFrame) -> pd.DataFrame:
    """Weight of each strategy and the share unexplained, a line a checkpoint (evenly spread where there are many)."""
    shown = rows[rows["metric"].isin(["weight", "unexplained"]) & rows["step"].notna()]
    named = shown.assign(strategy=shown["strategy"].where(shown["metric"] == "weight", "unexplained"))
    return _by_checkpoint(named.rename(columns={"strategy": "name"}), 3)


def _by_checkpoint(rows: pd.DataFrame, digits: int) -> pd.DataFrame:
    wide = rows.pivot(index="step", columns="name", values="value")[list(dict.fromkeys(rows["name"]))]
    every = max(1, -(-len(wide) // SHOWN))
    kept = wide.iloc[sorted({*range(0, len(wide), every), len(wide) - 1})]
    return kept.round(digits).reset_index().rename_axis(columns=None)
