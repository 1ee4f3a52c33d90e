"""Attention in one byte a weight, packed for a page: bytes, deflated, in base64.

Softmax weights in [0, 1] become 0..255. Signed weights in [-m, m], m the largest magnitude over every checkpoint,
become 1..255 with 128 for exactly 0. Checkpoints after the first are kept as differences to the one before (modulo
256), which deflate far better, as neighbours are alike. A weight is off by at most half a level, which is below 1/255
of the range.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from interp.report.model import DrawnAttention
from tasks.errors import UserError


@dataclass(frozen=True)
class Packed:
    """Differences of bytes with what undoes them: weight = (level - zero) * scale, level the running sum mod 256.

    `error` is the largest one measured.
    """

    data: str
    zero: int
    scale: float
    error: float


def levels(attention: DrawnAttention) -> tuple[int, float]:
    """The byte that stands for 0, and the weight of one level."""
    pattern = attention.pattern
    if not np.isfinite(pattern).all():
        step = attention.steps[int(np.argmin(np.isfinite(pattern).all(axis=(1, 2, 3, 4))))]
        raise UserError(
            f"attention {attention.name!r}: not a finite number at step {step}; leave that step out"
        )
    if attention.signed:
        return 128, (float(np.abs(pattern).max()) or 1.0) / 127
    if pattern.min() < 0 or pattern.max() > 1 + 1e-4:
        raise UserError(
            f"attention {attention.name!r}: weights outside [0, 1]; set signed=True for linear attention"
        )
    return 0, 1 / 255


def to_bytes(attention: DrawnAttention) -> UInt8[np.ndarray, "step layer head dest src"]:
    """Every weight as the nearest level."""
    zero, scale = levels(attention)
    return np.clip(np.rint(attention.pattern / scale) + zero, 0, 255).astype(np.uint8)


def from_bytes(
    data: UInt8[np.ndarray, "step layer head dest src"], zero: int, scale: float
) -> Float[np.ndarray, "step layer head dest src"]:
    """The weights that the bytes stand for."""
    return (data.astype(np.float64) - zero) * scale


def pack(attention: DrawnAttention) -> Packed:
    """A pattern ready for the page.

    Raises UserError when a weight is not finite, or outside [0, 1] while the attention is not `signed`.
    """
    zero, scale = levels(attention)
    data = to_bytes(attention)
    error = float(np.abs(from_bytes(data, zero, scale) - attention.pattern).max())
    packed = zlib.compress(differences(data).tobytes())
    return Packed(base64.b64encode(packed).decode("ascii"), zero, scale, error)


def differences(
    data: UInt8[np.ndarray, "step layer head dest src"],
) -> UInt8[np.ndarray, "step layer head dest src"]:
    """Each checkpoint minus the one before, modulo 256; the first as it is."""
    return np.concatenate([data[:1], data[1:] - data[:-1]])
