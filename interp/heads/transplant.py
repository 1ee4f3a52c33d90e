"""Head transplants: a later checkpoint's heads copied into an earlier one, everything else unchanged.

A behaviour that the early model gains with the late heads was limited by these heads alone; what is still missing needs
something else that had not emerged yet. A transplant replaces a head's weights (query, key, value and output) and,
where there are some, its biases. Sign: `value` is the score with the transplant minus the host's (accuracy: positive,
the transplant helps), or for a loss the host's minus that with the transplant, so that positive always means better.
Control "untrained": the same heads copied from the untrained model. Intervals are over prompts, host and transplant
paired. Source: transplants of layers in Singh et al. 2024 (arXiv 2404.07129); heads and pairing of this project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.heads.ablation import HeadName, all_heads
from interp.heads.roles import refuse_unscorable, roles_met, run_heads
from interp.hooks.protocol import HookedModel
from interp.runs.checkpoints import Checkpoints
from probes.stats import bootstrap
from tasks import Batch, Task, UserError

WEIGHTS = ("W_Q", "W_K", "W_V", "W_O")
BIASES = ("b_Q", "b_K", "b_V")


def transplant(host: Any, source_model: Any, heads: Iterable[HeadName]) -> None:
    """Copy the source model's heads to the same places in `host`, in place.

    Raises UserError for models of different settings, or a head that is not there.
    """
    if host.config != source_model.config:
        raise UserError("a head transplant needs two checkpoints of one kind of model: their settings differ")
    seats = all_heads(host)
    names = (*WEIGHTS, *(BIASES if host.config.biases else ()))
    mine, theirs = host.typed_blocks(), source_model.typed_blocks()
    with torch.no_grad():
        for layer, head in heads:
            if (layer, head) not in seats:
                raise UserError(
                    f"no head L{layer}H{head}: layers 0 to {seats[-1][0]}, heads 0 to {seats[-1][1]}"
                )
            for name in names:
                getattr(mine[layer].attn, name)[head] = getattr(theirs[layer].attn, name)[head]


def transplant_table(
    run: Checkpoints,
    steps: Sequence[int] | str = "all",
    *,
    source_model: int | str = "last",
    teams: Mapping[str, Sequence[HeadName]] | None = None,
    prompts: int = 512,
) -> pd.DataFrame:
    """What each group of heads of the checkpoint `source_model` adds to earlier checkpoints: one row a host
    step, group, output position and control.

    `teams`: names and heads; by default every role that some head has at the source's step, and "every head".
    Columns: step (the host's), source_step, team, heads, position, metric, control, value, ci_low, ci_high, n.
    Raises UserError for a run without heads, one checkpoint only, or an unknown step.
    """
    (late,) = run.resolve(source_model)
    early = [step for step in run.resolve(steps) if step < late]
    if not early:
        raise UserError(f"{run.path}: a head transplant needs a checkpoint before step {late}")
    task, giver, untrained = run.task, run.model(late), run.untrained_model()
    teams = role_teams(giver, task) if teams is None else teams
    batch = task.sample(run.config.data_seed, "graft", 0, prompts)
    batch = batch.double() if run.config.model.dtype == "float64" else batch
    rows, host = [], None
    for step in early:
        host = run.model(step, into=host)
        own = _better(host, task, batch)
        for team, heads in teams.items():
            for control, source in (("none", giver), ("untrained", untrained)):
                host = run.model(step, into=host)
                transplant(host, source, heads)
                found = _rows(task, _better(host, task, batch) - own)
                said = {
                    "step": step,
                    "source_step": late,
                    "team": team,
                    "heads": _names(heads),
                    "control": control,
                }
                rows += [{**said, **row} for row in found]
    table = pd.DataFrame(rows)
    table.insert(0, "run", run.name)  # as on reading: this table is kept nowhere
    table.insert(1, "seed", run.config.seed)
    return table


def role_teams(model: HookedModel, task: Task, prompts: int = 512) -> dict[str, list[HeadName]]:
    """The heads of every role that some head has, and all heads together."""
    refuse_unscorable(model, task)
    batch, cache = run_heads(model, task, prompts, 0)
    return {**roles_met(model, task, batch, cache), "every head": all_heads(model)}


def _better(model: HookedModel, task: Task, batch: Batch) -> Float[Tensor, "prompt output"]:
    """The score at every output position, signed so that more is better."""
    with torch.no_grad():
        score = task.score(model(batch.inputs), batch).double()
    return score if task.score_name == "accuracy" else -score


def _rows(task: Task, gain: Float[Tensor, "prompt output"]) -> list[dict[str, Any]]:
    found = bootstrap(gain)
    metric = f"gain in {task.score_name}"
    return [
        {"position": output, "metric": metric, **found[i].row()} for i, output in enumerate(task.output_names)
    ]


def _names(heads: Iterable[HeadName]) -> str:
    return " ".join(f"L{layer}H{head}" for layer, head in heads)
