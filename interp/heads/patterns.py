"""Head scores that need more than a relation: heads of regression prompts, and of models of single tokens.

Regression, at the query's row: "rank correlation, x" is Spearman's correlation over examples of the attention
on an example's x with x_i . x_q ("y": on its label; merged prompts: on the example), range [-1, 1], chance 0,
positive: more attention to similar examples. "recency" is the same with the example's position, positive: more
attention to late ones. "y gain" is the head's OV map from the label coordinate of the read-in to the output, d(output)
per unit of label at attention 1, signed and unbounded, chance about 0 (LayerNorms left out, direct path
only). Source: definitions of this project, after 2306.00297.

Tokens, on random tokens shown twice: "previous token", "duplicate token" and "prefix matching" are the mean
attention to the token before, to the earlier copy, and to the one after the earlier copy (range [0, 1] for
softmax; chance: uniform attention). "copying" is sum(lambda) / sum|lambda| over the eigenvalues of W_E W_V
W_O W_U, range [-1, 1], positive: an attended token raises its own logit; chance about 0. Source: Olsson et
al. 2209.11895; Elhage et al. 2021.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.heads.heads import HeadScores, unit_of
from interp.hooks.protocol import HookedModel
from probes.stats import bootstrap
from tasks import Task, UserError
from tasks.streams import generator

HeadValues = Float[Tensor, "batch layer head"]


class RegressionHeads(Analysis):
    """Rank correlations, recency and label gain of every head, and of the untrained model's."""

    name: ClassVar[str] = "regression-heads"
    with_untrained: ClassVar[bool] = True

    def hooks(self, model: HookedModel) -> list[str]:
        return HeadScores().hooks(model)

    def accumulator(
        self, model: HookedModel, task: Task, untrained: Accumulator | None
    ) -> RegressionHeadAccumulator:
        if task.kind != "regression":
            raise UserError(f"regression heads need a regression task, not {task.kind!r}")
        return RegressionHeadAccumulator(model, task, self.hooks(model))

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        return None if untrained is None else untrained.table().assign(control="untrained")


class RegressionHeadAccumulator:
    """Collects the query row's attention of every head."""

    def __init__(self, model: HookedModel, task: Any, hooks: list[str]):
        self.task, self.hooks = task, hooks
        self.gain = label_gain(model, task)
        self.scores: dict[str, list[HeadValues]] = {}

    def add(self, chunk: int, batch: Any, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        rows = torch.stack([cache[hook][:, :, -1] for hook in self.hooks], dim=1)
        n = self.task.n
        parts = {"example": rows[..., :n]} if self.task.layout == "merged" else {
            "x": rows[..., 0 : 2 * n : 2], "y": rows[..., 1 : 2 * n : 2],
        }  # fmt: skip
        likeness = torch.einsum("bnd,bd->bn", batch.x[:, :n], batch.x[:, n])[:, None, None]
        place = torch.arange(n).to(rows).expand_as(likeness)
        for name, part in parts.items():
            found = {f"rank correlation, {name}": likeness, f"recency, {name}": place}
            for metric, other in found.items():
                self.scores.setdefault(metric, []).append(spearman(part, other))

    def table(self) -> pd.DataFrame:
        tables = [head_table(name, torch.cat(parts), "correlation") for name, parts in self.scores.items()]
        gain = _index(self.gain).assign(metric="y gain", control="none", unit="output per label")
        return pd.concat([*tables, gain.assign(value=self.gain.flatten().numpy())], ignore_index=True)


def label_gain(model: HookedModel, task: Any) -> Float[Tensor, "layer head"]:
    """What a unit of label at the attended token adds to the output through each head's OV map."""
    with torch.no_grad():
        label = model.token_embed.W_E[-1 if task.layout == "merged" else 0]
        rows = [
            torch.einsum("d,hdk,hke,e->h", label, block.attn.W_V, block.attn.W_O, model.W_U[:, 0])
            for block in model.typed_blocks()
        ]
    return torch.stack(rows).double()


def spearman(a: Float[Tensor, "*many n"], b: Float[Tensor, "*few n"]) -> Float[Tensor, "*many"]:
    """Spearman's rank correlation along the last axis; 0 where one side is constant.

    Ties share their mean rank.
    """
    x, y = (_ranks(t) - (t.shape[-1] - 1) / 2 for t in (a, b))
    norm = (x.square().sum(-1) * y.square().sum(-1)).sqrt()
    return torch.where(norm > 0, (x * y).sum(-1) / norm.clamp_min(1e-30), torch.zeros_like(norm))


def _ranks(t: Tensor) -> Tensor:
    below = (t[..., :, None] > t[..., None, :]).double().sum(-1)
    ties = (t[..., :, None] == t[..., None, :]).double().sum(-1)
    return below + (ties - 1) / 2


def _index(scores: Float[Tensor, "*lead layer head"]) -> pd.DataFrame:
    layers, heads = scores.shape[-2:]
    product = pd.MultiIndex.from_product([range(layers), range(heads)], names=["layer", "head"])
    return product.to_frame(index=False)


def head_table(metric: str, scores: HeadValues, unit: str) -> pd.DataFrame:
    """Mean over prompts of a score of every head, with its interval."""
    means = bootstrap(scores.flatten(1))
    found = {"value": means.value.numpy(), "ci_low": means.low.numpy(), "ci_high": means.high.numpy()}
    return _index(scores).assign(metric=metric, control="none", unit=unit, **found, n=means.n)


class TokenHeads(Analysis):
    """Previous-token, duplicate-token, prefix-matching and copying scores of a model of single tokens."""

    name: ClassVar[str] = "token-heads"
    runs_model: ClassVar[bool] = True
    with_untrained: ClassVar[bool] = True
    chunks: int = 0
    prompts: int = 256

    def hooks(self, model: HookedModel) -> list[str]:
        return HeadScores().hooks(model)

    def accumulator(
        self, model: HookedModel, task: Task, untrained: Accumulator | None
    ) -> TokenHeadAccumulator:
        if task.interface.inputs != "token" or task.interface.n_ctx < 4:
            raise UserError(
                f"token heads need a task of single tokens, at least 4 of them; {task.kind!r} is none"
            )
        return TokenHeadAccumulator(model, task, self)

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        return None if untrained is None else untrained.table().assign(control="untrained")


class TokenHeadAccumulator:
    """Runs the model on its own repeated tokens; the prompts of the chunks are not used."""

    def __init__(self, model: HookedModel, task: Task, settings: TokenHeads):
        self.model, self.task, self.settings = model, task, settings

    def add(self, chunk: int, batch: Any, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        """Nothing: the scores are computed on other prompts."""

    def table(self) -> pd.DataFrame:
        tokens = repeated_tokens(self.task, self.settings.prompts)
        hooks = self.settings.hooks(self.model)
        with torch.no_grad():
            cache = self.model.run_with_cache(tokens, names_filter=hooks)[1]
        pattern = torch.stack([cache[hook] for hook in hooks], dim=1)
        unit = unit_of(self.model.config)
        tables = [head_table(name, score, unit) for name, score in repeat_scores(pattern).items()]
        copies = copying(self.model)
        copied = _index(copies).assign(metric="copying", control="none", unit="eigenvalue share")
        return pd.concat([*tables, copied.assign(value=copies.flatten().numpy())], ignore_index=True)


def repeated_tokens(task: Task, prompts: int) -> Int[Tensor, "batch pos"]:
    """Random tokens shown twice, as long as fits the context, distinct within a half where the vocabulary
    allows.
    """
    half, vocab = task.interface.n_ctx // 2, task.interface.d_vocab
    gen = generator(0, "repeated tokens", 0)
    if vocab >= half:
        once = torch.rand(prompts, vocab, generator=gen).argsort(1)[:, :half]
    else:
        once = torch.randint(vocab, (prompts, half), generator=gen)
    return torch.cat([once, once], dim=1)


def repeat_scores(pattern: Float[Tensor, "batch layer head row column"]) -> dict[str, HeadValues]:
    """Mean attention on the three sources, over the rows of the second showing (previous token: over all rows
    but the first).
    """
    half = pattern.shape[-1] // 2
    along = {"previous token": -1, "duplicate token": -half, "prefix matching": 1 - half}
    return {
        name: pattern.diagonal(offset, -2, -1)[..., (0 if offset == -1 else _skipped(half, offset)) :].mean(
            -1
        )
        for name, offset in along.items()
    }


def _skipped(half: int, offset: int) -> int:
    """Entries of a diagonal that lie in rows of the first showing."""
    return half + offset


def copying(model: HookedModel) -> Float[Tensor, "layer head"]:
    """Eigenvalue share of every head's token-to-logit map, averaged over the blocks of logits (one or several)."""
    rows = []
    with torch.no_grad():
        tokens = model.token_embed.W_E[list(model.interface.outputs) or slice(None)]
        blocks = max(1, model.W_U.shape[1] // len(tokens))
        for block in model.typed_blocks():
            values = block.attn.W_V
            values = values.repeat_interleave(block.attn.W_O.shape[0] // values.shape[0], 0)
            into = torch.einsum("vd,hdk->hvk", tokens, values).double()
            out = torch.einsum("hkd,do->hko", block.attn.W_O, model.W_U).double().unflatten(-1, (blocks, -1))
            into = into[:, : out.shape[-1]]
            eigen = torch.linalg.eigvals(torch.einsum("hkrv,hvj->hrkj", out[..., : into.shape[1]], into))
            size = eigen.abs().sum(-1)
            share = torch.where(size > 0, eigen.real.sum(-1) / size.clamp_min(1e-30), torch.zeros_like(size))
            rows.append(share.mean(1))
    return torch.stack(rows)
