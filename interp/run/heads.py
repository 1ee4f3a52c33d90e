"""Head analyses of a run: what heads attend to, their roles and ablation effects, composition of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from interp.analysis.base import Progress
from interp.analysis.nameable import keep, reachable
from interp.analysis.result import Result
from interp.causal.choices import Ablation
from interp.causal.reach import reaching
from interp.heads.choices import METHODS, NO_PROMPTS, View
from interp.heads.direct import score_attribution
from interp.hooks.protocol import HookedModel
from interp.pictures.attention import AttentionView
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks import Batch, Relation, UserError
from tasks.complaints import nearest
from tasks.renamed import keywords


class HeadQuestions(Measuring):
    """Head analyses as methods of a run."""

    def heads(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        relation: Callable[[Batch], Relation | tuple[Tensor, ...]] | None = None,
        view: View = "relations",
        prompts: int | None = None,
    ) -> Result:
        """Attention mass of every head on every relation of the task; with `relation` on one's own instead.

        That is a function of a batch to (dest, source) or (dest, source, valid), rows and columns of attention, each
        [batch, pair] (`tasks.Relation`). Another `view` is what `interp heads RUN --view` shows, in its usual settings:
        "roles" is `run.roles(steps)` and so on (`interp.heads.choices.METHODS`). `prompts`: how many of them; of the
        relations 1,024 unless given, and 64 of a model with 50 million weights in its blocks. Raises UserError for an
        unknown view, for one that takes none or other prompts, for other shapes and for positions that prompts do not
        have.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> last = run.heads(steps="last").table.query("control == 'none'")
        >>> bool(last["value"].between(0, 1).all())
        True
        """
        if view != "relations":
            return self._view(view, steps, progress, relation, prompts)
        if relation is not None:
            return self._measured("own-relation", steps, progress, relation=relation, prompts=prompts)
        found = self._measured("heads", steps, progress, prompts=prompts)
        batch = self.task.sample(self.config.data_seed, "report", 0, 1)
        known = reaching(self.config.model, self.task, self.task.relations(batch))
        if self.asking.tables is None and self._group is None:
            keep(self.folder.analysis_path, self.folder.config_hash, known)
        return replace(found, named=reachable(found.table, known))

    def _view(
        self, view: str, steps: Steps, progress: Progress | None, relation: object, prompts: int | None
    ) -> Result:
        """Another view of the heads, by its name. Raises UserError for an unknown one, naming the nearest."""
        if view not in METHODS:
            raise UserError(f"heads have no view {view!r}{nearest(view, METHODS)}")
        if relation is not None:
            raise UserError(f"relation goes with the view 'relations' only, not with {view!r}: leave one out")
        if prompts is not None and view in NO_PROMPTS:
            raise UserError(f"the view {view!r} takes no number of prompts: leave prompts out")
        given = {} if prompts is None else {"prompts": prompts}
        return getattr(self, METHODS[view])(steps=steps, progress=progress, **given)

    def head_statistics(
        self, steps: Steps = "all", progress: Progress | None = None, *, prompts: int | None = None
    ) -> Result:
        """Attention mass, argmax share and inner product of every head with every relation, with chance levels.

        Definitions in `interp.heads.statistics`; `prompts` as in `heads`. Raises UserError for a task without
        relations.
        """
        return self._measured("head-statistics", steps, progress, prompts=prompts)

    def chain(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Which node of a chain attends to which, of every head, by mass and by argmax (`interp.heads.chain`).

        Raises UserError for a task without chains.
        """
        return self._measured("chain", steps, progress)

    def patterns(
        self, steps: Steps = "all", progress: Progress | None = None, *, prompts: int | None = None
    ) -> Result:
        """Scores of every head on known patterns (`interp.heads.patterns`), and of the untrained model's heads.

        On a regression run rank correlations with the query, recency and label gain; on tasks of single tokens
        previous-token, duplicate-token, prefix-matching and copying scores, on `prompts` sequences of repeated tokens
        (256). Raises UserError for other tasks, and for `prompts` on a regression run, which shares the prompts of
        other analyses.
        """
        if self.task.kind != "regression":
            return self._measured("token-heads", steps, progress, prompts=prompts)
        if prompts is not None:
            raise UserError("prompts are chosen for token heads only: leave them out for a regression run")
        return self._measured("regression-heads", steps, progress)

    def roles(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 512,
        kind: Ablation = "mean per position",
        seed: int = 0,
    ) -> Result:
        """The role of every head by what it attends to, and its ablation effect, a share of all heads' effect.

        `kind` of ablation: "zero", "mean" or "mean per position"; see `interp.heads.roles` for verdicts and
        thresholds. Raises UserError for a model or task whose heads can have no role.
        """
        return self._measured("roles", steps, progress, prompts=prompts, kind=kind, seed=seed)

    def ablation(
        self, steps: Steps = "all", progress: Progress | None = None, *, kind: Ablation = "mean per position"
    ) -> Result:
        """Ablation effect of each head alone at every output position; 1: as bad as without any head."""
        return self._measured("ablation", steps, progress, kind=kind)

    def mechanism(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 512,
        kind: Ablation = "mean per position",
        seed: int = 0,
    ) -> Result:
        """Which circuit answers each hop of a retrieval run: stacked heads, or look-ahead heads.

        Definitions in `interp.heads.mechanism`. Raises UserError for other tasks and for signed attention.
        """
        return self._measured("mechanism", steps, progress, prompts=prompts, kind=kind, seed=seed)

    def hop_growth(
        self, steps: Steps = "all", progress: Progress | None = None, *, prompts: int = 96, seed: int = 0
    ) -> Result:
        """How far along a chain each head attends, what that rests on, and the verdict: one by one, doubling, neither.

        Definitions in `interp.heads.growth`. Raises UserError for a task without hops.
        """
        return self._measured("hop-growth", steps, progress, prompts=prompts, seed=seed)

    def damage(
        self,
        steps: Steps = "last",
        progress: Progress | None = None,
        *,
        faithfulness: float = 0.95,
        prompts: int = 64,
        seed: int = 0,
    ) -> Result:
        """Damage of ablating each head, predicted from the circuit alone and measured, and how far the two agree.

        Definitions in `interp.heads.damage`. Raises UserError for a model whose edges are not known.
        """
        return self._measured(
            "damage", steps, progress, faithfulness=faithfulness, prompts=prompts, seed=seed
        )

    def composition(
        self, steps: Steps = "all", progress: Progress | None = None, *, random: int = 16, seed: int = 0
    ) -> Result:
        """Q-, K- and V-composition of every pair of heads, compared with `random` draws of random weights (at least 2).

        Source: Elhage et al. 2021, "composition scores"; the chance level is that of weights of the same shapes.
        """
        return self._measured("composition", steps, progress, random=random, seed=seed)

    def weights(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Positive eigenvalue shares of OV and QK of every head, in [0, 1], and the head it composes with most."""
        return self._measured("weights", steps, progress)

    @keywords
    def output_attribution(
        self,
        output: str | int = -1,
        *,
        prompts: int = 256,
        seed: int = 0,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """Direct logit attribution: what each component adds to the right answer at one output position.

        `output`: its name or number, the last unless given; units, control and errors in `interp.heads.direct`.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.output_attribution("hop 1", prompts=8).table["control"].unique().tolist()
        ['none', 'other targets']
        """
        return self._measured(
            "output-attribution", steps, progress, output=output, prompts=prompts, seed=seed
        )

    def qk_attribution(
        self, head: str, relation: str, *, step: Steps = "last", prompts: int = 64, seed: int = 0
    ) -> Result:
        """Why a head ("L1H0") attends along a relation: its score as a sum over components of the query and the key.

        `relation` is one of the task's, as `heads` lists them; units, control and errors in `interp.heads.direct`.
        """
        model, batch = self._drawn("QK attribution", step, prompts, seed)
        table = score_attribution(model, self.task, batch, head, relation, seed)
        return Result(
            "qk-attribution", table, "Terms of the attention score before mask and softmax; they add up."
        )

    def _drawn(self, stream: str, step: Steps, prompts: int, seed: int) -> tuple[HookedModel, Batch]:
        """The model of one checkpoint, and prompts in its precision."""
        if prompts < 2:
            raise UserError(f"prompts: at least 2, not {prompts}")
        model, batch = self.model(step), self.task.sample(seed, stream, 0, prompts)
        return model, batch.double() if self.config.model.dtype == "float64" else batch

    def show_attention(self, layer: int = 0, *, step: Steps = "last", prompt: int = 0) -> AttentionView:
        """Attention of every head of a layer on one held-out prompt, drawn by CircuitsVis.

        Prompt 0 is the one on the report's page. Raises UserError for a layer without an attention pattern.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.show_attention(layer=0)
        Attention of layer 0 at step ..., prompt 0 (a picture in a notebook; .save(path) writes it as a page)
        """
        at, name = self._one(step), f"blocks.{layer}.attn.hook_pattern"
        model = self.without_interventions().model(at)
        batch = self.task.sample(self.config.data_seed, "report", prompt, 1)
        if name not in model.hook_dict:
            layers = sum(hook.endswith("attn.hook_pattern") for hook in model.hook_dict)
            raise UserError(
                f"layer {layer!r}: this model has attention patterns in {layers} layers, from 0 on"
            )
        batch = batch.double() if self.config.model.dtype == "float64" else batch
        with torch.no_grad(), self.with_interventions(model, batch, at):
            pattern = model.run_with_cache(batch.inputs, names_filter=[name])[1][name][0]
        heads = tuple(f"L{layer}H{head}" for head in range(len(pattern)))
        title = f"Attention of layer {layer} at step {at}, prompt {prompt}"
        return AttentionView(title, tuple(self.task.labels(batch)[0]), pattern.float(), heads)
