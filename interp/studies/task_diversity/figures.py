"""Pictures of the study of task diversity: the phase diagram of pool and step, and joint components of all runs."""

from __future__ import annotations

import pandas as pd

from interp.emergence.phase_diagram import phase_table
from interp.emergence.trajectories import joint_components
from interp.pictures.phases import phase_diagram, trajectories
from interp.studies.task_diversity.measure import FRESH, POOL, weighed
from interp.studies.task_diversity.runs import Study, runs_of

SETTING = "task.pool"


def show(study: Study) -> None:
    """Put the study's pictures on its page."""
    runs = {pool: runs_of(study, pool) for pool in study.budget.pools}
    table = pd.concat([weighed(run).assign(**{SETTING: pool}) for pool, each in runs.items() for run in each])
    for distribution in (POOL, FRESH):
        found = phase_table(table, SETTING, distribution)
        picture = phase_diagram(found, SETTING, ("zero", "one GD step", "ridge", "dMMSE"))
        words = "Weights of the closed-form predictors in the outputs, by pool and step."
        study.show(picture, f"Phase diagram on {distribution}", words)
    every = [run for each in runs.values() for run in each]
    names = {run.name: f"pool of {pool}" for pool, each in runs.items() for run in each}
    places = joint_components(every, distribution=FRESH)
    words = "Every checkpoint of every run on the same fresh tasks, with the ideal predictors (dMMSE: one a pool)."
    study.show(trajectories(places, names), "Paths through the space of predictions", words)
