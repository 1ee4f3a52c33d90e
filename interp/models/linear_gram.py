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
    left: Float[Tensor, "width width batch"], right: Float[Tensor, "width column any"]
) -> Float[Tensor, "width column batch"]:
    """Matrix products of every prompt. With the prompts last this is three times as fast as batched
    products.
    """
    return (left[:, :, None] * right[None]).sum(1)


def mix(
    M: Float[Tensor, "row width"], V: Float[Tensor, "width column batch"]
) -> Float[Tensor, "row column batch"]:
    """One matrix times those of every prompt."""
    return (M @ V.flatten(1)).unflatten(1, V.shape[1:])


def act(
    G: Float[Tensor, "width width batch"],
    P: Float[Tensor, "width width"],
    Q: Float[Tensor, "width width"],
    V: Float[Tensor, "width column any"],
) -> Float[Tensor, "width column batch"]:
    """T V with T = I + P G Q, T never formed. With (Q', P') in place of (P, Q): T' V, since G is symmetric."""
    return V + mix(P, times(G, mix(Q, V)))


def grams(
    tokens: Float[Tensor, "batch pos width"], weights: Sequence[tuple[Tensor, Tensor]]
) -> list[Float[Tensor, "width width batch"]]:
    """Each layer's Gram matrix before it acts, and the one it leaves behind: one more than there are layers."""
    found = [gram(tokens)]
    for P, Q in weights:
        found.append(act(found[-1], P, Q, act(found[-1], P, Q, found[-1]).transpose(0, 1)))
    return found


def label_rows(
    tokens: Float[Tensor, "batch pos width"], weights: Sequence[tuple[Tensor, Tensor]]
) -> Float[Tensor, "batch width"]:
    """e' T_{L-1} ... T_0, e the label direction: the label slot after all layers as a function of the first
    token.

    The last layer is needed in the direction of its label row alone, so its Gram matrix is not formed: T G T' of
    the layer before it acts on that one vector, at a sixth of the cost.
    """
    *before, (P, Q) = weights
    found = grams(tokens, before[:-1])
    label = torch.zeros(tokens.shape[-1], 1, 1, dtype=tokens.dtype, device=tokens.device)
    label[-1] = 1.0
    seen = mix(P.mT, label)
    if before:
        inner, outer = before[-1]
        seen = act(found[-1], inner, outer, times(found[-1], act(found[-1], outer.mT, inner.mT, seen)))
    else:
        seen = times(found[-1], seen)
    row = label + mix(Q.mT, seen)
    for G, (P, Q) in zip(reversed(found), reversed(before), strict=False):
        row = act(G, Q.mT, P.mT, row)
    return row[:, 0].T


def unlearned(
    x: Float[Tensor, "batch n d"], blocks: Sequence[tuple[Tensor | None, Tensor]]
) -> list[Float[Tensor, "d d batch"]]:
    """R_0 .. R_L with label residuals y - prediction = w' R_l x at every token, for nets of blocks (B, A);
    B None: covariates stay.

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
        if layer + 1 < len(blocks) and B is not None:
            M = M + torch.einsum("ij,jkb->ikb", B, times(times(M, S), pull))
    return found


def averaged_loss(
    x: Float[Tensor, "batch n d"],
    blocks: Sequence[tuple[Tensor | None, Tensor]],
    prior: Float[Tensor, "d d"],
    covariance: Float[Tensor, "d d"],
) -> Float[Tensor, " batch"]:
    """tr(W R S R'): the squared error of each prompt averaged over w ~ (0, prior) and the query ~ (0,
    covariance).

    No label noise. About seven times less variance than the squared error of drawn w and query.
    """
    R = unlearned(x, blocks)[-1]
    return (torch.einsum("ij,jkb->ikb", prior, R) * torch.einsum("ijb,jk->ikb", R, covariance)).sum((0, 1))
