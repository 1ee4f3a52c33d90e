"""Textbook loops and solvers on one prompt's S = X'X and b = X'y: what the closed forms must equal."""

from __future__ import annotations

import numpy as np
import scipy.linalg

D = 5  # features of a prompt


def scale(s, step):
    if step == "fixed" or not s.any():
        return 1.0
    return np.trace(s) if step == "trace" else np.linalg.norm(s, 2)


def loop_gd(s, b, k, c, eta):
    w = np.zeros(D)
    for _ in range(k):
        w = w + eta / c * (b - s @ w)
    return w


def loop_newton(s, b, k, c, alpha):
    m = alpha / c**2 * s
    for _ in range(k):
        m = 2 * m - m @ s @ m
    return m @ b


def loop_newton_identity(s, b, k, c, alpha):
    m = alpha / c * np.eye(D)
    for _ in range(k):
        m = 2 * m - m @ s @ m
    return m @ b


def loop_momentum(s, b, k, c, eta, beta):
    before = w = np.zeros(D)
    for _ in range(k):
        before, w = w, w + eta / c * (b - s @ w) + beta * (w - before)
    return w


def loop_chebyshev(s, b, k, c, low, high):
    """Saad, Iterative Methods for Sparse Linear Systems, algorithm 12.1."""
    theta, delta = (high + low) / 2 * c, (high - low) / 2 * c
    sigma = theta / delta
    rho, w, r = 1 / sigma, np.zeros(D), b
    step = r / theta
    for _ in range(k):
        w, r = w + step, r - s @ step
        new = 1 / (2 * sigma - rho)
        step, rho = new * rho * step + 2 * new / delta * r, new
    return w


def loop_cg(s, b, k, c):
    w, r = np.zeros(D), b.copy()
    p, size = r.copy(), r @ r
    for _ in range(k):
        if r @ r <= 1e-28 * (b @ b) or size == 0:
            break
        a = r @ r / (p @ s @ p)
        w, new = w + a * p, r - a * (s @ p)
        p, r = new + (new @ new) / (r @ r) * p, new
    return w


def ridge(s, b, k, c, mu):
    return np.linalg.solve(s + mu * c * np.eye(D), b)


def ols(s, b, k, c):
    return np.linalg.pinv(s, rcond=1e-12) @ b


def flow(s, b, k, c, time):
    """The weights at `time` of dw/dt = b - S w, by the exponential of the joint system."""
    joint = np.zeros((D + 1, D + 1))
    joint[:D, :D], joint[:D, D] = -s / c, b / c
    return scipy.linalg.expm(time * joint)[:D, D]


def truncated_svd(s, b, k, c, cut):
    values, vectors = np.linalg.eigh(s)
    kept = vectors[:, values > cut * c]
    return kept @ np.linalg.solve(kept.T @ s @ kept, kept.T @ b)


LOOPS = {
    "gd": (loop_gd, {"eta": 0.01}, {"eta": 0.9}),
    "newton": (loop_newton, {"alpha": 1e-6}, {"alpha": 1.0}),
    "newton-identity": (loop_newton_identity, {"alpha": 0.002}, {"alpha": 0.9}),
    "momentum": (loop_momentum, {"eta": 0.01, "beta": 0.5}, {"eta": 0.9, "beta": 0.3}),
    "chebyshev": (loop_chebyshev, {"low": 1.0, "high": 200.0}, {"low": 0.05, "high": 1.1}),
    "ridge": (ridge, {"mu": 0.7}, {"mu": 0.1}),
    "ols": (ols, {}, {}),
    "flow": (flow, {"time": 0.01}, {"time": 0.9}),
    "svd": (truncated_svd, {"cut": 1.0}, {"cut": 0.3}),
    "cg": (loop_cg, {}, {}),
}
