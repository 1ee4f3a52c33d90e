"""The command that says which strategy a model follows at which step of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interp.cli.options import Count, Json, Out, Steps, WithoutInterventions

if TYPE_CHECKING:
    import pandas as pd

SHARES = (
    "unexplained: what the mixture leaves over, a share of the outputs' own mean square (of token outputs: of "
    "probabilities minus uniform, so that it is meaningless where outputs are nearly uniform); residual: the same over "
    "the predictors' mean square"
)


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
    named = steps_named(result.table)
    for distribution, rows in result.table.groupby("distribution", sort=False):
        title = f"weights on {distribution} prompts, by checkpoint"
        show.table(weights(rows), title, keep=named.get(str(distribution), ()))
    show_distances(result.table)
    show.note(SHARES)
    show.note(result.caption)
    return 0


def steps_named(table: pd.DataFrame) -> dict[str, list[int]]:
    """Of each distribution the steps that the conclusion names."""
    from interp.emergence.strategies import stages

    return {
        str(distribution): [int(s) for name in ("step", "ci_low", "lost") for s in rows[name].dropna()]
        for distribution, rows in stages(table).groupby("distribution", sort=False)
    }


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
    """Weight of each strategy, the share unexplained and the residual, a line a checkpoint."""
    shown = rows[rows["metric"].isin(["weight", "unexplained", "residual"]) & rows["step"].notna()]
    named = shown.assign(strategy=shown["strategy"].where(shown["metric"] == "weight", shown["metric"]))
    return _by_checkpoint(named.rename(columns={"strategy": "name"}), 3)


def _by_checkpoint(rows: pd.DataFrame, digits: int) -> pd.DataFrame:
    wide = rows.pivot(index="step", columns="name", values="value")[list(dict.fromkeys(rows["name"]))]
    return wide.round(digits).reset_index().rename_axis(columns=None)
