"""Time to the floor: how long a training takes until its held-out loss is within 10% of the Bayes answer's.

Loss is the mean over reads of the held-out prompts that the run evaluates as it goes, the floor the task's own. Time is
the training process' CPU time at that step (evaluations and checkpoints included), read from the run's timings, so it
depends on the machine and on what else runs there; the step does not.

    python -m tests.bench.time_to_risk [PRESET] [--seed N] [--out DIR] [--set key=value ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

from interp.config.run import configure
from interp.runs.folder import RunFolder
from interp.train.loop import train
from tasks.errors import UserError

WITHIN = 0.1
EVALUATE = ("train.eval_every=25", "train.eval_batch=2048")


@dataclasses.dataclass(frozen=True)
class TimeToRisk:
    """`step`, `cpu_s` and `wall_s` are None when the run never came within `within` of the floor."""

    seed: int
    optimiser: str
    within: float
    risk: float
    risk_se: float
    best_loss: float
    last_loss: float
    steps: int
    step: int | None
    cpu_s: float | None
    wall_s: float | None


def time_to_risk(run: RunFolder, within: float = WITHIN) -> TimeToRisk:
    """Read the benchmark off a run. Raises UserError for a task without a floor or a run trained in several goes."""
    task, settings = run.config.task, run.config.train
    level = task.bayes_risk()
    risk = float(level.value.mean())
    losses = {
        r["step"]: sum(r["eval"]["loss"]) / len(task.output_names) for r in run.records() if "eval" in r
    }
    if not losses:
        raise UserError(f"{run.path}: nothing was evaluated yet")
    reached = next((step for step, loss in losses.items() if loss <= (1 + within) * risk), None)
    timing = _timings(run).get(reached, {}) if reached is not None else {}
    return TimeToRisk(
        seed=run.config.seed,
        optimiser=settings.optimiser,
        within=within,
        risk=risk,
        risk_se=float(level.se.square().sum().sqrt()) / len(task.output_names),
        best_loss=min(losses.values()),
        last_loss=list(losses.values())[-1],
        steps=settings.steps,
        step=reached,
        cpu_s=timing.get("cpu_s"),
        wall_s=timing.get("wall_s"),
    )


def _timings(run: RunFolder) -> dict[int, dict[str, float | int]]:
    lines = [json.loads(line) for line in run.timing_path.read_text(encoding="utf-8").splitlines()]
    if any(line["from"] for line in lines) or len({line["step"] for line in lines}) < len(lines):
        raise UserError(f"{run.path}: was trained in several goes; its time says nothing, train it anew")
    return {line["step"]: line for line in lines}


def measure(preset: str, seed: int, out: Path, overrides: tuple[str, ...] = ()) -> TimeToRisk:
    """Train a preset with frequent evaluations and say when it came within 10% of the floor."""
    config = configure(preset, seed=seed, overrides=[*EVALUATE, *overrides])
    return time_to_risk(train(config, out))


def main() -> None:
    """Print the benchmark of one training as JSON."""
    parser = argparse.ArgumentParser(description="CPU seconds and steps to within 10%% of the floor")
    parser.add_argument("preset", nargs="?", default="regression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch) / "run"
        try:
            found = measure(given.preset, given.seed, out, tuple(given.set))
        except UserError as error:
            parser.exit(2, f"time_to_risk: {error}\n")
    print(json.dumps(dataclasses.asdict(found), indent=2))


if __name__ == "__main__":
    main()
