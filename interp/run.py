"""The front door: a run and everything that can be asked of it.

`load` reads the configuration and the list of checkpoints; nothing else happens until a model, a table or a picture is
asked for. Every analysis returns a `Result` whose `table` is a long DataFrame, kept under RUN/analysis. What a run is
made of (checkpoints, models, clamps) is in `interp.runs.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import torch
from pydantic import ValidationError

from interp.analysis.base import Analysis, Progress
from interp.analysis.progress import told
from interp.analysis.result import Result
from interp.analysis.stream import analyse
from interp.config.run import RunConfig, configure
from interp.runs.checkpoints import Checkpoints
from interp.runs.folder import RunFolder
from interp.runs.steps import Steps
from tasks import UserError
from tasks.base import first_problem

if TYPE_CHECKING:
    from interp.landscape.llc import LearningCoefficient
    from interp.landscape.noise import GradientNoise
    from interp.pictures.attention import AttentionView

A = TypeVar("A", bound=Analysis)


def load(path: str | Path, *, released: bool = False) -> Run:
    """The run kept in a folder. Raises UserError when the folder holds none, or a damaged one.

    A run that was trained with clamps is measured with them in force; `released` lets go of them.
    """
    return Run(RunFolder.open(Path(path)), released=released)


class Run(Checkpoints):
    """A trained (or half-trained) model with its checkpoints, its task, and the analyses of both.

    >>> run = load("runs/demo/retrieval")
    >>> run
    Run(runs/demo/retrieval: retrieval, ... checkpoints, finished)
    >>> run.steps[0], run.task.reads
    (0, ('hop 1', 'hop 2', 'hop 3'))
    """

    @classmethod
    def train(
        cls,
        config: str | Path | Mapping[str, Any] | RunConfig,
        out: str | Path,
        *,
        seed: int | None = None,
        steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> Run:
        """Train a run into a folder (or go on with it there) and open it.

        `config` is a preset's name, a TOML file, settings as nested dictionaries, or a RunConfig, which takes no
        further changes. `changes` are dotted settings such as {"train.lr": 2e-3}. Raises UserError for settings or a
        folder that will not do, and what the training loop raises (`Diverged`, `Interrupted`).
        """
        from interp.train import train as train_folder

        if isinstance(config, RunConfig):
            if seed is not None or steps is not None or changes:
                raise UserError("a RunConfig is complete: put seed, steps and changes into it")
            settled = config
        else:
            settled = configure(config, seed=seed, steps=steps, changes=changes)
        return cls(train_folder(settled, out, device=device))

    def released(self) -> Run:
        """The same run without interventions: its weights alone."""
        return Run(self.folder, released=True)

    def tables(
        self, analyses: Iterable[Analysis], steps: Steps = "all", progress: Progress | None = None
    ) -> dict[str, pd.DataFrame]:
        """Several analyses at once, sharing the forward passes; tables by the analyses' names."""
        torch.set_num_threads(self.config.train.threads)
        asked = list(analyses)
        with told(progress, ", ".join(analysis.name for analysis in asked)) as tell:
            return analyse(self, asked, self.resolve(steps), tell)

    def _result(self, analysis: Analysis, caption: str, steps: Steps, progress: Progress | None) -> Result:
        table = self.tables([analysis], steps, progress)[analysis.name]
        return Result(analysis.name, table, caption)

    def scores(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Loss and score at every read, with floor and chance.

        >>> run = load("runs/demo/retrieval")
        >>> chance = run.scores(steps="last").table.query("control == 'chance'")
        >>> chance["position"].tolist()
        ['hop 1', 'hop 2', 'hop 3']
        """
        from interp.emergence.scores import Scores

        caption = "Loss and score of each read; rows without a step hold the floor and the chance level."
        return self._result(Scores(), caption, steps, progress)

    def heads(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """Attention mass of every head on every relation of the task.

        >>> run = load("runs/demo/retrieval")
        >>> last = run.heads(steps="last").table.query("control == 'none'")
        >>> bool(last["value"].between(0, 1).all())
        True
        """
        from interp.heads.heads import HeadScores

        caption = "Attention of each head on the positions that the task gives a meaning; a score is not yet a cause."
        return self._result(HeadScores(), caption, steps, progress)

    def probe(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        targets: tuple[str, ...] | list[str] = (),
        algorithms: bool = False,
        causal: bool = False,
        **settings: Any,
    ) -> Result:
        """What a linear readout of each layer knows of the target, on held-out prompts, beside an untrained twin.

        With `targets` (regression runs only) what it knows of those instead (`interp.readouts.target_readouts`). With
        `algorithms` (regression runs only, seconds a checkpoint) which rival iterates the readouts match, and
        the filter verdict. With `causal` (regression runs only) whether the net uses the directions that probes read
        iterates from (`interp.readouts.probe_swaps`). Further settings are those of `interp.readouts.readouts.Readouts`
        (`shift={"x_scale": 2.0}` scores on prompts of another law) or of the analysis asked for. Raises UserError for
        these of another task, for two of them at once, and for settings that are unknown.

        >>> run = load("runs/demo/retrieval")
        >>> run.probe(steps="last").table["control"].unique().tolist()
        ['none', 'shuffled', 'untrained']
        """
        if algorithms + causal + bool(targets) > 1:
            raise UserError("targets, algorithms and causal are questions apart: ask one at a time")
        if causal:
            from interp.readouts.probe_swaps import ProbeSwaps

            caption = "A probe's component moved from clean to corrupt: slope 1 where the net uses it as iterates say."
            return self._result(_settled(ProbeSwaps, **settings), caption, steps, progress)
        if algorithms:
            from interp.readouts.algorithms import AlgorithmMatch

            caption = "A match is the nearest of the steps offered; only the filter verdict identifies an algorithm."
            asked = _settled(AlgorithmMatch, **settings).for_checkpoints(len(self.steps))
            return self._result(asked, caption, steps, progress)
        if targets:
            from interp.readouts.target_readouts import TargetReadouts

            caption = "Held-out R2 of linear readouts; that a quantity can be read does not say that the net uses it."
            analysis = _settled(TargetReadouts, targets=tuple(targets), **settings)
            return self._result(analysis, caption, steps, progress)
        from interp.readouts.readouts import Readouts

        score = "accuracy" if self.task.score_name == "accuracy" else "error"
        caption = (
            f"Held-out {score} of a linear readout at each site; 'untrained' is the same of a fresh model."
        )
        return self._result(_settled(Readouts, **settings), caption, steps, progress)

    def emergence(self, steps: Steps = "all", progress: Progress | None = None) -> Result:
        """When each read's score, each head's attention and each overlap rose, with intervals over prompts.

        >>> run = load("runs/demo/retrieval")
        >>> run.emergence().table["subject"].str.startswith(("hop", "L")).all().item()
        True
        """
        from interp.emergence.draws import CurveDraws
        from interp.emergence.emergence import emergence_table
        from interp.emergence.overlaps import Overlaps, measurable
        from interp.emergence.scores import Scores
        from interp.heads.heads import HeadScores, scorable

        asked: list[Analysis] = [Scores(), CurveDraws()]
        asked += [HeadScores()] if scorable(self.config.model, self.task) else []
        asked += [Overlaps()] if measurable(self.config.model, self.task) else []
        found = self.tables(asked, steps, progress)
        table = emergence_table(found["scores"], found.get("heads"), found["draws"], found.get("overlaps"))
        caption = "Onset: where the fitted curve rises above its threshold for good; intervals over prompts."
        return Result("emergence", table, caption)

    def curvature(
        self,
        steps: Steps = "all",
        progress: Progress | None = None,
        *,
        prompts: int = 1000,
        probes: int = 32,
        hessian: bool = True,
        llc: LearningCoefficient | None = None,
        noise: GradientNoise | None = None,
    ) -> Result:
        """How the loss bends at each checkpoint on one fixed batch, and along the line to the next checkpoint asked.

        Without `hessian`, loss, gradient norm and directional smoothness alone. With `llc`, its settings, the
        local learning coefficient as well, seconds a checkpoint; with `noise`, the tail of the gradient's noise.
        Where 3 true steps of positive curvature are among the checkpoints, the caption says how curvature goes with
        the gradient. Raises UserError for fewer than 1 prompt or 2 probes.
        """
        from interp.landscape.landscape import fit_in_words, kept_curvature

        torch.set_num_threads(self.config.train.threads)
        asked = self.resolve(steps)
        with told(progress, "curvature") as tell:
            table = kept_curvature(self, asked, prompts=prompts, probes=probes, sharp=hessian, progress=tell)
        caption = "On one fixed batch; smoothness is the optimiser's own step only where `stride` is 1."
        caption += fit_in_words(table)
        if noise is not None:
            table = pd.concat([table, self.tables([noise], asked, progress)[noise.name]])
            caption += f" Noise: {noise.draws} batches of {noise.prompts} prompts."
        if llc is not None:
            table = pd.concat([table, self.tables([llc], asked, progress)[llc.name]])
            caption += (
                " Chains of the learning coefficient that are bad are refused, with the reason in `note`."
            )
        return Result("curvature", table.reset_index(drop=True), caption)

    def patch(
        self,
        component: str = "resid_pre",
        *,
        pair: str | None = None,
        steps: Steps = "last",
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Effect of patching every site of a grid, clean into corrupt unless `direction="noise"`.

        `pair` is one of the task's pair kinds (the first unless given); further settings are those of
        `interp.causal.over_training.PatchGrid`. Raises UserError for an unknown kind, component or setting.

        >>> run = load("runs/demo/retrieval")
        >>> found = run.patch("head_out", by=("layer", "head"), prompts=8).table
        >>> len(found) == run.config.model.n_layers * run.config.model.n_heads
        True
        """
        from interp.causal.over_training import PatchGrid

        kinds = self.task.pair_kinds
        if not kinds:
            raise UserError(
                f"task {self.task.kind!r} has no pairs to patch between: give it `pair_kinds` and `pair` (tasks.Task)"
            )
        if pair is not None and pair not in kinds:
            raise UserError(f"task {self.task.kind!r} has pairs of kind {list(kinds)}, not {pair!r}")
        analysis = _settled(PatchGrid, component=component, pair=pair or kinds[0], **settings)
        caption = (
            f"Patching {component}, pair {analysis.pair}: corrupt run 0, clean run 1; intervals over prompts."
        )
        return self._result(analysis, caption, steps, progress)

    def circuit(self, *, steps: Steps = "last", progress: Progress | None = None, **settings: Any) -> Result:
        """The edges that carry the behaviour, and how faithful they are beside random circuits of their size.

        Settings are those of `interp.causal.over_training.CircuitSearch`.

        >>> run = load("runs/demo/retrieval")
        >>> run.circuit(prompts=8).table.query("metric == 'edge'")["receiver"].nunique() > 0
        True
        """
        from interp.causal.over_training import CircuitSearch

        search = _settled(CircuitSearch, **settings)
        kept = {
            "prune": "Edges left when all went without which the behaviour stays",
            "threshold": "Edges whose effect surely passes the threshold",
            "greedy": "Edges grown from the output until the behaviour is there",
        }
        caption = f"{kept[search.search]}; the whole model is 1, other prompts' run is 0."
        return self._result(search, caption, steps, progress)

    def agreement(
        self, *, steps: Steps = "last", progress: Progress | None = None, **settings: Any
    ) -> Result:
        """Whether the circuit and the roles that attention scores suggest agree, head by head.

        Settings are those of `circuit`. Raises UserError for a model or task whose heads can have no role.
        """
        from interp.causal.over_training import CircuitSearch, circuit_at
        from interp.heads.agreement import HeadRoles, agreement

        search, held = _settled(CircuitSearch, **settings), HeadRoles()
        tables = self.tables([search, held], steps, progress)
        found, roles = tables[search.name], tables[held.name]
        rows = [
            agreement(circuit_at(found, step), roles[roles["step"] == step]).assign(step=step)
            for step in self.resolve(steps)
        ]
        caption = (
            "1 where circuit and attention agree on a head; `chance` is the share if they were unrelated."
        )
        return Result("agreement", pd.concat(rows, ignore_index=True), caption)

    def show_attention(self, layer: int = 0, *, step: Steps = "last", prompt: int = 0) -> AttentionView:
        """Attention of every head of a layer on one held-out prompt, drawn by CircuitsVis.

        Prompt 0 is the one on the report's page. Raises UserError for a layer without an attention pattern.

        >>> run = load("runs/demo/retrieval")
        >>> run.show_attention(layer=0)
        Attention of layer 0 at step ..., prompt 0 (a picture in a notebook; .save(path) writes it as a page)
        """
        from interp.pictures.attention import AttentionView

        at, name = self._one(step), f"blocks.{layer}.attn.hook_pattern"
        model = self.released().model(at)
        batch = self.task.sample(self.config.data_seed, "report", prompt, 1)
        if name not in model.hook_dict:
            layers = sum(hook.endswith("attn.hook_pattern") for hook in model.hook_dict)
            raise UserError(
                f"layer {layer!r}: this model has attention patterns in {layers} layers, from 0 on"
            )
        batch = batch.double() if self.config.model.dtype == "float64" else batch
        with torch.no_grad(), self.held(model, batch, at):
            pattern = model.run_with_cache(batch.inputs, names_filter=[name])[1][name][0]
        heads = tuple(f"L{layer}H{head}" for head in range(len(pattern)))
        title = f"Attention of layer {layer} at step {at}, prompt {prompt}"
        return AttentionView(title, tuple(self.task.labels(batch)[0]), pattern.float(), heads)


def _settled(kind: type[A], **settings: Any) -> A:
    try:
        return kind(**settings)
    except ValidationError as error:
        raise UserError(f"{kind.name}: {first_problem(error)}") from None
