"""A pretrained language model: opening, scores, heads and patches against the same work by hand, as rows of the table.

By hand means `transformers`' own model with hooks of torch: its loss from its logits, attention from
`output_attentions`, a patch as a whole pass with a hook before a layer's output projection. Arms run in forked
children, whose CPU seconds and peak memory the system reports; a peak holds what was there before, both models
included. Patches of three layers' heads are timed and multiplied to all (the layers' mean is the middle of the model).
ALGOSCOPE_LM names the folder of the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import interp
from interp.causal.metrics import metric_of
from interp.causal.suffix import SuffixEngine
from interp.heads.heads import HeadScores
from interp.hooks.sites import Site
from interp.run import Run
from tasks.errors import UserError
from tests.bench.rows import NONE, Row, Work, spent_apart, weighed

TASK = {"kind": "induction", "vocabulary": 49152, "length": 25, "candidates": 0}
BY_HAND = "transformers and hooks"


def rows(quick: bool) -> list[Row]:
    """Opening, scores, heads and patches of the model in ALGOSCOPE_LM."""
    folder = Path(os.environ.get("ALGOSCOPE_LM", ""))
    if not (folder / "config.json").is_file():
        return [Row("pretrained language model", NONE, note="not run: set ALGOSCOPE_LM to its folder")]
    at = Compared(interp.adopt(folder, task=TASK, quiet=True), folder, 4 if quick else 32, 2 if quick else 8)
    note = f"{folder.name}, {len(at.batch)} prompts of {at.inputs.shape[1]} tokens"
    arms: list[tuple[str, Work, Work, float, str]] = [
        ("opening", at.adopt, at.load, 1, "a dozen passes of checks against one pass of two prompts"),
        ("loss and errors", at.scores, at.scores_by_hand, 1, note),
        ("heads", at.heads, at.heads_by_hand, 1, f"{note}; with intervals against without"),
        (
            "patching all heads",
            at.patches,
            at.patches_by_hand,
            at.share,
            f"{note}; {len(at.pair.clean)} pairs",
        ),
    ]
    return [
        compare_apart(f"pretrained, {name}", ours, theirs, 1 if quick else 2, per, about)
        for name, ours, theirs, per, about in arms
    ]


def compare_apart(name: str, project: Work, baseline: Work, repeats: int, per: float, note: str) -> Row:
    """A row of two arms, each run in a child of its own, in turns; seconds are multiplied by `per`."""
    pairs, peaks = [], []
    for _ in range(repeats):
        (ours, our_peak, lost), (theirs, their_peak, also_lost) = spent_apart(project), spent_apart(baseline)
        if lost or also_lost:
            raise UserError("an arm of the comparison failed")
        pairs.append((ours * per, theirs * per))
        peaks.append((our_peak, their_peak))
    project_mb, baseline_mb = (max(column) for column in zip(*peaks, strict=True))
    bare = Row(name, 0.0, baseline_name=BY_HAND, project_mb=project_mb, baseline_mb=baseline_mb, note=note)
    return weighed(bare, pairs)


class Compared:
    """The model in both forms, its prompts and its pairs."""

    def __init__(self, run: Run, folder: Path, prompts: int, pairs: int):
        self.folder = folder
        self.model, self.plain = run.model(), self._load()
        self.task: Any = run.task
        self.batch = self.task.sample(0, "bench", 0, prompts)
        self.inputs, self.pair = self.batch.inputs, self.task.pair("other-copies", 0, "bench", 0, pairs)
        self.rows = list(self.task.interface.output_positions)
        self.layers = (0, self.model.config.n_layers // 2, self.model.config.n_layers - 1)
        self.sites = [Site("z", layer, head) for layer in self.layers for head in range(self._heads)]
        self.share = self.model.config.n_layers / len(self.layers)
        hooks = [f"blocks.{layer}.attn.hook_z" for layer in self.layers]
        with torch.no_grad():
            self.cache = self.model.run_with_cache(
                self.pair.clean.inputs, names_filter=hooks, return_cache_object=False
            )[1]

    @property
    def _heads(self) -> int:
        return self.model.config.n_heads

    def _load(self) -> Any:
        from transformers import AutoModelForCausalLM

        kind = {"dtype": torch.float32, "attn_implementation": "eager"}
        return AutoModelForCausalLM.from_pretrained(self.folder, **kind).eval()

    def adopt(self) -> None:
        """A run of the model, and the model."""
        interp.adopt(self.folder, task=TASK, quiet=True).model()

    @torch.no_grad()
    def load(self) -> None:
        """The model, run once on two prompts."""
        self._load()(self.inputs[:2])

    @torch.no_grad()
    def scores(self) -> Any:
        """Loss and error of each copy."""
        outputs = self.model(self.inputs)
        return self.task.loss(outputs, self.batch).mean(0), self.task.score(outputs, self.batch).mean(0)

    @torch.no_grad()
    def scores_by_hand(self) -> Any:
        """The same from the model's own logits."""
        logits = self.plain(self.inputs).logits[:, self.rows]
        loss = self._loss(logits, self.batch.targets)
        wrong = (logits.argmax(-1) != self.batch.targets).float().unflatten(1, (2, -1)).mean((0, 2))
        return loss.mean(0), wrong

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view_as(targets).unflatten(1, (2, -1)).mean(2)

    @torch.no_grad()
    def heads(self) -> Any:
        """Attention mass of every head on every relation, with intervals."""
        scores = HeadScores()
        found = scores.accumulator(self.model, self.task, None)
        outputs, cache = self.model.run_with_cache(
            self.inputs, names_filter=scores.hooks(self.model), return_cache_object=False
        )
        found.add(0, self.batch, outputs, cache)
        return found.table()

    @torch.no_grad()
    def heads_by_hand(self) -> Any:
        """The same means from `output_attentions`."""
        patterns = torch.stack(self.plain(self.inputs, output_attentions=True).attentions)
        pairs = {r.name: (r.dest[0], r.source[0]) for r in self.task.relations(self.batch)}
        return {name: patterns[..., dest, source].mean((1, 3)) for name, (dest, source) in pairs.items()}

    def patches(self) -> Any:
        """Loss with each head alone as in the clean run, the rest as in the other."""
        metric = metric_of(self.task, self.pair, "loss")
        return SuffixEngine(self.model, self.pair.corrupt.inputs, metric).values(self.sites, self.cache)

    @torch.no_grad()
    def patches_by_hand(self) -> Any:
        """The same, by a whole pass for each head."""
        found = []
        for site in self.sites:
            head = site.head or 0
            value = self.cache[site.hook(None)][:, :, head]
            columns = slice(head * value.shape[-1], (head + 1) * value.shape[-1])

            def write(module: Any, given: Any, value: Any = value, columns: slice = columns) -> Any:
                changed = given[0].clone()
                changed[..., columns] = value
                return (changed,)

            attention = self.plain.model.layers[site.layer].self_attn
            handle = attention.o_proj.register_forward_pre_hook(write)
            logits = self.plain(self.pair.corrupt.inputs).logits[:, self.rows]
            handle.remove()
            found.append(self._loss(logits, self.pair.clean.targets).mean(1))
        return torch.stack(found)
