"""Questions as a user writes them: a metric, pairs, targets, a relation and scores, each a function of a batch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tasks import Batch


def loss(outputs, batch):
    return F.cross_entropy(outputs[:, -1], batch.targets[:, 0], reduction="none")


def wide(outputs, batch):
    return outputs[:, -1]


def whole(outputs, batch):
    return outputs[:, -1].argmax(-1)


def mixing(outputs, batch):
    return outputs[:, -1, 0] - outputs[:, -1, 0].mean()


def elsewhere(outputs, batch):
    return outputs[:, 0, 0]


def right(outputs, batch):
    return (outputs[:, -1].argmax(-1) == batch.targets[:, 0]).float()


def confidence(outputs, batch):
    return outputs[:, -1].amax(-1) / 100


def failing(outputs, batch):
    return outputs[:, 99, 0]


def rolled(batch):
    """The prompts of others in place of the corrupt ones."""
    return batch.inputs.roll(1, 0)


def both(batch):
    return batch, batch.select(torch.arange(len(batch)).roll(1))


def too_short(batch):
    return batch.inputs[:, :-1]


def unknown_tokens(batch):
    return batch.inputs + 100


def nothing(batch):
    return None


def tokens(batch):
    """At every position its token, and the one before it (none at the first)."""
    before = torch.cat([torch.full_like(batch.inputs[:, :1], -1), batch.inputs[:, :-1]], 1)
    return torch.stack([batch.inputs, before], -1)


def parity(batch):
    """Numbers at the last position alone."""
    odd = (batch.inputs % 2).float()
    return torch.where(torch.arange(odd.shape[1]) == odd.shape[1] - 1, odd, torch.nan)[..., None]


def ragged(batch):
    return torch.where(batch.inputs > 2, batch.inputs.float(), torch.nan)[..., None]


def per_prompt(batch):
    return batch.inputs[:, 0].float()


def previous(batch):
    n, pos = batch.inputs.shape
    rows = torch.arange(1, pos).expand(n, -1)
    return rows, rows - 1


def beyond(batch):
    rows, columns = previous(batch)
    return rows + 1, columns


PAIR = "no function"


class Batches(Batch):
    pass
