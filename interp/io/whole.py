"""Whether a tensor file is whole, without torch: the check of `interp.io.tensors.unpack` on the bytes themselves.

Knows the types that our files have (`TYPES`); a file with another, or with anything out of order, is not vouched for
here: `unpack` then says what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from interp.io.files import KEY, OWN, canonical, check_facts, parse_facts, sha256
from tasks.errors import UserError

TYPES = {
    "BOOL": "bool", "U8": "uint8", "I32": "int32", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def whole(path: Path, expected: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of a tensor file whose every byte is as it was written; None where that is not so, or not known."""
    try:
        data = path.read_bytes()
        facts = parse_facts(path, data)
        check_facts(path, facts, expected)
        arrays = {name: _array(part) for name, part in deserialize(data)}
    except (UserError, OSError, SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        return None
    stated = {name: value for name, value in facts.items() if name not in OWN}
    stated["hash"] = array_hash(arrays)
    sealed = canonical({**stated, "seal": sha256(canonical(stated))})
    return facts if save(arrays, metadata={KEY: sealed}) == data else None


def _array(part: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(part["data"], dtype=TYPES[part["dtype"]]).reshape(part["shape"])


def array_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """As `interp.io.tensors.tensor_hash`: SHA-256 over names, types as torch calls them, shapes and bytes, by name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        label = canonical([name, f"torch.{array.dtype.name}", list(array.shape)])
        digest.update(f"{len(label)}:{label}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
