"""The algorithm of a linear transformer, computed from its weights.

Preconditioners are reported with the sign of a descent step: G = -(b_y A_x + b_x a_y')/n, where (b_x', b_y)
is the last row of P and (A_x; a_y') are the first d columns of Q, so that one layer predicts y'X G x_q. (P,
Q) and (gP, Q/g) are the same layer: only products of the two are compared, never P or Q alone. What the
weights alone do not show is which terms matter on the data; the excess loss of a preconditioner is in
`interp.studies.one_step_gd.theory`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models import linear_gram
from interp.models.linear import LinearTransformer


@dataclass(frozen=True)
class LayerReading:
    """The effect of one layer on the label slot. `preconditioner` is n G [d, d]: compare it with n times a
    closed form.

    `squares` is |b_y a_y| and `shifts` |b_x||A_x|, the terms in sum y_i^2 and in sum x_i x_i' that the
    optimum lacks, and `detour` is |b_x||a_y|, the size of the rank-one product b_x a_y' in n G, which it lacks
    too; all three as shares of |n G| (0 at the optimum; infinite where n G is 0). `rank_one` is the share of
    |n G|^2 in its first singular direction: 1/d for a multiple of the identity, 1 where all of G is b_x a_y'.
    """

    preconditioner: Float[Tensor, "d d"]
    squares: float
    shifts: float
    detour: float
    rank_one: float


def read_layer(P: Float[Tensor, "width width"], Q: Float[Tensor, "width width"]) -> LayerReading:
    """The reading of one layer's weights. The last layer's is the net's own when it has one layer only."""
    P, Q = P.detach().double(), Q.detach().double()
    b_x, b_y, A_x, a_y = P[-1, :-1], P[-1, -1], Q[:-1, :-1], Q[-1, :-1]
    G = -(b_y * A_x + torch.outer(b_x, a_y))
    size = torch.linalg.norm(G)
    singular = torch.linalg.svdvals(G).square()
    return LayerReading(
        G,
        float(torch.linalg.norm(b_y * a_y) / size),
        float(torch.linalg.norm(b_x) * torch.linalg.norm(A_x) / size),
        float(torch.linalg.norm(b_x) * torch.linalg.norm(a_y) / size),
        float(singular[0] / singular.sum()),
    )


def read_model(model: LinearTransformer) -> list[LayerReading]:
    """The reading of every layer."""
    return [read_layer(P, Q) for P, Q in model.weights()]


def whitened(preconditioner: Float[Tensor, "d d"], covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """S^1/2 A S^1/2: a multiple of the identity for descent preconditioned by S^-1."""
    values, U = torch.linalg.eigh(covariance.double())
    root = U @ torch.diag(values.sqrt()) @ U.T
    return root @ preconditioner.double() @ root


def distance_to_identity(matrix: Float[Tensor, "d d"]) -> float:
    """min over a of |M - aI| / |M| (Frobenius), in [0, 1]; 0 for a multiple of the identity. 2306.00297,
    section 5.
    """
    M = matrix.double()
    off = M - torch.trace(M) / len(M) * torch.eye(len(M), dtype=torch.float64)
    return float(torch.linalg.norm(off) / torch.linalg.norm(M))


def cosine(found: Float[Tensor, "d d"], expected: Float[Tensor, "d d"]) -> float:
    """Cosine of two preconditioners as vectors, in [-1, 1]."""
    a, b = found.double().flatten(), expected.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def relative_error(found: Float[Tensor, "d d"], expected: Float[Tensor, "d d"]) -> float:
    """|found - expected| / |expected| (Frobenius)."""
    off = found.double() - expected.double()
    return float(torch.linalg.norm(off) / torch.linalg.norm(expected.double()))


def gauge_distance(
    first: tuple[Float[Tensor, "width width"], Float[Tensor, "width width"]],
    second: tuple[Float[Tensor, "width width"], Float[Tensor, "width width"]],
) -> float:
    """Distance of two layers (P, Q) up to their common scale: |P x Q - P' x Q'| / |P' x Q'| of the outer
    products.

    0 exactly when (P', Q') = (gP, Q/g) for some g; symmetric up to the norm it is measured in.
    """
    P, Q, P2, Q2 = (m.detach().double() for m in (*first, *second))
    own, other = P.norm() * Q.norm(), P2.norm() * Q2.norm()
    overlap = (P * P2).sum() * (Q * Q2).sum()
    return float((own**2 + other**2 - 2 * overlap).clamp(min=0).sqrt() / other)


def label_readout(
    model: LinearTransformer, inputs: Float[Tensor, "batch pos width"]
) -> Float[Tensor, "layers_and_start batch"]:
    """Minus the query's label slot at the start and after each layer: the prediction so far, an exact logit
    lens.
    """
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.config.n_layers)]
    last = f"blocks.{model.config.n_layers - 1}.hook_resid_post"
    _, cache = model.run_with_cache(inputs, names_filter=[*names, last])
    return torch.stack([-cache[name][:, -1, -1] for name in (*names, last)])


def implied_weights(
    model: LinearTransformer, inputs: Float[Tensor, "batch pos width"]
) -> Float[Tensor, "layers_and_start batch d"]:
    """w_l with prediction w_l'x_q after l layers (the readout is linear in x_q); zeros at the start.

    The derivative of `label_readout` by x_q, from the recursion on Gram matrices, where no query enters.
    """
    weights = model.weights()
    rows = [-linear_gram.label_rows(inputs, weights[: k + 1])[:, :-1] for k in range(len(weights))]
    return torch.stack([torch.zeros_like(rows[0]), *rows])


def covariate_spectra(
    model: LinearTransformer, inputs: Float[Tensor, "batch pos width"]
) -> Float[Tensor, "layers batch d"]:
    """Eigenvalues of X'X/n as each layer finds the covariates, ascending. GD++ flattens them from layer to
    layer.
    """
    grams = linear_gram.grams(inputs, model.weights()[:-1])
    return torch.stack([torch.linalg.eigvalsh(G[:-1, :-1].permute(2, 0, 1).detach().double()) for G in grams])


def flatness(spectra: Float[Tensor, "layers batch d"]) -> Float[Tensor, " layers"]:
    """Median over prompts of smallest over largest eigenvalue, in [0, 1]: 1 for an isotropic spectrum."""
    return (spectra[..., 0] / spectra[..., -1]).median(dim=1).values
