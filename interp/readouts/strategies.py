"""Which strategy a model follows at each checkpoint: distance to every closed-form predictor, and a mixture of them.

Owns the analysis "strategies": on each distribution of the task (pool tasks and fresh ones; otherwise the task's own)
the task's distance between the model's outputs and every candidate's, at each output position, and the weights of the
candidates in the model's outputs over all output positions together (`probes.strategy_weights`). Outputs over tokens
are compared as probabilities. Candidates are the task's `strategies`; in regression also "zero", the mean of the labels
seen, and one gradient step of the best size. Weights describe outputs, not the circuit by which these are made.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Direct
from interp.hooks.protocol import HookedModel
from probes.stats import mean
from probes.strategy_weights import StrategyMix, strategy_weights
from tasks import Batch, Task, UserError
from tasks.risk import risk

OWN = "own"  # the distribution of a task that names no others
LEARNED = 1024  # prompts from which the size of the gradient step is found
Predictions = dict[str, Float[Tensor, "batch pos d_out"]]


def has_strategies(settings: Any, task: Any) -> bool:
    """Whether the task knows two predictors in closed form."""
    if type(task).strategies is Task.strategies:
        return False
    return len(candidates(task, task.sample(0, "strategies", 0, 2))) >= 2


class Strategies(Direct):
    """Distances to, and weights of, the task's strategies. `prompts` of each distribution; `draws` of the bootstrap."""

    name: ClassVar[str] = "strategies"
    version: ClassVar[int] = 2  # the residual joined

    prompts: int = Field(default=256, ge=2)
    draws: int = Field(default=500, ge=100)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        double = next(iter(model.parameters())).dtype == torch.float64
        rows = []
        for name in task.distributions or (OWN,):
            batch, known = _prompts(task, name, self.seed, self.prompts)
            with torch.no_grad():
                outputs = model(batch.double().inputs if double else batch.inputs)
            rows += self._rows(task, batch, known, outputs, name)
        return pd.DataFrame(rows)

    def constants(self, model: HookedModel, task: Task, untrained: Any) -> pd.DataFrame:
        """Expected loss of every strategy on every distribution, in the task's loss."""
        names = list(task.strategies(task.sample(self.seed, "strategies", 0, 2)))
        rows = [
            {"distribution": on or OWN, "position": read, "metric": "loss", "strategy": name, "control": "risk",
             "value": value, "unit": "task loss"}
            for on in (list(task.distributions) or [""])
            for name in names
            for read, value in zip(task.output_names, risk(task, name, on).value.tolist(), strict=True)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def _rows(
        self,
        task: Task,
        batch: Batch,
        known: Predictions,
        outputs: Float[Tensor, "batch pos d_out"],
        distribution: str,
    ) -> list[dict[str, Any]]:
        fixed = {"distribution": distribution, "control": "none"}
        rows = []
        for name, predicted in known.items():
            apart = mean(task.distance(outputs, predicted, batch), least=0.0)
            rows += [
                {**fixed, "position": read, "metric": "distance", "strategy": name, "unit": "task distance",
                 **apart[i].row()}
                for i, read in enumerate(task.output_names)
            ]  # fmt: skip
        found = strategy_weights(
            linear(task, outputs),
            {n: linear(task, p) for n, p in known.items()},
            draws=self.draws,
            seed=self.seed,
        )
        return rows + _weight_rows(found, {**fixed, "position": "all"})


def _weight_rows(found: StrategyMix, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    note = "; ".join(f"{a} and {b} cannot be told apart on these prompts" for a, b in found.alike)
    rows = [
        {**fixed, "metric": "weight", "strategy": name, "unit": "share", "note": note, **weight.row()}
        for name, weight in found.weights.items()
    ]
    apart = {"value": found.separation, "n": found.unexplained.n, "unit": "share of the mean square"}
    return [
        *rows,
        {
            **fixed,
            "metric": "unexplained",
            "strategy": "",
            "unit": "share of E f²",
            **found.unexplained.row(),
        },
        {
            **fixed,
            "metric": "residual",
            "strategy": "",
            "unit": "share of the candidates' E g²",
            **found.residual.row(),
        },
        {**fixed, "metric": "separation", "strategy": "", "note": note, **apart},
    ]


def linear(task: Task, outputs: Float[Tensor, "batch pos d_out"]) -> Float[Tensor, "batch output d_out"]:
    """Outputs at the output positions, in a space where mixtures are sums: probabilities minus uniform, or numbers."""
    shown = outputs[:, list(task.interface.output_positions)].double()
    if task.interface.inputs != "token":
        return shown
    return shown.softmax(-1) - 1 / shown.shape[-1]


def _prompts(task: Any, distribution: str, seed: int, prompts: int) -> tuple[Batch, Predictions]:
    """What `_drawn` gives, kept from checkpoint to checkpoint unless a setting of the task cannot be hashed."""
    try:
        hash(task)
    except TypeError:
        return _drawn(task, distribution, seed, prompts)
    return _kept(task, distribution, seed, prompts)


def _drawn(task: Task, distribution: str, seed: int, prompts: int) -> tuple[Batch, Predictions]:
    """Prompts of a distribution and every candidate's predictions on them: the same at every checkpoint."""
    source = task.distributions.get(distribution, task)
    batch = source.sample(seed, "strategies", 0, prompts)
    return batch, candidates(task, batch)


_kept = functools.lru_cache(maxsize=4)(_drawn)


def candidates(task: Task, batch: Batch) -> Predictions:
    """Predictors of the task in closed form, by name; in regression with the simple ones that a net may start from."""
    known = dict(task.strategies(batch))
    if task.kind == "regression" and known:
        known = {**_simple(task, batch, known["ridge"]), **known}
    return known


def _simple(task: Any, batch: Any, like: Float[Tensor, "batch pos 1"]) -> Predictions:
    """ "zero", the mean of the labels before each output position, and x_q . X'y times the best size for that many
    examples, which is found on other prompts by least squares on labels."""
    reads, contexts = list(task.interface.output_positions), list(task.contexts)
    other = task.sample(0, "strategies, step size", 0, LEARNED)
    found = {"zero": torch.zeros_like(like)}
    for name, of in (("label mean", _label_mean), ("one GD step", _one_step)):
        raw, fitting = of(batch, contexts), of(other, contexts)
        size = (fitting * other.targets.double()).sum(0) / fitting.square().sum(0).clamp_min(1e-300)
        placed = torch.zeros_like(like)
        placed[:, reads, 0] = (raw if name == "label mean" else raw * size).to(like)
        found[name] = placed
    return found


def _label_mean(batch: Any, contexts: list[int]) -> Float[Tensor, "batch output"]:
    y = batch.y.double()
    return torch.stack([y[:, :t].sum(1) / max(t, 1) for t in contexts], 1)


def _one_step(batch: Any, contexts: list[int]) -> Float[Tensor, "batch output"]:
    x, y = batch.x.double(), batch.y.double()
    parts = [torch.einsum("bd,btd,bt->b", x[:, t], x[:, :t], y[:, :t]) / max(t, 1) for t in contexts]
    return torch.stack(parts, 1)


def require(task: Task) -> None:
    """Raises UserError for a task without two strategies."""
    if not has_strategies(None, task):
        raise UserError(f"task {task.kind!r} knows fewer than two predictors in closed form to tell apart")
