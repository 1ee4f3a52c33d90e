"""Gradient descent on a two-layer ReLU net's own weights, prompt by prompt: the rival of in-context nets on such tasks.

The student is a'relu(Wx) / sqrt(width) of a stated width, started at random with its units in pairs of opposite a, so
that it is the zero function at step 0. Losses are half mean squares over the examples seen. Steps are those of the
net's weights, not of a linear predictor; their size is in units of 1 / the largest eigenvalue of each problem's tangent
kernel at the start, and is tuned on prompts the comparison does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes import matching, stats
from probes.matching import Match
from tasks.errors import UserError
from tasks.streams import generator

WIDTH = 32
ROOT = WIDTH**0.5
SIZES = (0.0625, 0.125, 0.25, 0.5)
LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def descend(
    x: Float[Tensor, "prompt point d"],
    y: Float[Tensor, "prompt label"],
    contexts: Sequence[int],
    size: float,
    ladder: Sequence[int] = LADDER,
    seed: int = 0,
) -> Float[Tensor, "step prompt context"]:
    """Predictions of x[:, t] after each of the ladder's steps on the first t examples, for every context t."""
    prompts, d = len(x), x.shape[-1]
    n = max(contexts)
    xs, ys = x[:, None, :n].float(), y[:, None, :n].float()
    seen = (torch.arange(n) < torch.tensor(list(contexts))[:, None]).float()[None]
    share = seen / seen.sum(-1, keepdim=True).clamp_min(1)
    query = x[:, list(contexts)].float()
    half = torch.randn(WIDTH // 2, d, generator=generator(seed, "two-layer student", 0))
    start = torch.cat([half, half])
    rate = size / _top(xs[:, 0] @ start.T, xs[:, 0], share[0])[..., None]
    w = start.expand(prompts, len(contexts), WIDTH, d)
    a = torch.cat([torch.ones(WIDTH // 2), -torch.ones(WIDTH // 2)]).expand(prompts, len(contexts), WIDTH)
    path = []
    for k in range(1, max(ladder) + 1):
        before = xs @ w.mT
        hidden = before.relu() / ROOT
        missed = ((hidden @ a[..., None])[..., 0] - ys) * share
        into = (missed[..., None] * (before > 0)) * a[..., None, :] / ROOT
        a = a - rate * (missed[..., None, :] @ hidden)[..., 0, :]
        w = w - rate[..., None] * into.mT @ xs
        if k in ladder:
            path.append(((query[:, :, None] @ w.mT).relu()[:, :, 0] * a).sum(-1) / ROOT)
    return torch.stack(path).double()


def _top(before: Tensor, x: Tensor, share: Tensor) -> Float[Tensor, "prompt context"]:
    """Largest eigenvalue of the tangent kernel at the start, each context's examples weighted by their share."""
    hidden, on = before.relu(), (before > 0).float()
    kernel = (hidden @ hidden.mT + (on @ on.mT) * (x @ x.mT)) / WIDTH
    root = share.sqrt()
    return torch.linalg.eigvalsh(kernel[:, None] * root[:, :, None] * root[:, None, :])[..., -1].clamp_min(
        1e-6
    )


def two_layer_match(
    layers: Float[Tensor, "layer prompt output"],
    x: Float[Tensor, "prompt point d"],
    y: Float[Tensor, "prompt label"],
    contexts: Sequence[int],
    draws: int,
    tuning: int = 32,
) -> tuple[Match, float]:
    """Similarity of errors to GD on two-layer nets on the prompts after the first `tuning`, which tune its size.

    Raises UserError when every size diverges.
    """
    labels = y[:, list(contexts)].double()
    paths = {size: descend(x[:tuning], y[:tuning], contexts, size) for size in SIZES}
    errors = {s: float((p - labels[:tuning]).square().mean((1, 2)).min()) for s, p in paths.items()}
    sound = {
        s: e for s, e in errors.items() if e == e and e < float("inf") and bool(paths[s].isfinite().all())
    }
    if not sound:
        raise UserError("gradient descent on two-layer nets diverges at every size offered")
    size = min(sound, key=lambda s: sound[s])
    found = descend(x[tuning:], y[tuning:], contexts, size)
    scores = matching.similarity_of_errors(layers[:, tuning:], found, labels[tuning:])
    return Match.of(scores, LADDER, draws), size


def peak(match: Match) -> stats.Interval:
    """The last layer's similarity at its best step."""
    best = stats.percentile(match.point[-1].max(), match.draws[:, -1].amax(-1), match.scores.values.shape[2])
    return best.one()
