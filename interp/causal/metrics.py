"""Metrics of a patched run: one number a prompt, and the scale on which corrupt is 0 and clean is 1.

Every metric is measured against the *clean* prompt's targets, whichever way one patches. The normalised
effect of a patched run m is (m - m_corrupt) / (m_clean - m_corrupt), a ratio of means over prompts (a ratio a
prompt would divide by noise), with a bootstrap of whole prompts. It is unbounded: a patch may overshoot 1 or
fall below 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.own import expected, name_of, tensor_of
from interp.causal.choices import MetricName
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS, Intervals, ratio
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords, refuse_value

Outputs = Float[Tensor, "batch pos d_out"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number a prompt from a model's outputs. `positions` are the only ones it looks at; `of` takes all of
    them.

    `of(outputs, rows)` sees some of the prompts; `rows` says which, so that targets can be picked alike.
    """

    name: str
    target: str
    unit: str
    positions: tuple[int, ...]
    of: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, outputs: Outputs, rows: Tensor | None = None) -> Float[Tensor, "batch"]:
        """The metric of each prompt. Raises UserError where it is NaN or infinite, or not one number a
        prompt.
        """
        rows = torch.arange(len(outputs), device=outputs.device) if rows is None else rows
        values = self.of(outputs, rows)
        if values.shape != (len(outputs),):
            raise UserError(
                f"metric {self.name!r} must return one number a prompt ([{len(outputs)}]), got {list(values.shape)}"
            )
        if not bool(torch.isfinite(values.detach()).all()):
            raise UserError(
                f"metric {self.name!r} is NaN or infinite on these outputs: check model and prompts"
            )
        return values


def custom(
    name: str, of: Callable[[Tensor], Tensor], positions: tuple[int, ...], unit: str = "metric"
) -> Metric:
    """A metric of your own: `of` maps outputs [batch, pos, d_out] to [batch], looking only at `positions`.

    It must not depend on which prompts it is shown beside (targets of its own belong in `Metric` itself).
    """
    return Metric(name, "all", unit, positions, lambda outputs, rows: of(outputs))


@keywords
def metric_of(
    task: Task,
    pair: Pair,
    name: str | Callable[..., Tensor] = "loss",
    *,
    output: str | None = None,
    clean_outputs: Outputs | None = None,
) -> Metric:
    """A metric that the task defines for a pair, over all its outputs (their mean) or the one named; or one's own.

    loss: the task's loss. score: the task's figure (accuracy of a hop, error of a position). logit_diff:
    logit of the clean answer minus that of the corrupt one, over the outputs at which they differ (tasks with
    symbols). squared_output_distance: mean squared distance to the clean run's prediction (needs `clean_outputs`).
    One's own is a function of outputs [batch, pos, d_out] and the clean prompts, to [batch]; it is tried on
    `clean_outputs`. Raises UserError for an unknown name or output, where the task cannot serve the metric, and for
    one's own that looks at positions without an output, or at several prompts at once.
    """
    if callable(name):
        return _own(task, pair, name, output, clean_outputs)
    refuse_value("metric", name)
    if name not in get_args(MetricName):
        known = list(get_args(MetricName))
        raise UserError(
            f"unknown metric {name!r}: known are {known}, or a function (outputs, batch) -> [batch]"
        )
    index = _output_index(task, output)
    target = output or "all"
    positions = _positions(task, index)
    if name in ("loss", "score"):
        measure = task.loss if name == "loss" else task.score
        unit = "loss" if name == "loss" else task.score_name
        return Metric(
            name, target, unit, positions, lambda o, r: _mean(measure(o, pair.clean.select(r)), index)
        )
    if name == "logit_diff":
        return Metric(name, target, "logit", positions, _projection(_answer_difference(task, pair, index)))
    if clean_outputs is None:
        raise UserError("metric 'squared_output_distance' needs the clean run's outputs")
    return Metric(name, target, "squared output", positions, _distance(clean_outputs, list(positions)))


def _own(
    task: Task, pair: Pair, of: Callable[..., Tensor], output: str | None, clean_outputs: Outputs | None
) -> Metric:
    name = str(name_of(of))
    if output is not None:
        raise UserError(
            f"metric {name} is asked of all outputs: choose {output!r} within it, and leave read out"
        )

    def measured(outputs: Tensor, rows: Tensor) -> Tensor:
        wanted = [f"[{len(outputs)}] (a real number a prompt)"]
        found = tensor_of("metric", of, wanted, outputs, pair.clean.select(rows))
        if found.shape != (len(outputs),) or not found.is_floating_point():
            raise expected("metric", of, wanted, found)
        return found

    metric = Metric(name, "all", "metric", _positions(task, None), measured)
    if clean_outputs is not None:
        _try_out(metric, clean_outputs)
    return metric


def _try_out(metric: Metric, outputs: Outputs) -> None:
    """Raises UserError where a metric of one's own depends on what is not computed, or on the prompts beside it."""
    values, half = metric(outputs), torch.arange(len(outputs) // 2)
    elsewhere = [p for p in range(outputs.shape[1]) if p not in metric.positions]
    other = outputs.clone()
    noise = torch.randn(other[:, elsewhere].shape, generator=torch.Generator().manual_seed(0))
    other[:, elsewhere] = noise.to(other) * (1 + outputs.std())
    if not torch.allclose(metric.of(other, torch.arange(len(outputs))), values, rtol=1e-4, atol=1e-6):
        raise UserError(
            f"metric {metric.name} looks at positions other than {list(metric.positions)}, whose outputs alone are "
            "computed: give the task those positions too"
        )
    if len(half) and not torch.allclose(metric(outputs[half], half), values[half], rtol=1e-3, atol=1e-6):
        raise UserError(
            f"metric {metric.name}: expected a prompt's number to depend on that prompt alone, got another one with "
            f"{len(half)} prompts than with {len(outputs)}"
        )


def _output_index(task: Task, output: str | None) -> int | None:
    if output is None:
        return None
    if output not in task.output_names:
        raise UserError(f"task {task.kind!r} has no output {output!r}: it has {list(task.output_names)}")
    return task.output_names.index(output)


def _positions(task: Task, index: int | None) -> tuple[int, ...]:
    """Positions an output is taken at: its own where every output has one, else all that count."""
    every = task.interface.output_positions
    if index is not None and len(every) == len(task.output_names):
        return (every[index],)
    return tuple(sorted(set(every)))


def _mean(per_output: Float[Tensor, "batch output"], index: int | None) -> Float[Tensor, "batch"]:
    return per_output.mean(1) if index is None else per_output[:, index]


def _answer_difference(task: Task, pair: Pair, index: int | None) -> Outputs:
    """Weights on the outputs that give clean minus corrupt logit, averaged over the output positions that differ."""
    if task.interface.inputs == "continuous":
        raise UserError(
            f"metric 'logit_diff' needs symbols to answer with, and task {task.kind!r} reads numbers"
        )
    clean, corrupt = task.answer(pair.clean), task.answer(pair.corrupt)
    weights = (clean - corrupt) / clean.abs().amax().clamp_min(1e-30)
    if index is not None and len(task.interface.output_positions) == 1 and len(task.output_names) > 1:
        part = torch.arange(weights.shape[-1]) // (weights.shape[-1] // len(task.output_names)) == index
        weights = weights * part
    differ = (weights > 0).sum((1, 2), keepdim=True).clamp_min(1)
    return weights / differ


def _projection(weights: Outputs) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, rows: (outputs * weights[rows].to(outputs)).sum((1, 2))


def _distance(reference: Outputs, positions: list[int]) -> Callable[[Tensor, Tensor], Tensor]:
    def of(outputs: Tensor, rows: Tensor) -> Tensor:
        return (outputs - reference[rows])[:, positions].pow(2).mean((1, 2))

    return of


def check_pair(pair: Pair) -> None:
    """Raises UserError unless clean and corrupt prompts have one shape and differ somewhere."""
    if not isinstance(pair, Pair):
        raise UserError(
            f"clean and corrupt prompts come as a pair of the task, run.task.pair(kind, seed, stream, step, batch) or "
            f"tasks.Pair(kind, clean, corrupt, differ) of batches, not as {type(pair).__name__}"
        )
    clean, corrupt = pair.clean.inputs, pair.corrupt.inputs
    if clean.shape != corrupt.shape:
        raise UserError(
            f"clean prompts {list(clean.shape)} and corrupt prompts {list(corrupt.shape)} differ in shape"
        )
    if bool((clean == corrupt).all()):
        raise UserError(
            f"the clean and corrupt prompts of pair {pair.kind!r} are the same: nothing can be patched"
        )


def check_eval(model: HookedModel) -> None:
    """Raises UserError for a model in training mode, whose forward pass may not be a function of its input
    alone.
    """
    if model.training:
        raise UserError("the model is in train mode: call model.eval() before a causal analysis")


def normalised(
    values: Float[Tensor, "batch *cell"],
    clean: Float[Tensor, "batch"],
    corrupt: Float[Tensor, "batch"],
    draws: int = DRAWS,
) -> Intervals:
    """Effect of each cell on the scale corrupt = 0, clean = 1, with its interval over prompts.

    Raises UserError when the clean and the corrupt run have the same mean metric, for nothing divides by
    zero.
    """
    gap = clean.double() - corrupt.double()
    size = max(float(clean.abs().mean()), float(corrupt.abs().mean()), 1e-30)
    if abs(float(gap.mean())) <= 1e-9 * size:
        raise UserError(
            "the metric is the same on the clean and the corrupt run (normaliser zero): choose another metric or pair"
        )
    shape = (len(gap),) + (1,) * (values.ndim - 1)
    return ratio(
        values.double() - corrupt.double().reshape(shape),
        gap.reshape(shape).expand(values.shape),
        draws=draws,
    )
