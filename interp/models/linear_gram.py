"""A linear transformer run on Gram matrices: (d+1) by (d+1) for the net, d by d when weights and query are
averaged out.

Pure functions of weights and tokens; signs and masks are those of `interp.models.linear`. What they leave
out: any nonlinearity of the scores, for which no such form exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def gram(tokens: Float[Tensor, "batch pos width"]) -> Float[Tensor, "width width batch"]:
    """(1/n) sum of z z' over the n examples; the last token, the query, is left out."""
    examples = tokens[:, :-1]
    return (examples.mT @ examples / examples.shape[1]).permute(1, 2, 0).contiguous()


def times(
    left: Float[Tensor, "width width batch"], right: Float[Tensor, "width width batch"]
) -> Float[Tensor, "width width batch"]:
    """Matrix products of every prompt. With the prompts last this is three times as fast as batched
    products.
    """
    return (left[:, :, None] * right[None]).sum(1)


def update(
    G: Float[Tensor, "width width batch"], P: Float[Tensor, "width width"], Q: Float[Tensor, "width width"]
) -> Float[Tensor, "width width batch"]:
    """P G Q of every prompt, as one product with the Kronecker matrix of P and Q."""
    width = len(P)
    kron = (P[:, None, :, None] * Q.T[None, :, None, :]).reshape(width**2, width**2)
    return (kron @ G.flatten(0, 1)).unflatten(0, (width, width))


def walk(
    tokens: Float[Tensor, "batch pos width"], weights: Sequence[tuple[Tensor, Tensor]]
) -> tuple[list[Float[Tensor, "width width batch"]], list[Float[Tensor, "width width batch"]]]:
    """Each layer's Gram matrix G before it acts, and what it adds to the identity: T = I + P G Q."""
    G, grams, updates = gram(tokens), [], []
    for layer, (P, Q) in enumerate(weights):
        grams.append(G)
        updates.append(update(G, P, Q))
        if layer + 1 < len(weights):
            half = times(updates[-1], G)
            G = G + half + half.transpose(0, 1) + times(half, updates[-1].transpose(0, 1))
    return grams, updates


def label_row(updates: Sequence[Float[Tensor, "width width batch"]]) -> Float[Tensor, "batch width"]:
    """e' T_{L-1} ... T_0, e the label direction: the label slot after all layers as a function of the first
    token.
    """
    last = updates[-1]
    row = last[-1] + torch.eye(len(last), dtype=last.dtype, device=last.device)[-1, :, None]
    for change in reversed(updates[:-1]):
        row = row + (row[:, None] * change).sum(0)
    return row.T


def unlearned(
    x: Float[Tensor, "batch n d"], blocks: Sequence[tuple[Tensor, Tensor]]
) -> list[Float[Tensor, "d d batch"]]:
    """R_0 .. R_L with label residuals y - prediction = w' R_l x at every token, for nets of blocks (B, A).

    R_0 = I; M is the map from first covariates to present ones:
    R <- R + R S M' A M and M <- M + B (M S M') A M with S = X'X/n.
    """
    S = (x.mT @ x / x.shape[-2]).permute(1, 2, 0).contiguous()
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)[:, :, None]
    R = M = eye.expand(S.shape)
    found = [R]
    for layer, (B, A) in enumerate(blocks):
        AM = torch.einsum("ij,jkb->ikb", A, M)
        pull = times(M.transpose(0, 1), AM)
        R = R + times(times(R, S), pull)
        found.append(R)
        if layer + 1 < len(blocks) and bool(B.any()):
            M = M + torch.einsum("ij,jkb->ikb", B, times(times(M, S), pull))
    return found


def averaged_loss(
    x: Float[Tensor, "batch n d"],
    blocks: Sequence[tuple[Tensor, Tensor]],
    prior: Float[Tensor, "d d"],
    covariance: Float[Tensor, "d d"],
) -> Float[Tensor, " batch"]:
    """tr(W R S R'): the squared error of each prompt averaged over w ~ (0, prior) and the query ~ (0,
    covariance).

    No label noise. About seven times less variance than the squared error of drawn w and query.
    """
    R = unlearned(x, blocks)[-1]
    return (torch.einsum("ij,jkb->ikb", prior, R) * torch.einsum("ijb,jk->ikb", R, covariance)).sum((0, 1))
