"""Causal analyses of a run: activation patching, circuits, and whether circuits agree with roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.registry import build
from interp.analysis.result import Result
from interp.causal.choices import Axis, Direction, Method, MetricName, Replacement, Search
from interp.hooks.components import Component
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks.renamed import keywords


class CausalQuestions(Measuring):
    """Causal analyses as methods of a run."""

    @keywords
    def patch(
        self,
        component: Component | Literal["head_out"] | str = "resid_pre",
        *,
        pair: str | None = None,
        by: Sequence[Axis] = ("layer", "head", "position"),
        direction: Direction = "denoise",
        replacement: Replacement | str = "pair",
        metric: MetricName | str = "loss",
        output: str | None = None,
        prompts: int = 64,
        seed: int = 0,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """Effect of patching every site of a grid: 0 as the corrupt run, 1 as the clean one, unbounded either way.

        `component`: what is patched ("head_out" is a synonym of "z"); `by`: the axes of the grid, others are
        patched as a whole. `pair`: one of the task's pair kinds, the first unless given; `prompts` of them (at least
        2), drawn with `seed`. `direction`: "denoise" patches clean values into the corrupt run, "noise" takes one
        site from the clean run, whose `replacement` may then be an ablation. `metric` is taken at the output position
        `output` ("hop 2"), or at all. Raises UserError for an unknown kind, component or setting.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> found = run.patch("head_out", by=("layer", "head"), prompts=8).table
        >>> len(found) == run.config.model.n_layers * run.config.model.n_heads
        True
        """
        return self._measured(
            "patch", steps, progress, component=component, pair=self._pair(pair), by=tuple(by),
            direction=direction, replacement=replacement, metric=metric, output=output, prompts=prompts, seed=seed,
        )  # fmt: skip

    @keywords
    def circuit(
        self,
        *,
        method: Method = "exact",
        search: Search = "prune",
        faithfulness: float = 0.95,
        threshold: float = 0.02,
        metric: MetricName | str = "loss",
        output: str | None = None,
        prompts: int = 64,
        seed: int = 0,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """The edges that carry the behaviour: a point on the curve of size against faithfulness, beside matched random
        circuits.

        `method`: "exact" runs every edge by itself, "EAP" and "EAP-IG" are attribution estimates, quicker. `search`:
        "prune" removes edges as long as the lower confidence limit of `faithfulness` is kept, "threshold" keeps those
        whose own effect passes `threshold` (a share of the behaviour), "greedy" grows edges from the output until
        `faithfulness` is reached. `metric`, `output`, `prompts` and `seed` as in `patch`. Raises UserError for a model
        whose edges are not known.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.circuit(prompts=8).table.query("metric == 'edge'")["receiver"].nunique() > 0
        True
        """
        return self._measured(
            "circuit", steps, progress, method=method, search=search, faithfulness=faithfulness,
            threshold=threshold, metric=metric, output=output, prompts=prompts, seed=seed,
        )  # fmt: skip

    def edges(
        self, steps: Steps = "all", progress: Progress | None = None, *, prompts: int = 64, seed: int = 0
    ) -> Result:
        """Ablation effect of every single edge, a share of the behaviour; 0 where other edges compensate for it.

        Raises UserError for a model whose edges are not known.
        """
        return self._measured("edges", steps, progress, prompts=prompts, seed=seed)

    @keywords
    def agreement(
        self,
        *,
        method: Method = "exact",
        search: Search = "prune",
        faithfulness: float = 0.95,
        threshold: float = 0.02,
        metric: MetricName | str = "loss",
        output: str | None = None,
        prompts: int = 64,
        seed: int = 0,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """Whether the circuit and the roles that attention scores suggest agree, head by head.

        Settings are those of `circuit`. Raises UserError for a model or task whose heads can have no role.
        """
        from interp.causal.over_training import circuit_at
        from interp.heads.agreement import agreement

        search_for = build(
            "circuit", method=method, search=search, faithfulness=faithfulness, threshold=threshold,
            metric=metric, output=output, prompts=prompts, seed=seed,
        )  # fmt: skip
        tables = self.tables([search_for, build("roles")], steps, progress)
        found, roles = tables["circuit"], tables["roles"]
        rows = [
            agreement(circuit_at(found, step), roles[roles["step"] == step]).assign(step=step)
            for step in self.resolve(steps)
        ]
        caption = (
            "1 where circuit and attention agree on a head; `chance` is the share if they were unrelated."
        )
        return Result("agreement", pd.concat(rows, ignore_index=True), caption)
