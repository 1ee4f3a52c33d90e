"""Tensor files that carry a hash of their content: writing them, and reading them back with every byte checked.

Reading demands that writing again what was read gives the same bytes, so no bit of a file is outside a check. What a
file is, and the facts it states, are in `interp.io.files`; the same check without torch in `interp.io.unread`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from interp.io.files import KEY, OWN, brief, canonical, check_facts, parse_facts, read_bytes, remedied, sha256
from tasks.errors import UserError


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        label = canonical([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(f"{len(label)}:{label}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """A tensor file's bytes: a function of the tensors and facts alone."""
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    stated = {**facts, "hash": tensor_hash(plain)}
    return save(plain, metadata={KEY: canonical({**stated, "seal": sha256(canonical(stated))})})


@remedied()
def unpack(
    path: Path, expected: Mapping[str, Any], free: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], dict]:
    """The tensors and facts of a tensor file, fully checked.

    `expected` holds the facts the file must state, `free` the names of those that may be anything. Raises
    UserError naming the file and the first thing that is not what it claims.
    """
    data = read_bytes(path)
    try:
        tensors = load(data)
        facts = parse_facts(path, data)
    except (
        SafetensorError,
        ValueError,
        KeyError,
        RuntimeError,
        TypeError,
        OverflowError,
        MemoryError,
    ) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a whole safetensors file ({brief(error)})") from None
    check_facts(path, facts, expected, free)
    if facts["hash"] != tensor_hash(tensors):
        raise UserError(f"{path}: its tensors are not those it was written with (hash differs)")
    if pack(tensors, {k: v for k, v in facts.items() if k not in OWN}) != data:
        raise UserError(f"{path}: its bytes are not as written (header altered or bytes added)")
    return dict(sorted(tensors.items())), facts
