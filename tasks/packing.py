"""Tensors as text and back, for prompts that are a setting of their task: type, shape, and bytes (zlib, base64)."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import torch
from torch import Tensor


def packed(value: Tensor) -> str:
    """A tensor as text: type, shape, and its bytes (zlib, base64)."""
    array = value.detach().cpu().contiguous().numpy()
    text = base64.b64encode(zlib.compress(array.tobytes())).decode()
    return f"{array.dtype.name}:{','.join(map(str, array.shape))}:{text}"


def unpacked(text: str) -> Tensor:
    """The tensor of such a text."""
    dtype, shape, data = text.split(":")
    if dtype not in ("int64", "float32", "float64", "bool"):
        raise ValueError(f"{dtype} is no type of a prompt")
    sizes = [int(size) for size in shape.split(",") if size]
    found = np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype=dtype)
    return torch.from_numpy(found.reshape(sizes).copy())
